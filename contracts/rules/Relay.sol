// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationRule, IChunkRule} from "../interfaces/IAggregationRule.sol";

/// @title The model stays as it is: the ledger only brings the clients' models together, for distillation.
contract Relay is IChunkRule {
    /// @inheritdoc IAggregationRule
    Kind public constant kind = Kind.KeepsModel;

    /// @inheritdoc IAggregationRule
    uint256 public constant lanes = 1;

    /// @inheritdoc IAggregationRule
    /// @dev The rule has no parameters, and accepts any number of updates.
    function check(bytes32, uint256, uint256) external pure {}

    /// @inheritdoc IAggregationRule
    function gasFor(uint256, uint256 chunkParameters) external pure returns (uint256) {
        return 5000 + 10 * chunkParameters;
    }

    /// @inheritdoc IChunkRule
    function aggregate(
        bytes32,
        bytes calldata model,
        bytes[] calldata updates,
        uint32[] calldata weights
    ) external pure returns (bytes memory next) {
        if (updates.length == 0 || updates.length != weights.length) revert MalformedChunks();
        return model;
    }
}
