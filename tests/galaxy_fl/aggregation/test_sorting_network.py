from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from galaxy_fl.aggregation.sorting_network import comparators, sort_rows


@pytest.mark.parametrize("count", range(1, 13))
def test_the_network_sorts_all_zeros_and_ones_and_so_everything(count: int) -> None:
    """By the zero-one principle (Knuth, section 5.3.4) this is a proof for this many values."""
    values = np.array(list(product((0, 1), repeat=count)), np.int32).T.copy()
    assert np.array_equal(sort_rows(values.copy()), np.sort(values, axis=0))


@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 64), st.integers(1, 4))))
def test_rows_are_sorted_as_numpy_sorts_them(values: Any) -> None:
    assert np.array_equal(sort_rows(values.copy()), np.sort(values, axis=0))


@pytest.mark.parametrize(("count", "size"), [(1, 0), (2, 1), (3, 3), (4, 5), (10, 31), (16, 63), (64, 543)])
def test_the_network_has_batchers_size(count: int, size: int) -> None:
    assert len(comparators(count)) == size
    assert all(0 <= i < j < count for i, j in comparators(count))
