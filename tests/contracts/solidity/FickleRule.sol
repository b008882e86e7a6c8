// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationRule} from "contracts/interfaces/IAggregationRule.sol";

/// @title A rule that is hostile when a job is registered, or changes its mind afterwards.
/// @dev Not an `IAggregationRule` by declaration: its functions write, where the interface's only look.
contract FickleRule {
    enum Way {
        Steady,
        Writes,
        Burns,
        WantsAllGas,
        ChangesItsMind,
        Reenters
    }

    Way public way;
    address public ledger;
    uint256 private _written;

    function behave(Way as_, address on) external {
        way = as_;
        ledger = on;
    }

    function check(bytes32, uint256, uint256) external {
        if (way == Way.Writes) ++_written;
        if (way == Way.Burns) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        if (way == Way.Reenters) {
            // A call that anybody may make at any time, were it not within a static one.
            (bool done,) = ledger.call(abi.encodeWithSignature("announce(bytes32)", bytes32(uint256(1))));
            require(done, "refused");
        }
    }

    function gasFor(uint256, uint256) external view returns (uint256) {
        return way == Way.WantsAllGas ? type(uint256).max : 0;
    }

    function kind() external view returns (IAggregationRule.Kind) {
        return way == Way.ChangesItsMind ? IAggregationRule.Kind.KeepsModel : IAggregationRule.Kind.Chunk;
    }

    function lanes() external pure returns (uint256) {
        return 1;
    }

    function aggregate(
        bytes32,
        bytes calldata model,
        bytes[] calldata,
        uint32[] calldata
    ) external view returns (bytes memory) {
        return way == Way.ChangesItsMind ? new bytes(model.length) : model;
    }
}
