"""WeightedMean: FedAvg in integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from galaxy_fl.aggregation.rule import RuleKind, check_call, check_weight, check_word, paired
from galaxy_fl.vectors.kernels import kernels
from galaxy_fl.vectors.vector import SUM_DTYPE, VECTOR_DTYPE, Sums, Vector, as_sums, as_vector

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
    lanes = 1

    def aggregate(self, rule_word: bytes, model: Vector, updates: Iterable[Vector], weights: Sequence[int]) -> Vector:
        """See `Rule.aggregate`."""
        check_call(self, rule_word, weights)
        total = np.zeros(len(model), SUM_DTYPE)
        for update, weight in paired(model, updates, weights):
            kernels().add_update(total, update, weight)
        return _moved(as_vector(model), total, sum(weights))

    def finish(self, rule_word: bytes, model: Vector, sums: Sums, weight: int) -> Vector:
        """See `SumRule.finish`."""
        check_word(rule_word)
        check_weight(weight)
        model = as_vector(model)
        sums = as_sums(sums, len(model))
        if weight == 0 or len(model) == 0:
            return model.copy()
        return _moved(model, sums, weight)


def _moved(model: Vector, sums: Sums, weight: int) -> Vector:
    following = np.empty(len(model), VECTOR_DTYPE)
    kernels().move(model, sums, weight, following)
    return following
