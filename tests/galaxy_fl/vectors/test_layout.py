from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from galaxy_fl.exceptions import VectorError
from galaxy_fl.vectors import Layout, TensorLayout, depth, fitting_chunk, usual_chunk

tensors = st.builds(
    TensorLayout,
    st.text(min_size=1),
    st.lists(st.integers(0, 2**20), max_size=2).map(tuple),
    st.integers(-96, 30),
)
layouts = st.lists(tensors, min_size=1, unique_by=lambda tensor: tensor.name).map(
    lambda entries: Layout(tuple(entries))
)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.first = nn.Linear(3, 3, bias=False)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight


def test_a_module_gives_parameters_24_bits_and_float_buffers_16_and_leaves_integers_out() -> None:
    assert Layout.of(Tied()) == Layout(
        (
            TensorLayout("norm.weight", (3,), 24),
            TensorLayout("norm.bias", (3,), 24),
            TensorLayout("norm.running_mean", (3,), 16),
            TensorLayout("norm.running_var", (3,), 16),
            TensorLayout("first.weight", (3, 3), 24),
            TensorLayout("second.weight", (3, 3), 24),
        )
    )


def test_of_a_state_dict_every_floating_point_tensor_is_a_parameter() -> None:
    layout = Layout.of({"a": torch.zeros(2, 0), "steps": torch.tensor(3), "b": np.ones(())})
    assert layout == Layout((TensorLayout("a", (2, 0)), TensorLayout("b", ())))
    assert layout.parameters == 1


def test_a_state_without_floats_has_no_layout() -> None:
    with pytest.raises(VectorError, match="empty"):
        Layout.of({"steps": torch.tensor(3)})


@given(layouts)
def test_json_round_trip(layout: Layout) -> None:
    assert Layout.from_json(layout.to_json()) == layout


def test_fraction_bits_default_to_24() -> None:
    assert Layout.from_json([{"name": "w", "shape": [2]}]).tensors[0].fraction_bits == 24


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("w", "expected an object"),
        ({"name": "w"}, "lacks shape"),
        ({"shape": []}, "lacks name"),
        ({"name": "w", "shape": [], "dtype": "f"}, "unknown keys: 'dtype'"),
        ({"name": 3, "shape": []}, "name is 3"),
        ({"name": "", "shape": []}, "name is ''"),
        ({"name": "w", "shape": 3}, "shape is 3"),
        ({"name": "w", "shape": [-1]}, r"shape of 'w' is \(-1,\)"),
        ({"name": "w", "shape": [1.0]}, "shape of 'w'"),
        ({"name": "w", "shape": [True]}, "shape of 'w'"),
        ({"name": "w", "shape": [], "fraction_bits": 31}, "fraction_bits of 'w' is 31"),
        ({"name": "w", "shape": [], "fraction_bits": -97}, "fraction_bits of 'w' is -97"),
        ({"name": "w", "shape": [], "fraction_bits": 24.0}, r"fraction_bits of 'w' is 24\.0"),
        ({"name": "w", "shape": [], "fraction_bits": True}, "fraction_bits of 'w' is True"),
        ({"name": "w", "shape": [], "fraction_bits": None}, "fraction_bits of 'w' is None"),
        ({"name": "ok", "shape": []}, "'ok' occurs a second time"),
    ],
)
def test_a_malformed_entry_is_refused_by_its_number(entry: Any, says: str) -> None:
    with pytest.raises(VectorError, match=rf"layout entry 1\b.*{says}"):
        Layout.from_json([{"name": "ok", "shape": [1]}, entry])


@pytest.mark.parametrize("obj", [[], {}, None, "w", ({"name": "w", "shape": []},)])
def test_what_is_no_list_of_tensors_is_refused(obj: object) -> None:
    with pytest.raises(VectorError):
        Layout.from_json(obj)


def test_a_layout_is_padded_to_nine_once() -> None:
    layout = Layout((TensorLayout("w", (3,)),)).padded()
    assert (layout.padding, layout.parameters) == (6, 9)
    assert layout.padded() == layout
    assert Layout.from_json(layout.to_json()) == layout
    assert Layout((TensorLayout("w", (10,)),)).padded().padding == 0


@pytest.mark.parametrize(
    ("parameters", "most", "chunk"), [(9, 64, 8), (16, 64, 8), (17, 64, 16), (64, 64, 56), (65, 64, 64)]
)
def test_the_chunks_of_small_vectors_are_smaller(parameters: int, most: int, chunk: int) -> None:
    assert fitting_chunk(parameters, most) == chunk


@pytest.mark.parametrize(("parameters", "chunk"), [(9, 64), (2**22, 64), (2**22 + 1, 256), (2**40, 256)])
def test_no_usual_tree_is_deeper_than_16_before_its_chunks_are_longer(parameters: int, chunk: int) -> None:
    assert usual_chunk(parameters) == chunk
    assert depth(parameters, min(chunk, parameters - 1)) <= 16 or chunk == 256


def test_a_vector_that_lacks_its_padding_fits_no_ledger() -> None:
    with pytest.raises(VectorError, match="8 parameters in chunks of 0"):
        fitting_chunk(8, 64)
