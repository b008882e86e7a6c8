// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Int32Lanes} from "./Int32Lanes.sol";

/// @title What rules have in common that move a model by more than the last mean: they keep moments beside it.
/// @dev Everything is total: a model that somebody has committed to may hold any moments. Nothing here can overflow:
/// moments and means are int32, and factors are below 2**32.
library Moments {
    /// @notice What fractions in a rule's word are counted in: millionths.
    int256 internal constant ONE = 1_000_000;

    /// @notice A first moment that says: this parameter is averaged, and nothing else. It stays for ever.
    int256 internal constant AVERAGED = type(int32).min;

    /// @notice A number of 32 bits in a rule's word, by its place from the low end.
    function field(bytes32 word, uint256 place) internal pure returns (int256) {
        return int256((uint256(word) >> (32 * place)) & 0xffffffff);
    }

    /// @notice The mean of the updates, rounded half up; of no weight, zero.
    function mean(int256 sum, int256 half, int256 total) internal pure returns (int256) {
        unchecked {
            return within(Int32Lanes.floorDiv(sum + half, total), type(int32).min);
        }
    }

    /// @notice moment * beta + delta, the product rounded toward zero, so that a moment to which nothing is added ends
    /// at zero.
    function first(int256 moment, int256 beta, int256 delta) internal pure returns (int256) {
        unchecked {
            return within(moment * beta / ONE + delta, AVERAGED + 1);
        }
    }

    /// @notice numerator / denominator, rounded half up; the denominator is even and positive.
    function rounded(int256 numerator, int256 denominator) internal pure returns (int256) {
        unchecked {
            return Int32Lanes.floorDiv(numerator + denominator / 2, denominator);
        }
    }

    /// @notice The number nearest to `value` from `lowest` to the largest int32.
    function within(int256 value, int256 lowest) internal pure returns (int256) {
        if (value > type(int32).max) return type(int32).max;
        return value < lowest ? lowest : value;
    }
}
