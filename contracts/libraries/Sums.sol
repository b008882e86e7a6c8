// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Int32Lanes} from "./Int32Lanes.sol";
import {Int64Lanes} from "./Int64Lanes.sol";

/// @title Adding up chunks of updates, and chunks of sums. These are the inner loops of every challenge of a sum.
/// @dev Sums are kept in words of 256 bits: 64 times 2**64 is far from what they hold.
library Sums {
    /// @notice sums += weight * update, for a chunk of little-endian int32, a multiple of eight of them.
    /// @dev Pointers instead of indices, and eight lanes unrolled by the shift, save about half of the gas.
    function addUpdate(int256[] memory sums, bytes calldata update, uint256 weight) internal pure {
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

    /// @notice sums += child, for a chunk of little-endian int64; of which the first `lanes` have to be what updates of
    /// int32 with weights that add up to `weight` can sum to.
    /// @return fits Whether they are.
    function addSum(
        int256[] memory sums,
        bytes calldata child,
        uint256 weight,
        uint256 lanes
    ) internal pure returns (bool fits) {
        int256 lowest = -int256(weight) * 2 ** 31;
        int256 highest = int256(weight) * (2 ** 31 - 1);
        uint256 cell;
        uint256 padding;
        bool outside;
        assembly ("memory-safe") {
            cell := add(sums, 0x20)
            padding := add(cell, shl(5, lanes))
        }
        for (uint256 first = 0; first < sums.length; first += 4) {
            uint256 word = Int64Lanes.load(child, first);
            assembly ("memory-safe") {
                for {
                    let shift := 256
                } shift {} {
                    shift := sub(shift, 64)
                    let value := signextend(7, shr(shift, word))
                    mstore(cell, add(mload(cell), value))
                    // What lies behind the last parameter is not looked at.
                    outside := or(outside, and(or(slt(value, lowest), sgt(value, highest)), lt(cell, padding)))
                    cell := add(cell, 0x20)
                }
            }
        }
        return !outside;
    }
}
