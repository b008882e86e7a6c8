from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from galaxy_fl.aggregation import WeightedMean
from galaxy_fl.aggregation.node_checks import (
    chunk_beyond_bounds,
    recover_child,
    unexplained_chunks,
    wrong_next_chunk,
    wrong_node_chunk,
)
from galaxy_fl.aggregation.summing import Summand, finish_file, write_sum
from galaxy_fl.exceptions import AggregationError, VectorError
from galaxy_fl.vectors import (
    BLOCK_PARAMETERS,
    INT32_MAX,
    INT32_MIN,
    SUM_DTYPE,
    VECTOR_DTYPE,
    read_sums,
    read_vector,
)

CHUNK = 8
WORD = bytes(32)
LOWEST, HIGHEST = -(2**63), 2**63 - 1


def written_sum(path: Path, values: Sequence[int]) -> Path:
    np.array(values, SUM_DTYPE).tofile(path)
    return path


def written_update(path: Path, values: Sequence[int]) -> Path:
    np.array(values, VECTOR_DTYPE).tofile(path)
    return path


@dataclass
class Made:
    """A node and its children, as numbers."""

    d: int
    of_nodes: bool
    weights: list[int]
    children: list[list[int]]

    @property
    def node(self) -> list[int]:
        columns = zip(*self.children, strict=True)
        factors = [1 if self.of_nodes else weight for weight in self.weights]
        return [sum(f * x for f, x in zip(factors, column, strict=True)) for column in columns]

    def write(self, folder: Path) -> list[Summand]:
        write = written_sum if self.of_nodes else written_update
        paths = [write(folder / f"child-{i}", child) for i, child in enumerate(self.children)]
        return [Summand(path, weight) for path, weight in zip(paths, self.weights, strict=True)]


@st.composite
def right_nodes(draw: st.DrawFn, most: int = 5) -> Made:
    d, of_nodes = draw(st.integers(CHUNK + 1, 4 * CHUNK)), draw(st.booleans())
    weights = draw(st.lists(st.integers(1, 2**24 - 1) | st.integers(1, 9), min_size=1, max_size=most))

    def lane(weight: int) -> st.SearchStrategy[int]:
        factor = weight if of_nodes else 1
        ends = st.sampled_from([factor * INT32_MIN, factor * INT32_MAX, 0])
        return ends | st.integers(factor * INT32_MIN, factor * INT32_MAX)

    children = [draw(st.lists(lane(weight), min_size=d, max_size=d)) for weight in weights]
    return Made(d, of_nodes, weights, children)


@settings(max_examples=60)
@given(right_nodes(), st.data())
def test_a_node_is_right_only_if_it_is_the_sum_of_its_children(made: Made, data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        children = made.write(folder)
        node = folder / "node"
        write_sum(children, node, made.d, of_nodes=made.of_nodes)
        assert read_sums(node, made.d).tolist() == made.node
        assert wrong_node_chunk(node, children, made.d, CHUNK, of_nodes=made.of_nodes) is None
        assert chunk_beyond_bounds(node, sum(made.weights), made.d, CHUNK) is None

        changed = made.node
        lanes = data.draw(st.sets(st.integers(0, made.d - 1), min_size=1))
        for lane in lanes:
            changed[lane] = data.draw(st.integers(LOWEST, HIGHEST).filter(lambda x, lane=lane: x != changed[lane]))
        written_sum(node, changed)
        assert wrong_node_chunk(node, children, made.d, CHUNK, of_nodes=made.of_nodes) == min(lanes) // CHUNK


def test_a_node_over_excluded_entries_alone_is_zero(tmp_path: Path) -> None:
    node = written_sum(tmp_path / "node", [0] * 20)
    assert wrong_node_chunk(node, [], 20, CHUNK, of_nodes=False) is None
    assert chunk_beyond_bounds(node, 0, 20, CHUNK) is None
    written_sum(node, [0] * 19 + [1])
    assert wrong_node_chunk(node, [], 20, CHUNK, of_nodes=False) == 2
    assert chunk_beyond_bounds(node, 0, 20, CHUNK) == 2


@pytest.mark.parametrize(("value", "is_beyond"), [(-1, True), (0, False), (1, True)])
@pytest.mark.parametrize("end", [INT32_MIN, INT32_MAX])
@pytest.mark.parametrize("lane", [0, 8, BLOCK_PARAMETERS + 3])
def test_bounds_are_those_of_the_weight(value: int, is_beyond: bool, end: int, lane: int, tmp_path: Path) -> None:
    d, weight = BLOCK_PARAMETERS + 9, 7
    is_beyond = is_beyond and (value > 0) == (end > 0)
    values = [0] * d
    values[lane] = weight * end + value
    node = written_sum(tmp_path / "node", values)
    assert chunk_beyond_bounds(node, weight, d, CHUNK) == (lane // CHUNK if is_beyond else None)
    # A parent that is the sum of such children is wrong, however right it adds up.
    other = written_sum(tmp_path / "other", [5] * d)
    parent = written_sum(tmp_path / "parent", [x + 5 for x in values])
    children = [Summand(other, 1), Summand(node, weight)]
    assert wrong_node_chunk(parent, children, d, CHUNK, of_nodes=True) == (lane // CHUNK if is_beyond else None)


def test_children_whose_sum_wraps_around_are_beyond_their_bounds(tmp_path: Path) -> None:
    one = written_sum(tmp_path / "one", [HIGHEST] * 20)
    two = written_sum(tmp_path / "two", [1] * 20)
    node = written_sum(tmp_path / "node", [LOWEST] * 20)
    children = [Summand(one, 2**31), Summand(two, 1)]
    assert wrong_node_chunk(node, children, 20, CHUNK, of_nodes=True) == 0
    assert unexplained_chunks(node, children[:1], [1], 20, CHUNK, of_nodes=True) == [0, 1, 2]


@pytest.mark.parametrize("lane", [0, 9, BLOCK_PARAMETERS, BLOCK_PARAMETERS + 8])
def test_the_last_step_is_right_only_if_it_is_what_the_rule_makes(lane: int, tmp_path: Path) -> None:
    d, weight = BLOCK_PARAMETERS + 9, 77
    random = np.random.default_rng(lane)
    model = written_update(tmp_path / "model", random.integers(INT32_MIN, INT32_MAX, d).tolist())
    root = written_sum(tmp_path / "root", random.integers(LOWEST, HIGHEST, d).tolist())  # any sum makes a model
    next = tmp_path / "next"
    finish_file(WeightedMean(), WORD, model, root, weight, next, d)
    assert wrong_next_chunk(WeightedMean(), WORD, model, root, weight, next, d, CHUNK) is None
    values = read_vector(next, d).copy()
    values[lane] ^= 1
    values.tofile(next)
    assert wrong_next_chunk(WeightedMean(), WORD, model, root, weight, next, d, CHUNK) == lane // CHUNK


@settings(max_examples=60)
@given(right_nodes(), st.data())
def test_a_right_node_is_explained_whatever_is_missing(made: Made, data: st.DataObject) -> None:
    missing = data.draw(st.sets(st.integers(0, len(made.weights) - 1)))
    with TemporaryDirectory() as name:
        folder = Path(name)
        children = made.write(folder)
        node = written_sum(folder / "node", made.node)
        present = [child for number, child in enumerate(children) if number not in missing]
        weights = [made.weights[number] for number in missing]
        assert unexplained_chunks(node, present, weights, made.d, CHUNK, of_nodes=made.of_nodes) == []
        if len(missing) == 1:
            (number,) = missing
            recover_child(node, present, weights[0], folder / "found", made.d, of_nodes=made.of_nodes)
            assert (folder / "found").read_bytes() == children[number].path.read_bytes()


@settings(max_examples=60)
@given(right_nodes(), st.data())
def test_what_no_child_explains_is_found_chunk_by_chunk(made: Made, data: st.DataObject) -> None:
    """Compared with the definition: a lane is explained if some int32, or some sum of that weight, makes it up."""
    number = data.draw(st.integers(0, len(made.weights) - 1))
    weight = made.weights[number]
    with TemporaryDirectory() as name:
        folder = Path(name)
        children = made.write(folder)
        values = [
            data.draw(st.just(x) | st.integers(LOWEST, HIGHEST) | st.integers(max(LOWEST, x - weight), x))
            for x in made.node
        ]
        node = written_sum(folder / "node", values)
        rests = [
            x - y + (1 if made.of_nodes else weight) * made.children[number][lane]
            for lane, (x, y) in enumerate(zip(values, made.node, strict=True))
        ]
        wrong = {
            lane // CHUNK
            for lane, rest in enumerate(rests)
            if not weight * INT32_MIN <= rest <= weight * INT32_MAX or (not made.of_nodes and rest % weight)
        }
        present = children[:number] + children[number + 1 :]
        found = unexplained_chunks(node, present, [weight], made.d, CHUNK, of_nodes=made.of_nodes)
        assert found == sorted(wrong)
        if wrong:
            with pytest.raises(AggregationError, match="can't be explained by any missing child of weight"):
                recover_child(node, present, weight, folder / "found", made.d, of_nodes=made.of_nodes)
            assert not (folder / "found").exists()
        else:
            recover_child(node, present, weight, folder / "found", made.d, of_nodes=made.of_nodes)
            content = np.fromfile(folder / "found", SUM_DTYPE if made.of_nodes else VECTOR_DTYPE)
            assert content.tolist() == [rest if made.of_nodes else rest // weight for rest in rests]


@given(st.integers(2, 1000), st.integers(1, 1000), st.integers(1, 1000), st.integers(-1000, 1000))
def test_several_missing_updates_leave_a_multiple_of_what_divides_their_weights(
    divisor: int, one: int, two: int, rest: int
) -> None:
    assume(abs(rest) < divisor * (one + two) * 2**31)
    with TemporaryDirectory() as name:
        node = written_sum(Path(name, "node"), [0] * 12 + [rest])
        found = unexplained_chunks(node, [], [divisor * one, divisor * two], 13, CHUNK, of_nodes=False)
        assert (found == []) == (rest % (divisor * np.gcd(one, two)) == 0)
        assert unexplained_chunks(node, [], [divisor * one, divisor * two], 13, CHUNK, of_nodes=True) == []


def test_a_chunk_across_blocks_is_found_once(tmp_path: Path) -> None:
    d, chunk = BLOCK_PARAMETERS + 100, 24  # which does not divide a block
    values = np.zeros(d, np.int64)
    values[BLOCK_PARAMETERS - 30 : BLOCK_PARAMETERS + 30] = 1
    node = written_sum(tmp_path / "node", values.tolist())
    expected = sorted({lane // chunk for lane in np.flatnonzero(values).tolist()})
    assert BLOCK_PARAMETERS % chunk
    assert unexplained_chunks(node, [], [2], d, chunk, of_nodes=False) == expected
    with pytest.raises(AggregationError, match=f"weight 2: look at parameter {BLOCK_PARAMETERS - 30}"):
        recover_child(node, [], 2, tmp_path / "found", d, of_nodes=False)


def test_what_int64_does_not_hold_is_refused(tmp_path: Path) -> None:
    node = written_sum(tmp_path / "node", [0] * 20)
    with pytest.raises(AggregationError, match="weights add up to 4294967296"):
        unexplained_chunks(node, [], [2**31, 2**31], 20, CHUNK, of_nodes=False)


def test_a_file_of_another_length_is_named(tmp_path: Path) -> None:
    node = written_sum(tmp_path / "node", [0] * 19)
    with pytest.raises(VectorError, match="node has 152 bytes, expected 160"):
        wrong_node_chunk(node, [], 20, CHUNK, of_nodes=False)
    with pytest.raises(VectorError, match="node has 152 bytes, expected 160"):
        wrong_node_chunk(written_sum(tmp_path / "right", [0] * 20), [Summand(node, 1)], 20, CHUNK, of_nodes=True)
