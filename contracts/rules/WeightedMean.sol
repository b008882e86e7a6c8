// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationRule, ISumRule} from "../interfaces/IAggregationRule.sol";
import {Int32Lanes} from "../libraries/Int32Lanes.sol";
import {Int64Lanes} from "../libraries/Int64Lanes.sol";

/// @title Federated averaging (McMahan et al., 2017): the model moves by the mean of the updates, weighted by samples.
/// @notice next = model + floor((sum + floor(weight / 2)) / weight), brought into the range of int32; a weight of zero,
/// which no right sum has, moves nothing.
contract WeightedMean is ISumRule {
    using Int32Lanes for uint256;

    /// @inheritdoc IAggregationRule
    Kind public constant kind = Kind.Sum;

    /// @inheritdoc IAggregationRule
    uint256 public constant lanes = 1;

    /// @inheritdoc IAggregationRule
    /// @dev The rule has no parameters, and accepts any number of updates.
    function check(bytes32, uint256, uint256) external pure {}

    /// @inheritdoc IAggregationRule
    function gasFor(uint256, uint256 chunkParameters) external pure returns (uint256) {
        return 2000 + 450 * chunkParameters;
    }

    /// @inheritdoc ISumRule
    function finish(
        bytes32,
        bytes calldata model,
        bytes calldata sum,
        uint256 weight
    ) external pure returns (bytes memory next) {
        uint256 length = model.length;
        if (length % 32 != 0 || sum.length != 2 * length || weight > type(uint64).max) revert MalformedChunks();
        next = new bytes(length);
        unchecked {
            // Sums have 64 bits and weights 32: nothing here can overflow.
            int256 total = int256(weight);
            int256 half = total / 2;
            for (uint256 first = 0; first < length / 4; first += 8) {
                uint256 old = Int32Lanes.load(model, first);
                uint256 word;
                for (uint256 i = 0; i < 8; i += 4) {
                    uint256 sums = Int64Lanes.load(sum, first + i);
                    for (uint256 k = 0; k < 4; ++k) {
                        int256 moved = Int32Lanes.floorDiv(Int64Lanes.lane(sums, k) + half, total);
                        word = word.put(i + k, old.lane(i + k) + moved);
                    }
                }
                Int32Lanes.store(next, first, word);
            }
        }
    }
}
