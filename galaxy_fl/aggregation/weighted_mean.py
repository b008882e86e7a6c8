"""WeightedMean: FedAvg in integers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from galaxy_fl.aggregation.rule import check_call, clamp, paired
from galaxy_fl.vectors.vector import BLOCK_PARAMETERS, Vector

__all__ = ["WeightedMean"]


class WeightedMean:
    """The model plus the mean of the updates, weighted by samples and rounded half up.

    With W = Σw and s = Σ w·u: next = clamp_int32(model + floor((s + floor(W/2)) / W)). int64 is enough:
    256 updates with weights below 2**24 give |s| ≤ 2**63 - 2**39, and W/2 is below 2**31. `rule_word` is
    not used.

    FedAvg is from McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
    Data", AISTATS 2017.
    """

    name = "weighted_mean"
    max_updates = 256

    def aggregate(self, rule_word: bytes, model: Vector, updates: Iterable[Vector], weights: Sequence[int]) -> Vector:
        """See `Rule.aggregate`."""
        check_call(self, rule_word, weights)
        total, product = _accumulators.of(len(model))
        total.fill(sum(weights) // 2)
        for update, weight in paired(model, updates, weights):
            # Widened first: int32 times a bare int would overflow, and widening while multiplying is slower.
            np.copyto(product, update)
            np.multiply(product, weight, out=product)
            np.add(total, product, out=total)
        np.floor_divide(total, sum(weights), out=total)
        np.add(total, model, out=total)
        return clamp(total)


class _Accumulators(threading.local):
    """Two int64 blocks a thread: mapping fresh memory for every block would halve the speed."""

    def __init__(self) -> None:
        self._blocks = np.empty((2, BLOCK_PARAMETERS), np.int64)

    def of(self, parameters: int) -> npt.NDArray[np.int64]:
        if parameters > BLOCK_PARAMETERS:
            return np.empty((2, parameters), np.int64)
        return self._blocks[:, :parameters]


_accumulators = _Accumulators()
