// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Eight little-endian int32 in one word.
library Int32Lanes {
    uint256 private constant BYTES = 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
    uint256 private constant PAIRS = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;

    /// @notice Reverses the bytes of each of the eight lanes. It is its own inverse.
    function swap(uint256 word) internal pure returns (uint256) {
        word = ((word & BYTES) << 8) | ((word >> 8) & BYTES);
        return ((word & PAIRS) << 16) | ((word >> 16) & PAIRS);
    }

    /// @notice The swapped word of the eight parameters that begin with parameter `first` of a chunk.
    function load(bytes calldata chunk, uint256 first) internal pure returns (uint256) {
        return swap(uint256(bytes32(chunk[first * 4:])));
    }

    /// @notice Lane `i` of a swapped word, the first being 0.
    function lane(uint256 word, uint256 i) internal pure returns (int256) {
        unchecked {
            return int256(int32(uint32(word >> (224 - 32 * i))));
        }
    }

    /// @notice Puts the nearest int32 to `value` into lane `i` of a swapped word whose lane is empty.
    function put(uint256 word, uint256 i, int256 value) internal pure returns (uint256) {
        if (value > type(int32).max) value = type(int32).max;
        if (value < type(int32).min) value = type(int32).min;
        unchecked {
            return word | (uint256(uint32(int32(value))) << (224 - 32 * i));
        }
    }

    /// @notice Writes a swapped word to where parameter `first` of a chunk begins.
    function store(bytes memory chunk, uint256 first, uint256 word) internal pure {
        word = swap(word);
        assembly ("memory-safe") {
            mstore(add(add(chunk, 0x20), mul(first, 4)), word)
        }
    }

    /// @notice numerator / denominator, rounded toward minus infinity (Solidity's `/` truncates); denominator > 0.
    function floorDiv(int256 numerator, int256 denominator) internal pure returns (int256 quotient) {
        assembly ("memory-safe") {
            quotient := sub(sdiv(numerator, denominator), slt(smod(numerator, denominator), 0))
        }
    }
}
