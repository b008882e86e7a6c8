// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Batcher's merge exchange, for the four values of a word at once.
/// @notice D. Knuth, The Art of Computer Programming 3, section 5.2.2, algorithm M: the same comparisons whatever the
/// values are, so what a sort costs depends on their number alone.
library SortingNetwork {
    /// @dev A word has four lanes of 64 bits, in each an unsigned value of 32; the bit above it catches the borrow of a
    /// comparison.
    uint256 private constant BORROW = 0x0000000100000000000000010000000000000001000000000000000100000000;
    uint256 private constant LANES = 0x0000000000000001000000000000000100000000000000010000000000000001;

    /// @notice Sorts each lane by itself over all words, ascending.
    function sort(uint256[] memory words) internal pure {
        uint256 count = words.length;
        uint256 top = 1;
        while (top * 2 < count) top *= 2;
        unchecked {
            for (uint256 p = top; p > 0; p /= 2) {
                (uint256 q, uint256 r, uint256 distance) = (top, 0, p);
                while (true) {
                    for (uint256 i = 0; i + distance < count; ++i) {
                        if (i & p == r) _exchange(words, i, i + distance);
                    }
                    if (q == p) break;
                    (distance, q, r) = (q - p, q / 2, p);
                }
            }
        }
    }

    /// @dev Puts the smaller value of each lane at `i` and the larger at `j`, both below the length.
    function _exchange(uint256[] memory words, uint256 i, uint256 j) private pure {
        assembly ("memory-safe") {
            let low := add(add(words, 0x20), mul(i, 0x20))
            let high := add(add(words, 0x20), mul(j, 0x20))
            let a := mload(low)
            let b := mload(high)
            // 1 in the lanes where a >= b; there, all bits that differ are exchanged.
            let larger := and(shr(32, sub(or(a, BORROW), b)), LANES)
            let flips := and(xor(a, b), sub(shl(32, larger), larger))
            mstore(low, xor(a, flips))
            mstore(high, xor(b, flips))
        }
    }
}
