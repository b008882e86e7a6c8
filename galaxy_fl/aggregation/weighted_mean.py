"""WeightedMean: FedAvg in integers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np

from galaxy_fl.aggregation.rule import RuleKind, check_call, check_weight, check_word, clamp, paired, sum_bounds
from galaxy_fl.vectors.vector import BLOCK_PARAMETERS, INT32_MAX, INT32_MIN, Sums, Vector, as_sums, as_vector

__all__ = ["WeightedMean"]


class WeightedMean:
    """The model plus the mean of the updates, weighted by samples and rounded half up.

    With W = Σw and s = Σ w·u: next = clamp_int32(model + floor((s + floor(W/2)) / W)), and the model where W is 0,
    which no round's is. int64 is enough: W is below 2**32. `rule_word` is not used.

    FedAvg is from McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
    Data", AISTATS 2017.
    """

    name = "weighted_mean"
    kind = RuleKind.SUM
    max_updates = 4096

    def aggregate(self, rule_word: bytes, model: Vector, updates: Iterable[Vector], weights: Sequence[int]) -> Vector:
        """See `Rule.aggregate`."""
        check_call(self, rule_word, weights)
        total, product = _accumulators.of(len(model))
        total.fill(0)
        for update, weight in paired(model, updates, weights):
            # Widened first: int32 times a bare int would overflow, and widening while multiplying is slower.
            np.copyto(product, update)
            np.multiply(product, weight, out=product)
            np.add(total, product, out=total)
        return _moved(model, total, sum(weights))

    def finish(self, rule_word: bytes, model: Vector, sums: Sums, weight: int) -> Vector:
        """See `SumRule.finish`."""
        check_word(rule_word)
        check_weight(weight)
        model = as_vector(model)
        sums = as_sums(sums, len(model))
        if weight == 0 or len(model) == 0:
            return model.copy()
        lowest, highest = sum_bounds(weight)
        if sums.min() >= lowest and sums.max() <= highest:
            return _moved(model, sums.copy(), weight)
        # No updates sum to that, and adding half of the weight may overflow: divided first, and cut to what moves every
        # model to the end of int32.
        quotient, rest = np.divmod(sums, weight)
        np.add(rest, weight // 2, out=rest)
        np.floor_divide(rest, weight, out=rest)
        np.clip(quotient, 2 * INT32_MIN, 2 * INT32_MAX + 1, out=quotient)
        np.add(quotient, rest, out=quotient)
        np.add(quotient, model, out=quotient)
        return clamp(quotient)


def _moved(model: Vector, sums: Sums, weight: int) -> Vector:
    """Return the model moved by a sum within its bounds, which is overwritten."""
    np.add(sums, weight // 2, out=sums)
    np.floor_divide(sums, weight, out=sums)
    np.add(sums, model, out=sums)
    return clamp(sums)


class _Accumulators(threading.local):
    """Two int64 blocks a thread: mapping fresh memory for every block would halve the speed."""

    def __init__(self) -> None:
        self._blocks = np.empty((2, BLOCK_PARAMETERS), np.int64)

    def of(self, parameters: int) -> Sums:
        if parameters > BLOCK_PARAMETERS:
            return np.empty((2, parameters), np.int64)
        return self._blocks[:, :parameters]


_accumulators = _Accumulators()
