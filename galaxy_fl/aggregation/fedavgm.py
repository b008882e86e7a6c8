"""FedAvgM: federated averaging with momentum at the server."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from galaxy_fl.aggregation.rule import clamp
from galaxy_fl.aggregation.server_optimizer import ONE, Masks, Option, ServerOptimizer, first_moment, rounded
from galaxy_fl.vectors.vector import Sums, Vector

__all__ = ["FedAvgM"]


class FedAvgM(ServerOptimizer):
    """m = momentum * m + mean; w = w + learning_rate * m. With a rate of 1 and no momentum it is `WeightedMean`.

    From Hsu et al., "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification",
    2019. A parameter is w, m: both in units of 2**-fraction_bits, whatever these are.
    """

    name = "fedavgm"
    lanes = 2
    options = MappingProxyType({"learning_rate": Option(1.0, 1, 2**31), "momentum": Option(0.9, 0, ONE)})

    def step(self, fields: list[int], rows: Vector, delta: Vector) -> Vector:
        """See `ServerOptimizer.step`."""
        rate, beta = fields
        following = np.empty_like(rows)
        following[:, 1] = first_moment(rows[:, 1].astype(np.int64), beta, delta)
        following[:, 0] = self._moved(rate, rows, following)
        return following

    def disagrees(self, fields: list[int], rows: Vector, after: Vector, low: Sums, high: Sums) -> Masks:
        """See `ServerOptimizer.disagrees`."""
        rate, beta = fields
        before = rows[:, 1].astype(np.int64)
        least, most = (first_moment(before, beta, delta) for delta in (low, high))
        wrong: Masks = (after[:, 1] < least) | (after[:, 1] > most) | (after[:, 0] != self._moved(rate, rows, after))
        return wrong

    @staticmethod
    def _moved(rate: int, rows: Vector, after: Vector) -> Vector:
        """Return w by the moment after the step."""
        return clamp(rows[:, 0] + rounded(after[:, 1].astype(np.int64) * rate, ONE))
