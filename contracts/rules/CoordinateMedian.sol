// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationRule, IChunkRule} from "../interfaces/IAggregationRule.sol";
import {Int32Lanes} from "../libraries/Int32Lanes.sol";
import {SortedChunk} from "../libraries/SortedChunk.sol";

/// @title Coordinate-wise median (Yin et al., 2018): fewer than half of the clients can't move a parameter beyond the
/// values of the others.
/// @notice next = model + median; of an even number of updates floor((a + b) / 2) of the two in the middle. Weights do
/// not count, and the parameters of the rule are not used.
contract CoordinateMedian is IChunkRule {
    using Int32Lanes for uint256;

    /// @inheritdoc IAggregationRule
    Kind public constant kind = Kind.Chunk;

    /// @inheritdoc IAggregationRule
    uint256 public constant lanes = 1;

    /// @inheritdoc IAggregationRule
    /// @dev The rule has no parameters, and accepts any number of updates.
    function check(bytes32, uint256, uint256) external pure {}

    /// @inheritdoc IAggregationRule
    function gasFor(uint256 updates, uint256 chunkParameters) external pure returns (uint256) {
        return SortedChunk.gasFor(updates, chunkParameters);
    }

    /// @inheritdoc IChunkRule
    function aggregate(
        bytes32,
        bytes calldata model,
        bytes[] calldata updates,
        uint32[] calldata weights
    ) external pure returns (bytes memory next) {
        uint256 length = model.length;
        uint256 count = updates.length;
        if (count == 0 || count != weights.length || length % 32 != 0) revert MalformedChunks();
        for (uint256 u = 0; u < count; ++u) {
            if (updates[u].length != length) revert MalformedChunks();
        }
        next = new bytes(length);
        for (uint256 first = 0; first < length / 4; first += 8) {
            (uint256[] memory even, uint256[] memory odd) = SortedChunk.load(updates, first);
            // Two values below 2**32 per lane: their sum stays within it.
            uint256 evenSum = even[(count - 1) / 2] + even[count / 2];
            uint256 oddSum = odd[(count - 1) / 2] + odd[count / 2];
            uint256 old = Int32Lanes.load(model, first);
            uint256 word;
            for (uint256 i = 0; i < 8; ++i) {
                int256 sum = SortedChunk.lane(evenSum, oddSum, i);
                word = word.put(i, old.lane(i) + Int32Lanes.floorDiv(sum, 2) - SortedChunk.BIAS);
            }
            Int32Lanes.store(next, first, word);
        }
    }
}
