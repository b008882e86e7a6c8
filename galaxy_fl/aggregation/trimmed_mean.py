"""TrimmedMean: each parameter moves by the mean of its updates without the k smallest and the k largest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from galaxy_fl.aggregation.rule import RuleKind, check_call, clamp, stacked
from galaxy_fl.aggregation.sorting_network import sort_rows
from galaxy_fl.exceptions import AggregationError
from galaxy_fl.vectors.vector import Vector

__all__ = ["TrimmedMean"]


class TrimmedMean:
    """The model plus the coordinate-wise trimmed mean, rounded half up.

    `rule_word` is k, how many values are left out at each end; of the m = n - 2k that remain
    next = clamp_int32(model + floor((sum + floor(m/2)) / m)).
    Weights do not count. m < 1 is an AggregationError.

    From Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018.
    """

    name = "trimmed_mean"
    kind = RuleKind.CHUNK
    max_updates = 64
    lanes = 1

    def aggregate(self, rule_word: bytes, model: Vector, updates: Iterable[Vector], weights: Sequence[int]) -> Vector:
        """See `Rule.aggregate`."""
        check_call(self, rule_word, weights)
        trimmed = int.from_bytes(rule_word, "big")
        remaining = len(weights) - 2 * trimmed
        if remaining < 1:
            raise AggregationError(
                f"{self.name} trims {trimmed} updates at each end of {len(weights)}, which leaves none: "
                "collect more updates or trim fewer"
            )
        rows = sort_rows(stacked(model, updates, weights))
        total = np.full(len(model), remaining // 2, np.int64)
        for row in rows[trimmed : trimmed + remaining]:
            np.add(total, row, out=total)
        np.floor_divide(total, remaining, out=total)
        np.add(total, model, out=total)
        return clamp(total)
