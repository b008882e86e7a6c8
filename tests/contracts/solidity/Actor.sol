// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A contract as a participant: it does what it is told, and what it was told to do when ether arrives.
contract Actor {
    bool private _refuses;
    bytes private _onReceive;
    /// How often a call made while ether arrived went through.
    uint256 public entered;
    uint256 public received;

    /// @notice Calls a contract with the value that is sent along.
    function act(address target, bytes calldata data) external payable {
        (bool done, bytes memory result) = target.call{value: msg.value}(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
    }

    /// @notice From now on it refuses ether.
    function refuse() external {
        _refuses = true;
    }

    /// @notice From now on it calls back whoever sends ether.
    function callBack(bytes calldata data) external {
        _onReceive = data;
    }

    receive() external payable {
        require(!_refuses, "refused");
        ++received;
        if (_onReceive.length == 0) return;
        (bool done,) = msg.sender.call(_onReceive);
        if (done) ++entered;
    }
}
