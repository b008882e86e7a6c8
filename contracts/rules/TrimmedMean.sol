// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationRule, IChunkRule} from "../interfaces/IAggregationRule.sol";
import {Int32Lanes} from "../libraries/Int32Lanes.sol";
import {SortedChunk} from "../libraries/SortedChunk.sol";

/// @title Coordinate-wise trimmed mean (Yin et al., 2018): the mean without the k smallest and the k largest values.
/// @notice The parameters of the rule are k; of n updates m = n - 2k remain, at least 1.
/// next = model + floor((sum + floor(m/2)) / m). Weights do not count.
contract TrimmedMean is IChunkRule {
    using Int32Lanes for uint256;

    /// @inheritdoc IAggregationRule
    Kind public constant kind = Kind.Chunk;

    /// @inheritdoc IAggregationRule
    uint256 public constant lanes = 1;

    /// @inheritdoc IAggregationRule
    function check(bytes32 parameters, uint256 minUpdates, uint256 maxUpdates) external pure {
        if (minUpdates == 0 || uint256(parameters) > (minUpdates - 1) / 2) {
            revert ParametersRefused(parameters, minUpdates, maxUpdates);
        }
    }

    /// @inheritdoc IAggregationRule
    function gasFor(uint256 updates, uint256 chunkParameters) external pure returns (uint256) {
        return SortedChunk.gasFor(updates, chunkParameters);
    }

    /// @inheritdoc IChunkRule
    function aggregate(
        bytes32 parameters,
        bytes calldata model,
        bytes[] calldata updates,
        uint32[] calldata weights
    ) external pure returns (bytes memory next) {
        uint256 length = model.length;
        uint256 count = updates.length;
        uint256 trimmed = uint256(parameters);
        if (count == 0 || count != weights.length || length % 32 != 0) revert MalformedChunks();
        if (trimmed > (count - 1) / 2) revert MalformedChunks();
        for (uint256 u = 0; u < count; ++u) {
            if (updates[u].length != length) revert MalformedChunks();
        }
        next = new bytes(length);
        int256 kept = int256(count - 2 * trimmed);
        for (uint256 first = 0; first < length / 4; first += 8) {
            (uint256[] memory even, uint256[] memory odd) = SortedChunk.load(updates, first);
            uint256 evenSum;
            uint256 oddSum;
            // At most 4,096 values below 2**32 per lane: their sum stays within its 64 bits.
            for (uint256 u = trimmed; u < count - trimmed; ++u) {
                evenSum += even[u];
                oddSum += odd[u];
            }
            uint256 old = Int32Lanes.load(model, first);
            uint256 word;
            for (uint256 i = 0; i < 8; ++i) {
                int256 sum = SortedChunk.lane(evenSum, oddSum, i) - kept * SortedChunk.BIAS;
                word = word.put(i, old.lane(i) + Int32Lanes.floorDiv(sum + kept / 2, kept));
            }
            Int32Lanes.store(next, first, word);
        }
    }
}
