"""Fixed point as a card computes it has the bits of the kernels: on the CPU everywhere, and on a card where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from galaxy_fl.exceptions import EncodingError
from galaxy_fl.vectors import INT32_MAX, INT32_MIN, Layout, TensorLayout, decode, encode, on_device
from galaxy_fl.vectors.kernels import kernels
from galaxy_fl.vectors.layout import MAX_FRACTION_BITS, MIN_FRACTION_BITS

BITS = st.integers(MIN_FRACTION_BITS, MAX_FRACTION_BITS)
STEPS = st.integers(-(2**33), 2**33).map(lambda halves: halves / 4)
"""Halves and quarters of steps, within the range and a little beyond."""


def _encoded(values: np.ndarray[Any, Any], bits: int) -> list[int] | None:
    out = np.empty(len(values), np.int32)
    return None if kernels().encode(values, bits, out) is not None else out.tolist()


def _there(device: str, values: torch.Tensor, bits: int) -> list[int] | None:
    vector = on_device.encode([(values.to(device), bits)], len(values))
    return None if vector is None else vector.tolist()


@given(hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(width=32)), BITS)
def test_any_floats_are_encoded_alike(values: Any, bits: int) -> None:
    assert _there("cpu", torch.from_numpy(values), bits) == _encoded(values, bits)


@given(st.lists(STEPS, min_size=1, max_size=40), BITS, st.sampled_from([np.float32, np.float64]))
def test_halves_and_the_ends_of_the_range_are_encoded_alike(steps: list[float], bits: int, dtype: Any) -> None:
    values = (np.array(steps) * 2.0**-bits).astype(dtype)
    assert _there("cpu", torch.from_numpy(values), bits) == _encoded(values, bits)


@given(hnp.arrays(np.int32, st.integers(1, 40), elements=st.integers(INT32_MIN, INT32_MAX)), BITS)
def test_any_vector_is_decoded_alike(vector: Any, bits: int) -> None:
    out = np.empty(len(vector), np.float32)
    kernels().decode(vector, bits, out)
    (there,) = on_device.decode(torch.from_numpy(vector), [((len(vector),), bits)])
    assert there.numpy().tobytes() == out.tobytes()


def test_where_each_tensor_lies(device: str) -> None:
    rng = np.random.default_rng(1)
    layout = Layout(
        (
            TensorLayout("a", (3, 4), 24),
            TensorLayout("b", (), 16),
            TensorLayout("c", (5,), -3),
            TensorLayout("d", (2,), 24),
        )
    )
    state = {
        "a": torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32)).T,
        "b": torch.tensor(0.3, dtype=torch.float64),
        "c": torch.from_numpy(1000 * rng.normal(size=5)).to(torch.bfloat16),
        "d": torch.tensor([1.5, -2.25], dtype=torch.float16),
    }
    expected = encode(state, layout)
    there = {name: value.to(device) for name, value in state.items()}
    assert np.array_equal(encode(there, layout), expected)
    values = [(there[tensor.name], tensor.fraction_bits) for tensor in layout.tensors]
    vector = on_device.encode(values, layout.parameters)
    assert vector is not None
    assert vector.device.type == device
    assert np.array_equal(vector.cpu().numpy(), expected)
    back, here = decode(expected, layout, device), decode(expected, layout)
    for name, value in back.items():
        assert (value.device.type, value.shape, value.dtype) == (device, here[name].shape, torch.float32)
        assert torch.equal(value.cpu(), here[name])
        assert value.untyped_storage().nbytes() == value.nbytes


def test_a_large_model_has_the_same_bits(device: str) -> None:
    values = np.random.default_rng(2).normal(size=3_000_001).astype(np.float32)
    layout = Layout((TensorLayout("w", (3_000_001,), 24),))
    expected = encode({"w": values}, layout)
    assert np.array_equal(encode({"w": torch.from_numpy(values).to(device)}, layout), expected)
    assert torch.equal(decode(expected, layout, device)["w"].cpu(), decode(expected, layout)["w"])


@pytest.mark.parametrize("parameters", [1, on_device.STAGE - 1, on_device.STAGE, 2 * on_device.STAGE + 7])
def test_a_vector_crosses_whole(device: str, parameters: int) -> None:
    vector = np.arange(parameters, dtype=np.int32)
    vector.flags.writeable = False  # as that of a file that can only be read
    there = on_device.send(vector, device)
    there += 1
    assert there.device.type == device
    assert np.array_equal(on_device.bring(there), np.arange(1, parameters + 1))
    assert vector[0] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 128.0, -128.1])
def test_a_value_that_does_not_fit_is_named(device: str, value: float) -> None:
    weights = torch.zeros(2, 3)
    weights[1, 2] = value
    layout = Layout((TensorLayout("w", (2, 3), 24),))
    assert on_device.encode([(weights.to(device), 24)], 6) is None
    with pytest.raises(EncodingError, match=r"tensor 'w' at \(1, 2\) is"):
        encode({"w": weights.to(device)}, layout)


def test_a_file_that_can_not_be_written_is_decoded(tmp_path: Path, device: str) -> None:
    path = tmp_path / "vector"
    path.write_bytes(np.arange(12, dtype="<i4").tobytes())
    vector = np.memmap(path, "<i4", mode="r").view(np.ndarray)
    state = decode(vector, Layout((TensorLayout("w", (12,), 1),)), device)
    state["w"] += 1
    assert state["w"].tolist() == [1 + i / 2 for i in range(12)]
