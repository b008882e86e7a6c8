"""The kernels in C against those in Python: the same to the bit, for any input."""

from __future__ import annotations

from contextlib import ExitStack
from hashlib import sha256
from operator import mul
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from galaxy_fl.vectors import BLOCK_PARAMETERS, INT32_MAX, INT32_MIN
from galaxy_fl.vectors.kernels import NativeKernels, PythonKernels

TWIN = PythonKernels()
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
HIGHEST_WEIGHT = 2**32 - 1

int32 = st.integers(INT32_MIN, INT32_MAX)
lengths = st.integers(0, 70)
weights = st.one_of(
    st.integers(1, 300), st.integers(1, HIGHEST_WEIGHT), st.sampled_from([2**24, 2**31, HIGHEST_WEIGHT])
)


@pytest.fixture(scope="session", params=["all instructions", "no special instructions", "one kind"])
def native(request: pytest.FixtureRequest, built_library: Path) -> NativeKernels:
    found = NativeKernels(built_library)
    if request.param == "one kind":  # SHA without AVX, as older processors have it
        return NativeKernels(built_library, found.instructions & 1)
    return found if request.param == "all instructions" else NativeKernels(built_library, 0)


@given(st.data(), st.integers(0, 9), st.one_of(st.integers(1, 200), st.sampled_from([256, 512, 1000, 1024])))
def test_digests_are_those_of_hashlib(native: NativeKernels, data: st.DataObject, pieces: int, size: int) -> None:
    offset = data.draw(st.integers(0, 3))
    content = memoryview(np.random.default_rng(size).bytes(offset + pieces * size))[offset:]
    expected = b"".join(sha256(content[at : at + size]).digest() for at in range(0, pieces * size, size))
    assert native.digests(content, size) == TWIN.digests(content, size) == expected


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_long_pieces_have_the_digests_of_hashlib(native: NativeKernels, pieces: int) -> None:
    content = np.random.default_rng(0).bytes(pieces * 262_144)
    assert native.digests(content, 262_144) == TWIN.digests(content, 262_144)


@given(st.integers(0, 9), st.data())
def test_roots_are_those_of_a_whole_tree(native: NativeKernels, levels: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 2**levels))
    nodes = np.random.default_rng(count).bytes(32 * count)
    level = [nodes[at : at + 32] for at in range(0, len(nodes), 32)] + [bytes(32)] * (2**levels - count)
    while len(level) > 1:
        level = [sha256(left + right).digest() for left, right in zip(level[::2], level[1::2], strict=True)]
    assert native.fold(bytearray(nodes), levels) == TWIN.fold(bytearray(nodes), levels) == level[0]


def encoded(kernels: Any, values: Any, bits: int) -> tuple[int | None, list[int]]:
    out = np.empty(len(values), np.int32)
    unfit = kernels.encode(values, bits, out)
    return unfit, [] if unfit is not None else out.tolist()


@given(st.data(), st.sampled_from([np.float16, np.float32, np.float64]), st.integers(-96, 30))
def test_any_float_is_encoded_alike(native: NativeKernels, data: st.DataObject, dtype: Any, bits: int) -> None:
    values = data.draw(hnp.arrays(dtype, lengths))
    assert encoded(native, values, bits) == encoded(TWIN, values, bits)


@given(st.data(), st.sampled_from([np.float32, np.float64]), st.integers(0, 30))
def test_what_fits_and_halves_are_encoded_alike(
    native: NativeKernels, data: st.DataObject, dtype: Any, bits: int
) -> None:
    """Multiples of a quarter of a step, so that halves are rounded to even, up to the ends of the range."""
    quarters = data.draw(hnp.arrays(np.int64, lengths, elements=st.integers(4 * INT32_MIN - 3, 4 * INT32_MAX + 3)))
    values = (quarters / 4 * 2.0**-bits).astype(dtype)
    unfit, numbers = encoded(native, values, bits)
    assert (unfit, numbers) == encoded(TWIN, values, bits)
    if unfit is None:
        assert numbers == np.rint(values.astype(np.float64) * 2.0**bits).tolist()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8"])
def test_order_strides_and_alignment_do_not_matter(native: NativeKernels, dtype: str) -> None:
    count = BLOCK_PARAMETERS + 7
    values = np.linspace(-100, 100, 2 * count).astype(dtype)
    shifted = np.frombuffer(b"." + values.tobytes(), np.uint8)[1:].view(dtype)
    for each in (values[::2], values[::-1], shifted):
        assert encoded(native, each, 24) == encoded(TWIN, each, 24)
    vector = np.random.default_rng(0).integers(INT32_MIN, INT32_MAX, 2 * count, np.int32)
    out, expected = np.empty((2, count), np.float32)
    native.decode(vector[::2], 24, out)
    TWIN.decode(vector[::2], 24, expected)
    assert np.array_equal(out, expected)


@settings(max_examples=30)
@given(st.integers(1, 3 * BLOCK_PARAMETERS), st.data())
def test_the_first_value_that_does_not_fit_is_found_wherever_it_is(
    native: NativeKernels, count: int, data: st.DataObject
) -> None:
    values = np.zeros(count, data.draw(st.sampled_from([np.float32, np.float64])))
    places = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=3))
    for place in places:
        values[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 2.0**31, -(2.0**31) - 256]))
    assert encoded(native, values, 0)[0] == encoded(TWIN, values, 0)[0] == min(places)


@given(hnp.arrays(np.int32, lengths, elements=int32), st.integers(-96, 30))
def test_any_vector_is_decoded_alike(native: NativeKernels, vector: Any, bits: int) -> None:
    out, expected = np.empty((2, len(vector)), np.float32)
    native.decode(vector, bits, out)
    TWIN.decode(vector, bits, expected)
    assert out.tobytes() == expected.tobytes()


def wrapped(number: int) -> int:
    """As int64 has it."""
    return (number - INT64_MIN) % 2**64 + INT64_MIN


@given(st.data(), lengths, st.integers(0, HIGHEST_WEIGHT))
def test_updates_are_added_alike_and_wrap_alike(
    native: NativeKernels, data: st.DataObject, count: int, weight: int
) -> None:
    update = data.draw(hnp.arrays(np.int32, count, elements=int32))
    total = data.draw(hnp.arrays(np.int64, count, elements=st.integers(INT64_MIN, INT64_MAX)))
    exact = [before + weight * each for before, each in zip(total.tolist(), update.tolist(), strict=True)]
    twin = total.copy()
    native.add_update(total, update, weight)
    TWIN.add_update(twin, update, weight)
    assert total.tolist() == twin.tolist() == list(map(wrapped, exact))


@given(st.data(), st.lists(st.integers(0, HIGHEST_WEIGHT), max_size=9), st.integers(0, 30), st.integers(0, 3))
def test_updates_are_added_from_files_alike(
    native: NativeKernels, data: st.DataObject, factors: list[int], count: int, start: int
) -> None:
    updates = [data.draw(hnp.arrays(np.int32, start + count, elements=int32)) for _ in factors]
    with ExitStack() as stack:
        files = [stack.enter_context(TemporaryFile(buffering=0)) for _ in factors]
        for file, update in zip(files, updates, strict=True):
            file.write(update.data)
        numbers = [file.fileno() for file in files]
        total, twin = np.zeros((2, count), np.int64)
        assert native.add_files(total, start, numbers, factors) is None
        assert TWIN.add_files(twin, start, numbers, factors) is None
        lanes = zip(*(update[start:].tolist() for update in updates), strict=True) if files else [()] * count
        exact = [sum(map(mul, factors, lane)) for lane in lanes]
        assert total.tolist() == twin.tolist() == [wrapped(each) for each in exact]
        if count and files:
            short = data.draw(st.integers(0, len(files) - 1))
            files[short].truncate(4 * (start + count) - 1)
            assert native.add_files(total, start, numbers, factors) == short
            assert TWIN.add_files(twin, start, numbers, factors) == short


def test_blocks_longer_than_the_buffer_are_added_from_files_alike(native: NativeKernels) -> None:
    count, factors = BLOCK_PARAMETERS - 1, [1, 2, 3, 2**32 - 1, 5, 6, 7]
    updates = np.random.default_rng(0).integers(INT32_MIN, INT32_MAX, (len(factors), 2 * count), np.int32)
    with ExitStack() as stack:
        files = [stack.enter_context(TemporaryFile(buffering=0)) for _ in factors]
        for file, update in zip(files, updates, strict=True):
            file.write(update.data)
        total, expected = np.zeros((2, count), np.int64)
        assert native.add_files(total, count, [file.fileno() for file in files], factors) is None
    for update, factor in zip(updates, factors, strict=True):
        TWIN.add_update(expected, update[count:], factor)
    assert np.array_equal(total, expected)


def test_a_file_that_can_not_be_read_is_named(native: NativeKernels, tmp_path: Path) -> None:
    with (tmp_path / "written").open("wb") as file:
        assert native.add_files(np.zeros(3, np.int64), 0, [file.fileno()], [1]) == 0


@given(st.data(), lengths, st.integers(0, HIGHEST_WEIGHT), st.booleans())
def test_sums_are_added_alike_and_those_out_of_bounds_marked(
    native: NativeKernels, data: st.DataObject, count: int, weight: int, marked: bool
) -> None:
    bounds = weight * INT32_MIN, weight * INT32_MAX
    near = st.sampled_from([bounds[0] - 1, bounds[0], bounds[1], bounds[1] + 1])
    lanes = st.one_of(near, st.integers(INT64_MIN, INT64_MAX))
    addend = data.draw(hnp.arrays(np.int64, count, elements=lanes))
    total = data.draw(hnp.arrays(np.int64, count, elements=st.integers(INT64_MIN, INT64_MAX)))
    beyond = data.draw(hnp.arrays(np.bool_, count))
    twin, twin_beyond = total.copy(), beyond.copy()
    native.add_sum(total, addend, bounds, beyond if marked else None)
    TWIN.add_sum(twin, addend, bounds, twin_beyond if marked else None)
    assert total.tolist() == twin.tolist()
    assert beyond.tolist() == twin_beyond.tolist()


@given(st.data(), lengths, weights)
def test_any_sum_moves_a_model_alike(native: NativeKernels, data: st.DataObject, count: int, weight: int) -> None:
    lowest, highest = weight * INT32_MIN, weight * INT32_MAX
    # Where the quotient changes: half of the weight above each multiple of it.
    edges = st.builds(lambda n, k: n * weight - weight // 2 + k, int32, st.integers(-2, 2))
    within = st.one_of(
        st.integers(lowest, highest),
        edges.map(lambda each: max(lowest, min(highest, each))),
        st.sampled_from([lowest, lowest + 1, highest - 1, highest, 0]),
    )
    beyond = st.one_of(
        st.integers(INT64_MIN, INT64_MAX), st.sampled_from([lowest - 1, highest + 1, INT64_MIN, INT64_MAX])
    )
    # Those within are divided many at a time, as long as there are no others among them.
    total = data.draw(hnp.arrays(np.int64, count, elements=within, fill=st.just(0)))
    for place in (
        data.draw(st.sets(st.integers(0, count - 1), max_size=3)) if count and data.draw(st.booleans()) else ()
    ):
        total[place] = data.draw(beyond)
    model = data.draw(hnp.arrays(np.int32, count, elements=int32))
    out, expected = np.empty((2, count), np.int32)
    native.move(model, total, weight, out)
    TWIN.move(model, total, weight, expected)
    exact = [m + (s + weight // 2) // weight for m, s in zip(model.tolist(), total.tolist(), strict=True)]
    assert out.tolist() == expected.tolist() == [max(INT32_MIN, min(INT32_MAX, each)) for each in exact]


def test_what_does_not_fit_together_never_gets_to_c(native: NativeKernels) -> None:
    short, vector = np.empty(3, np.int64), np.zeros(4, np.int32)
    with pytest.raises(ValueError, match="not pieces of 4"):
        native.digests(bytes(7), 4)
    for size, levels in ((0, 1), (33, 1), (96, 1)):
        with pytest.raises(ValueError, match=f"{size} bytes are not the nodes that are 1 levels"):
            native.fold(bytearray(size), levels)
    with pytest.raises(ValueError, match="does not take 4 of int32"):
        native.encode(np.zeros(4, np.float32), 24, np.empty(3, np.int32))
    with pytest.raises(ValueError, match="does not take 4 of float32"):
        native.decode(vector, 24, np.empty(4, np.float64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not take 4 of int64"):
        native.add_update(short, vector, 1)
    with pytest.raises(ValueError, match="weight is 4294967296"):
        native.add_update(np.zeros(4, np.int64), vector, 2**32)
    with pytest.raises(ValueError, match="2 files and 1 weights"):
        native.add_files(short, 0, [0, 0], [1])
    with pytest.raises(ValueError, match="weight is -1"):
        native.add_files(short, 0, [0], [-1])
    with pytest.raises(ValueError, match="does not take 4 of bool"):
        native.add_sum(np.zeros(4, np.int64), np.zeros(4, np.int64), (0, 0), np.zeros(3, np.bool_))
    with pytest.raises(ValueError, match="3 sums of weight 1"):
        native.move(vector, short, 1, vector.copy())
    with pytest.raises(ValueError, match="sums of weight 0"):
        native.move(vector, np.zeros(4, np.int64), 0, vector.copy())
    vector.flags.writeable = False
    with pytest.raises(ValueError, match="does not take"):
        native.move(vector, np.zeros(4, np.int64), 1, vector)
