// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IAggregationRule, ISumRule} from "../interfaces/IAggregationRule.sol";
import {Int32Lanes} from "../libraries/Int32Lanes.sol";
import {Int64Lanes} from "../libraries/Int64Lanes.sol";
import {Moments} from "../libraries/Moments.sol";

/// @title Adam at the server (Reddi et al., 2021): M = beta1 * M + mean; v = beta2 * v + (1 - beta2) * mean ** 2;
/// w = w + rate * (1 - beta1) * M / (sqrt(v) + tau).
/// @notice The paper's m is (1 - beta1) * M; nothing corrects the bias of the first rounds, as in the paper. A
/// parameter of the model is w, M, and the low and the high half of v, which has 62 bits. The rule's word has, from the
/// low end, the rate, beta1 and beta2 in millionths, and tau in thousand-millionths, 4 bytes each, and zeros. The
/// parameters that it moves have 24 fraction bits. `docs/protocol.md` says how each step rounds.
contract FedAdam is ISumRule {
    using Int32Lanes for uint256;

    int256 private constant STEPS = 2 ** 24;
    /// @dev What is more than a square of an int32, and so no second moment.
    int256 private constant LARGEST = 2 ** 62;

    /// @dev The rule's word in the units of parameters.
    struct Options {
        int256 beta1;
        /// 1 - beta2, in millionths.
        int256 share;
        /// rate * (1 - beta1), in 1/256 steps.
        int256 rate;
        /// In steps.
        int256 tau;
    }

    /// @inheritdoc IAggregationRule
    Kind public constant kind = Kind.Sum;

    /// @inheritdoc IAggregationRule
    uint256 public constant lanes = 4;

    /// @inheritdoc IAggregationRule
    function check(bytes32 parameters, uint256 minUpdates, uint256 maxUpdates) external pure {
        Options memory options = _options(parameters);
        if (
            options.beta1 >= Moments.ONE || options.share <= 0 || options.rate <= 0 || options.rate >= 2 ** 31
                || options.tau == 0 || options.tau >= 2 ** 31 || uint256(parameters) >> 128 != 0
        ) revert ParametersRefused(parameters, minUpdates, maxUpdates);
    }

    /// @inheritdoc IAggregationRule
    function gasFor(uint256, uint256 chunkParameters) external pure returns (uint256) {
        return 4000 + 2400 * chunkParameters;
    }

    /// @inheritdoc ISumRule
    function finish(
        bytes32 parameters,
        bytes calldata model,
        bytes calldata sum,
        uint256 weight
    ) external pure returns (bytes memory next) {
        uint256 length = model.length;
        if (length % 128 != 0 || 2 * sum.length != length || weight > type(uint64).max) revert MalformedChunks();
        Options memory options = _options(parameters);
        next = new bytes(length);
        unchecked {
            int256 total = int256(weight);
            for (uint256 first = 0; first < length / 16; first += 4) {
                uint256 sums = Int64Lanes.load(sum, first);
                // Two parameters, of which each is four of the eight lanes of a word.
                for (uint256 k = 0; k < 4; k += 2) {
                    uint256 old = Int32Lanes.load(model, 4 * (first + k));
                    int256 delta = Moments.mean(Int64Lanes.lane(sums, k), total / 2, total);
                    uint256 word = _step(options, old >> 128, delta) << 128;
                    delta = Moments.mean(Int64Lanes.lane(sums, k + 1), total / 2, total);
                    Int32Lanes.store(next, 4 * (first + k), word | _step(options, old & type(uint128).max, delta));
                }
            }
        }
    }

    /// @dev The next of one parameter, whose lanes are the last four of a word.
    function _step(Options memory options, uint256 old, int256 delta) private pure returns (uint256 word) {
        unchecked {
            int256 moment = old.lane(5);
            if (moment == Moments.AVERAGED) {
                return uint256(0).put(4, old.lane(4) + delta) | (old & (type(uint128).max >> 32));
            }
            moment = Moments.first(moment, options.beta1, delta);
            int256 second = int256(((old & 0xffffffff) << 32) | ((old >> 32) & 0xffffffff));
            if (second > LARGEST) second = LARGEST;
            second += Int32Lanes.floorDiv(options.share * (delta * delta - second), Moments.ONE);
            int256 divisor = (int256(Math.sqrt(uint256(second))) + options.tau) * 256;
            delta = Moments.rounded(options.rate * moment, divisor);
            word = uint256(0).put(4, old.lane(4) + delta).put(5, moment);
            return word | ((uint256(second) & 0xffffffff) << 32) | (uint256(second) >> 32);
        }
    }

    function _options(bytes32 parameters) private pure returns (Options memory options) {
        unchecked {
            options.beta1 = Moments.field(parameters, 1);
            options.share = Moments.ONE - Moments.field(parameters, 2);
            int256 rate = Moments.field(parameters, 0) * (Moments.ONE - options.beta1);
            options.rate = Moments.rounded(rate * STEPS * 256, Moments.ONE * Moments.ONE);
            options.tau = Moments.rounded(Moments.field(parameters, 3) * STEPS, 1_000_000_000);
        }
    }
}
