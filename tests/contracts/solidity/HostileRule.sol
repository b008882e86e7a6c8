// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationRule, IChunkRule} from "contracts/interfaces/IAggregationRule.sol";

/// @title A rule that misbehaves, in the way that its parameters say.
contract HostileRule is IChunkRule {
    uint256 private constant SHORT = 1;
    uint256 private constant REVERT = 2;
    uint256 private constant HUGE = 3;
    uint256 private constant GREEDY = 4;

    /// @inheritdoc IAggregationRule
    Kind public constant kind = Kind.Chunk;

    /// @inheritdoc IAggregationRule
    uint256 public constant lanes = 1;

    /// @inheritdoc IAggregationRule
    function check(bytes32, uint256, uint256) external pure {}

    /// @inheritdoc IAggregationRule
    function gasFor(uint256, uint256) external pure returns (uint256) {
        return 0;
    }

    /// @inheritdoc IChunkRule
    function aggregate(
        bytes32 parameters,
        bytes calldata model,
        bytes[] calldata,
        uint32[] calldata
    ) external pure returns (bytes memory) {
        uint256 way = uint256(parameters);
        if (way == SHORT) return model[:model.length - 4];
        if (way == REVERT) revert MalformedChunks();
        if (way == HUGE) {
            assembly ("memory-safe") {
                mstore(0, 0x20)
                mstore(0x20, 0x200000)
                return(0, 0x200000)
            }
        }
        if (way == GREEDY) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        return model;
    }
}
