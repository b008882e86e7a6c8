// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A bit for each of some numbered things: bit `i % 8`, the lowest being 0, of byte `i / 8`.
library Bits {
    /// @notice Whether the map has the length for `things`, and no bit beyond them.
    function fits(bytes calldata map, uint256 things) internal pure returns (bool) {
        if (map.length != (things + 7) / 8) return false;
        return things % 8 == 0 || uint8(map[map.length - 1]) >> (things % 8) == 0;
    }

    /// @notice Whether bit `i` of a map that is long enough is set.
    function has(bytes calldata map, uint256 i) internal pure returns (bool) {
        return (uint8(map[i / 8]) >> (i % 8)) & 1 == 1;
    }

    /// @notice The bytes of the map with the bits from 256 * `index` on, for `isSet`; those beyond the map are zero.
    function part(bytes calldata map, uint256 index) internal pure returns (uint256) {
        return 32 * index < map.length ? uint256(bytes32(map[32 * index:])) : 0;
    }

    /// @notice Whether a bit of a word of a map is set: bit `i % 256`.
    function isSet(uint256 part_, uint256 i) internal pure returns (bool) {
        unchecked {
            // Byte 0 is the highest of the word.
            return (part_ >> (248 - (i & 248) + (i & 7))) & 1 == 1;
        }
    }

    /// @notice How many bits are set.
    function count(bytes calldata map) internal pure returns (uint256 total) {
        for (uint256 offset = 0; offset < map.length; offset += 32) {
            // A shorter slice is padded with zeros.
            total += _count(uint256(bytes32(map[offset:])));
        }
    }

    /// @dev Sums of neighbouring fields of 1, 2, 4 bits; then the bytes, none above 8 and all together at most 256,
    /// which needs 16 bits.
    function _count(uint256 word) private pure returns (uint256) {
        unchecked {
            uint256 ones = type(uint256).max;
            word -= (word >> 1) & (ones / 3);
            word = (word & (ones / 5)) + ((word >> 2) & (ones / 5));
            word = (word + (word >> 4)) & (ones / 17);
            word = (word & (ones / 257)) + ((word >> 8) & (ones / 257));
            return (word * (ones / 65535)) >> 240;
        }
    }
}
