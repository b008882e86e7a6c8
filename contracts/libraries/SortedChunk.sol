// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Int32Lanes} from "./Int32Lanes.sol";
import {SortingNetwork} from "./SortingNetwork.sol";

/// @title Eight consecutive parameters of all updates, each parameter's values in ascending order.
/// @dev An int32 is kept as an unsigned number that is `BIAS` larger, so that the order is the same.
library SortedChunk {
    int256 internal constant BIAS = 2 ** 31;
    uint256 private constant BIASES = 0x8000000080000000800000008000000080000000800000008000000080000000;
    uint256 private constant LOW = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;

    /// @notice The parameters from `first` on; those of even index within the eight, and those of odd index. In a word
    /// they are lanes of 64 bits.
    function load(
        bytes[] calldata updates,
        uint256 first
    ) internal pure returns (uint256[] memory even, uint256[] memory odd) {
        even = new uint256[](updates.length);
        odd = new uint256[](updates.length);
        for (uint256 u = 0; u < updates.length; ++u) {
            uint256 word = Int32Lanes.load(updates[u], first) ^ BIASES;
            even[u] = (word >> 32) & LOW;
            odd[u] = word & LOW;
        }
        SortingNetwork.sort(even);
        SortingNetwork.sort(odd);
    }

    /// @notice An upper bound of the gas of a rule that loads a chunk's parameters eight by eight and then looks at
    /// each value once.
    /// @dev The network passes (p * (p + 1)) / 2 times over the values, p being ceil(log2(updates)).
    function gasFor(uint256 updates, uint256 chunkParameters) internal pure returns (uint256) {
        uint256 p;
        while ((uint256(1) << p) < updates) ++p;
        uint256 sort = ((p * (p + 1)) / 2) * updates * 150;
        return 5000 + (chunkParameters / 8) * (8500 + 1000 * updates + 2 * sort);
    }

    /// @notice What stands for parameter `i` of the eight in a word of `even` and the word of `odd` beside it.
    function lane(uint256 even, uint256 odd, uint256 i) internal pure returns (int256) {
        unchecked {
            uint256 word = i % 2 == 0 ? even : odd;
            return int256(uint256(uint64(word >> (192 - 64 * (i / 2)))));
        }
    }
}
