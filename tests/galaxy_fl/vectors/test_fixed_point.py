from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from galaxy_fl.exceptions import EncodingError, VectorError
from galaxy_fl.vectors import (
    BLOCK_PARAMETERS,
    INT32_MAX,
    INT32_MIN,
    Layout,
    TensorLayout,
    decode,
    difference,
    encode,
    read_vector,
    write_encoded,
    write_vector,
)
from galaxy_fl.vectors.layout import State

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "fixed_point.json").read_text())

int32_vectors = hnp.arrays(np.int32, st.integers(1, 50), elements=st.integers(INT32_MIN, INT32_MAX))


def one(shape: tuple[int, ...], fraction_bits: int = 24) -> Layout:
    return Layout((TensorLayout("w", shape, fraction_bits),))


@pytest.mark.usefixtures("every_kernels")
@pytest.mark.parametrize(("floats", "dtype"), [("float32", ">f4"), ("float64", ">f8")])
def test_encode_agrees_with_the_test_vectors(floats: str, dtype: str) -> None:
    for case in VECTORS[f"encode_{floats}"]:
        value = np.frombuffer(bytes.fromhex(case[floats]), dtype).astype(floats)
        layout = one((1,), case["fraction_bits"])
        if case["q"] is None:
            with pytest.raises(EncodingError):
                encode({"w": value}, layout)
        else:
            assert encode({"w": value}, layout).tolist() == [case["q"]], case


@pytest.mark.usefixtures("every_kernels")
def test_decode_agrees_with_the_test_vectors() -> None:
    for case in VECTORS["decode"]:
        state = decode(np.array([case["q"]], np.int32), one((1,), case["fraction_bits"]))
        assert state["w"].numpy().astype(">f4").tobytes().hex() == case["float32"], case


@given(hnp.arrays(np.float32, st.integers(0, 60), elements=st.floats(-127, 127, width=32)), st.integers(0, 24))
def test_decoding_what_was_encoded_is_within_half_a_step(values: Any, fraction_bits: int) -> None:
    layout = one(values.shape, fraction_bits)
    back = decode(encode({"w": values}, layout), layout)["w"].numpy().astype(np.float64)
    # Half a step of the fixed point, and the rounding of the result to float32.
    bound = 0.5 * 2.0**-fraction_bits + np.spacing(np.abs(values).astype(np.float32)).astype(np.float64)
    assert np.all(np.abs(back - values) <= bound)


@given(hnp.arrays(np.int32, 20, elements=st.integers(-(2**24), 2**24)), st.integers(0, 30))
def test_encoding_what_was_decoded_gives_the_same_vector(vector: Any, fraction_bits: int) -> None:
    layout = one(vector.shape, fraction_bits)
    assert np.array_equal(encode(decode(vector, layout), layout), vector)


@given(hnp.arrays(np.float32, 20, elements=st.floats(-127, 127, width=32)))
def test_float32_and_float64_of_the_same_value_encode_alike(values: Any) -> None:
    layout = one(values.shape)
    wide = encode({"w": values.astype(np.float64)}, layout)
    assert np.array_equal(encode({"w": values}, layout), wide)
    assert np.array_equal(encode({"w": torch.from_numpy(values)}, layout), wide)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type_is_taken_for_what_it_holds(dtype: torch.dtype) -> None:
    value = torch.tensor([0.5, -1.25, 0.1], dtype=dtype, requires_grad=True)
    expected = [round(x * 2**24) for x in value.double().tolist()]
    assert encode({"w": value}, one((3,))).tolist() == expected


@pytest.mark.usefixtures("every_kernels")
def test_strides_do_not_matter() -> None:
    values = torch.arange(24.0).reshape(2, 3, 4)
    expected = encode({"w": values.permute(2, 0, 1).contiguous()}, one((4, 2, 3)))
    assert np.array_equal(encode({"w": values.permute(2, 0, 1)}, one((4, 2, 3))), expected)
    assert np.array_equal(encode({"w": values.numpy().transpose(2, 0, 1)}, one((4, 2, 3))), expected)
    backwards = encode({"w": values.numpy()[::-1, ::-1, ::-1]}, one((2, 3, 4)))
    assert backwards.tolist() == [i << 24 for i in reversed(range(24))]


def test_a_model_goes_over_the_wire_and_back() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    layout = Layout.of(model)
    vector = encode(model.state_dict(), layout)
    assert vector.dtype == np.int32
    assert vector.shape == (layout.parameters,)
    other = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    other.load_state_dict({**other.state_dict(), **decode(vector, layout)})
    assert np.array_equal(encode(other.state_dict(), layout), vector)


@pytest.mark.usefixtures("every_kernels")
def test_tensors_longer_than_a_block_are_encoded_and_decoded_whole(tmp_path: Path) -> None:
    count = 2 * BLOCK_PARAMETERS + 3
    layout = Layout((TensorLayout("a", (1,)), TensorLayout("b", (count,), 8), TensorLayout("c", (0, 2))))
    b = np.arange(count, dtype=np.float32)
    encoded = {"a": np.ones(1), "b": b, "c": np.ones((0, 2))}
    vector = encode(encoded, layout)
    assert np.array_equal(vector, np.concatenate([[1 << 24], np.arange(count) << 8]))
    write_encoded(tmp_path / "vector", encoded, layout)
    assert np.array_equal(read_vector(tmp_path / "vector", layout.parameters), vector)
    start = np.arange(len(vector), dtype=np.int32) - 1_000
    start[-1] = INT32_MIN
    write_encoded(tmp_path / "update", encoded, layout, start)
    assert np.array_equal(read_vector(tmp_path / "update", layout.parameters), difference(vector, start))
    state = decode(vector, layout)
    assert np.array_equal(state["b"].numpy(), b)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "a": (1,),
        "b": (count,),
        "c": (0, 2),
    }


def test_decoded_tensors_have_storage_of_their_own() -> None:
    state = decode(np.zeros(2, np.int32), Layout((TensorLayout("a", ()), TensorLayout("b", (1,)))))
    state["a"] += 1
    assert state["b"].item() == 0
    assert state["a"].dtype == torch.float32
    assert state["a"].shape == ()


@pytest.mark.usefixtures("every_kernels")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 128.0, -128.1, 3e38])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_that_does_not_fit_is_named_with_its_place_and_limit(value: float, dtype: Any, tmp_path: Path) -> None:
    values = np.zeros((3, BLOCK_PARAMETERS), dtype)
    values[1, 17] = value
    values[2, 0] = float("nan")
    place = rf"'w' at \(1, 17\) is {re.escape(str(float(dtype(value))))}.*128"
    with pytest.raises(EncodingError, match=place):
        encode({"w": values}, one(values.shape))
    with pytest.raises(EncodingError, match=place):
        write_encoded(tmp_path / "vector", {"w": values}, one(values.shape))


def test_padding_is_written_to_a_file_and_strides_do_not_matter_there(tmp_path: Path) -> None:
    state, layout = {"w": torch.arange(6.0).reshape(2, 3).T}, one((3, 2)).padded()
    assert layout.padding
    write_encoded(tmp_path / "vector", state, layout)
    assert np.array_equal(read_vector(tmp_path / "vector", layout.parameters), encode(state, layout))


def test_a_scalar_that_does_not_fit_is_named_too() -> None:
    with pytest.raises(EncodingError, match=r"'w' at \(\) is nan"):
        encode({"w": torch.tensor(float("nan"))}, one(()))


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({}, "no tensor 'w'"),
        ({"w": np.ones(2), "extra": np.ones(1)}, "'extra'"),
        ({"w": np.ones(3)}, r"'w' has the shape \(3,\).*\(2,\)"),
        ({"w": np.ones((2, 1))}, r"'w' has the shape \(2, 1\)"),
        ({"w": np.ones(2, np.int32)}, "'w' is int32"),
        ({"w": torch.ones(2, dtype=torch.int64)}, r"'w' is torch\.int64"),
        ({"w": torch.ones(2).to(torch.float8_e5m2)}, "'w' is torch.float8"),
        ({"w": 3.0}, "'w' is float"),
    ],
)
def test_a_state_of_another_layout_is_refused(state: Any, says: str) -> None:
    with pytest.raises(VectorError, match=says):
        encode(state, one((2,)))


def test_integer_buffers_stay_local() -> None:
    state: State = {"steps": torch.tensor(3), "w": torch.ones(1), "more": np.zeros(2, np.int64)}
    assert encode(state, one((1,))).tolist() == [1 << 24]


@pytest.mark.parametrize("vector", [np.zeros(3, np.int32), np.zeros(2, np.int64), np.zeros((2, 1), np.int32)])
def test_what_is_no_vector_of_the_layout_is_not_decoded(vector: Any) -> None:
    with pytest.raises(VectorError):
        decode(vector, one((2,)))


@given(int32_vectors, st.data())
def test_difference_saturates(model: Any, data: st.DataObject) -> None:
    trained = data.draw(hnp.arrays(np.int32, model.shape, elements=st.integers(INT32_MIN, INT32_MAX)))
    expected = [max(INT32_MIN, min(INT32_MAX, t - m)) for t, m in zip(trained.tolist(), model.tolist(), strict=True)]
    assert difference(trained, model).tolist() == expected


def test_difference_of_more_than_a_block() -> None:
    trained = np.arange(2 * BLOCK_PARAMETERS + 1, dtype=np.int32)
    assert np.array_equal(difference(trained, trained[::-1]), trained - trained[::-1])


def test_difference_needs_two_vectors_of_one_length() -> None:
    with pytest.raises(VectorError, match="3 parameters, expected 2"):
        difference(np.zeros(3, np.int32), np.zeros(2, np.int32))


def test_a_vector_file_is_little_endian_and_mapped_read_only(tmp_path: Path) -> None:
    path = tmp_path / "vector"
    write_vector(path, np.array([1, -2, INT32_MAX], np.int32))
    assert path.read_bytes().hex() == "01000000feffffffffffff7f"
    vector = read_vector(path, 3)
    assert vector.tolist() == [1, -2, INT32_MAX]
    assert not vector.flags.writeable


def test_a_strided_vector_is_written_in_its_order(tmp_path: Path) -> None:
    write_vector(tmp_path / "vector", np.arange(6, dtype=np.int32)[::-2])
    assert read_vector(tmp_path / "vector", 3).tolist() == [5, 3, 1]


@pytest.mark.parametrize("length", [0, 1, 11, 13, 16])
def test_a_file_of_another_length_is_no_vector(tmp_path: Path, length: int) -> None:
    path = tmp_path / "vector"
    path.write_bytes(bytes(length))
    with pytest.raises(VectorError, match=rf"{length} bytes, expected 12 "):
        read_vector(path, 3)


def test_torch_is_not_imported_before_a_tensor_is_made() -> None:
    program = "import sys, galaxy_fl.vectors, galaxy_fl.aggregation; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
