"""Sorting each parameter's values over the clients, with the same comparisons whatever the values are.

Batcher's merge exchange (K. Batcher, "Sorting Networks and Their Applications", 1968; D. Knuth, The Art of
Computer Programming 3, section 5.2.2, algorithm M): 31 comparators for 10 clients, 543 for 64. Each one is
a minimum and a maximum of two whole rows, which makes it two to twenty times faster than numpy's sort.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["comparators", "sort_rows"]


@lru_cache
def comparators(count: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs (i, j), i < j, that sort `count` values when each in turn is put into order."""
    pairs = []
    top = 1 << max(0, (count - 1).bit_length() - 1)
    p = top
    while p and count > 1:
        q, r, distance = top, 0, p
        while True:
            pairs += [(i, i + distance) for i in range(count - distance) if i & p == r]
            if q == p:
                break
            distance, q, r = q - p, q // 2, p
        p //= 2
    return tuple(pairs)


def sort_rows(values: npt.NDArray[np.int32]) -> list[npt.NDArray[np.int32]]:
    """Sort an array of shape (k, n) along its first axis.

    Returns:
        k int32 arrays of shape (n,): the smallest values, the second smallest, …, the largest. They are rows
        of `values`, which is overwritten, and one row more.
    """
    rows = list(values)
    spare = np.empty_like(values, shape=values.shape[1:])
    for i, j in comparators(len(rows)):
        low, high = rows[i], rows[j]
        np.minimum(low, high, out=spare)
        np.maximum(low, high, out=high)
        rows[i], spare = spare, low
    return rows
