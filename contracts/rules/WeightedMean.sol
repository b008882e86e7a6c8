// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationRule} from "../interfaces/IAggregationRule.sol";
import {Int32Lanes} from "../libraries/Int32Lanes.sol";

/// @title Federated averaging (McMahan et al., 2017): the model moves by the mean of the updates, weighted by samples.
/// @dev The sum of the weights is below 2**32, so every sum stays below 2**63, and nothing here can overflow.
contract WeightedMean is IAggregationRule {
    using Int32Lanes for uint256;

    /// @inheritdoc IAggregationRule
    bool public constant keepsModel = false;

    /// @inheritdoc IAggregationRule
    /// @dev The rule has no parameters, and accepts any number of updates.
    function check(bytes32, uint256, uint256) external pure {}

    /// @inheritdoc IAggregationRule
    function gasFor(uint256 updates, uint256 chunkParameters) external pure returns (uint256) {
        return 4000 + 450 * chunkParameters + updates * (1000 + 160 * chunkParameters);
    }

    /// @inheritdoc IAggregationRule
    function aggregate(
        bytes32,
        bytes calldata model,
        bytes[] calldata updates,
        uint32[] calldata weights
    ) external pure returns (bytes memory next) {
        uint256 length = model.length;
        if (updates.length == 0 || updates.length != weights.length || length % 32 != 0) revert MalformedChunks();
        int256[] memory sums = new int256[](length / 4);
        int256 total;
        for (uint256 u = 0; u < updates.length; ++u) {
            bytes calldata update = updates[u];
            if (update.length != length) revert MalformedChunks();
            int256 weight = int256(uint256(weights[u]));
            total += weight;
            _accumulate(sums, update, weight);
        }
        if (total == 0) revert MalformedChunks();
        next = new bytes(length);
        unchecked {
            int256 half = total / 2;
            for (uint256 first = 0; first < sums.length; first += 8) {
                uint256 old = Int32Lanes.load(model, first);
                uint256 word;
                for (uint256 i = 0; i < 8; ++i) {
                    word = word.put(i, old.lane(i) + Int32Lanes.floorDiv(sums[first + i] + half, total));
                }
                Int32Lanes.store(next, first, word);
            }
        }
    }

    /// @dev sums += weight * update. This is the inner loop of every challenge: pointers instead of indices, and eight
    /// lanes unrolled by the shift, save about half of its gas.
    function _accumulate(int256[] memory sums, bytes calldata update, int256 weight) private pure {
        uint256 cell;
        assembly ("memory-safe") {
            cell := add(sums, 0x20)
        }
        for (uint256 first = 0; first < sums.length; first += 8) {
            uint256 word = Int32Lanes.load(update, first);
            assembly ("memory-safe") {
                for {
                    let shift := 256
                } shift {} {
                    shift := sub(shift, 32)
                    mstore(cell, add(mload(cell), mul(weight, signextend(3, shr(shift, word)))))
                    cell := add(cell, 0x20)
                }
            }
        }
    }
}
