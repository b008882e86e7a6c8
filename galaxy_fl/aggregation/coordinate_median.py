"""CoordinateMedian: each parameter moves by the median of its updates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from galaxy_fl.aggregation.rule import RuleKind, check_call, clamp, stacked
from galaxy_fl.aggregation.sorting_network import sort_rows
from galaxy_fl.vectors.vector import Vector

__all__ = ["CoordinateMedian"]


class CoordinateMedian:
    """The model plus the coordinate-wise median: a minority can't move it beyond the values of the others.

    next = clamp_int32(model + median); of an even number of updates the median is
    floor((a + b) / 2) of the two in the middle. Weights do not count, and `rule_word` is not used.

    From Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018.
    """

    name = "coordinate_median"
    kind = RuleKind.CHUNK
    max_updates = 64
    lanes = 1

    def aggregate(self, rule_word: bytes, model: Vector, updates: Iterable[Vector], weights: Sequence[int]) -> Vector:
        """See `Rule.aggregate`."""
        check_call(self, rule_word, weights)
        rows = sort_rows(stacked(model, updates, weights))
        middle = np.add(rows[(len(rows) - 1) // 2], rows[len(rows) // 2], dtype=np.int64)
        # An arithmetic shift is floor division by two; of an odd number both rows are the same.
        np.right_shift(middle, 1, out=middle)
        np.add(middle, model, out=middle)
        return clamp(middle)
