// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Four little-endian int64 in one word.
library Int64Lanes {
    uint256 private constant BYTES = 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
    uint256 private constant PAIRS = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;
    uint256 private constant FOURS = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;

    /// @notice Reverses the bytes of each of the four lanes. It is its own inverse.
    function swap(uint256 word) internal pure returns (uint256) {
        word = ((word & BYTES) << 8) | ((word >> 8) & BYTES);
        word = ((word & PAIRS) << 16) | ((word >> 16) & PAIRS);
        return ((word & FOURS) << 32) | ((word >> 32) & FOURS);
    }

    /// @notice The swapped word of the four sums that begin with sum `first` of a chunk.
    function load(bytes calldata chunk, uint256 first) internal pure returns (uint256) {
        return swap(uint256(bytes32(chunk[first * 8:])));
    }

    /// @notice Lane `i` of a swapped word, the first being 0.
    function lane(uint256 word, uint256 i) internal pure returns (int256) {
        unchecked {
            return int256(int64(uint64(word >> (192 - 64 * i))));
        }
    }

    /// @notice A chunk of sums as little-endian int64; each of them fits.
    function pack(int256[] memory sums) internal pure returns (bytes memory chunk) {
        chunk = new bytes(8 * sums.length);
        uint256 cell;
        assembly ("memory-safe") {
            cell := add(sums, 0x20)
        }
        for (uint256 first = 0; first < sums.length; first += 4) {
            uint256 word;
            assembly ("memory-safe") {
                for {
                    let end := add(cell, 0x80)
                } lt(cell, end) {
                    cell := add(cell, 0x20)
                } {
                    word := or(shl(64, word), and(mload(cell), 0xffffffffffffffff))
                }
            }
            word = swap(word);
            assembly ("memory-safe") {
                mstore(add(add(chunk, 0x20), mul(first, 8)), word)
            }
        }
    }
}
