// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationRule, ISumRule} from "../interfaces/IAggregationRule.sol";
import {Int32Lanes} from "../libraries/Int32Lanes.sol";
import {Int64Lanes} from "../libraries/Int64Lanes.sol";
import {Moments} from "../libraries/Moments.sol";

/// @title Federated averaging with momentum at the server (Hsu et al., 2019): m = beta * m + mean; w = w + rate * m.
/// @notice A parameter of the model is w, then m. The rule's word has, from the low end, the rate and beta, in
/// millionths, 4 bytes each, and zeros. `docs/protocol.md` says how each step rounds.
contract FedAvgM is ISumRule {
    using Int32Lanes for uint256;

    /// @inheritdoc IAggregationRule
    Kind public constant kind = Kind.Sum;

    /// @inheritdoc IAggregationRule
    uint256 public constant lanes = 2;

    /// @inheritdoc IAggregationRule
    function check(bytes32 parameters, uint256 minUpdates, uint256 maxUpdates) external pure {
        (int256 rate, int256 beta) = _options(parameters);
        if (rate == 0 || rate >= 2 ** 31 || beta >= Moments.ONE || uint256(parameters) >> 64 != 0) {
            revert ParametersRefused(parameters, minUpdates, maxUpdates);
        }
    }

    /// @inheritdoc IAggregationRule
    function gasFor(uint256, uint256 chunkParameters) external pure returns (uint256) {
        return 3000 + 1200 * chunkParameters;
    }

    /// @inheritdoc ISumRule
    function finish(
        bytes32 parameters,
        bytes calldata model,
        bytes calldata sum,
        uint256 weight
    ) external pure returns (bytes memory next) {
        uint256 length = model.length;
        if (length % 64 != 0 || sum.length != length || weight > type(uint64).max) revert MalformedChunks();
        (int256 rate, int256 beta) = _options(parameters);
        next = new bytes(length);
        unchecked {
            int256 total = int256(weight);
            // Four parameters, of which each is two of the eight lanes of a word.
            for (uint256 first = 0; first < length / 8; first += 4) {
                uint256 old = Int32Lanes.load(model, 2 * first);
                uint256 sums = Int64Lanes.load(sum, first);
                uint256 word;
                for (uint256 k = 0; k < 4; ++k) {
                    int256 delta = Moments.mean(Int64Lanes.lane(sums, k), total / 2, total);
                    int256 moment = old.lane(2 * k + 1);
                    if (moment != Moments.AVERAGED) {
                        moment = Moments.first(moment, beta, delta);
                        delta = Moments.rounded(rate * moment, Moments.ONE);
                    }
                    word = word.put(2 * k, old.lane(2 * k) + delta).put(2 * k + 1, moment);
                }
                Int32Lanes.store(next, 2 * first, word);
            }
        }
    }

    function _options(bytes32 parameters) private pure returns (int256 rate, int256 beta) {
        return (Moments.field(parameters, 0), Moments.field(parameters, 1));
    }
}
