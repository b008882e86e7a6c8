from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_fl.aggregation import MAX_WEIGHT, RULES, WeightedMean, aggregate_files, sum_files
from galaxy_fl.aggregation.aggregate import OPEN_AT_ONCE
from galaxy_fl.aggregation.sum_tree import Node, levels, locate, wrong_weight
from galaxy_fl.aggregation.summing import Summand, finish_file, node_file, write_sum
from galaxy_fl.exceptions import AggregationError, VectorError
from galaxy_fl.vectors import (
    BLOCK_PARAMETERS,
    INT32_MAX,
    INT32_MIN,
    Vector,
    read_sums,
    read_vector,
    tree_root,
    write_vector,
)

WORD = bytes(32)
RULE = WeightedMean()
CHUNK = 8


def written(folder: Path, d: int, clients: int, seed: int = 0) -> tuple[list[Vector], list[Path]]:
    """Write a model and updates, of small and of extreme values; returns vectors and files, the model first."""
    random = np.random.default_rng([d, clients, seed])
    vectors = [random.integers(INT32_MIN, INT32_MAX, d, np.int32, endpoint=True) for _ in range(clients + 1)]
    for vector in vectors[1:]:
        vector[random.random(d) < 0.2] = random.choice([INT32_MIN, INT32_MAX])
    paths = [folder / f"vector-{index}" for index in range(clients + 1)]
    for path, vector in zip(paths, vectors, strict=True):
        write_vector(path, vector)
    return vectors, paths


def aggregated(
    paths: list[Path],
    weights: list[int],
    excluded: set[int],
    folder: Path,
    d: int,
    fan_in: int,
    workers: int | None = None,
) -> tuple[Node, ...]:
    updates = [None if number in excluded else path for number, path in enumerate(paths[1:])]
    return sum_files(
        RULE,
        WORD,
        paths[0],
        updates,
        weights,
        folder / "next",
        d,
        fan_in=fan_in,
        chunk_parameters=CHUNK,
        folder=folder,
        workers=workers,
    )


@settings(max_examples=60)
@given(
    d=st.integers(CHUNK + 1, 40),
    entries=st.integers(1, 40),
    fan_in=st.integers(2, 64) | st.integers(2, 5),
    data=st.data(),
)
def test_nodes_and_model_are_what_integers_make(d: int, entries: int, fan_in: int, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, MAX_WEIGHT), min_size=entries, max_size=entries))
    excluded = data.draw(st.sets(st.integers(0, entries - 1), max_size=entries - 1))
    with TemporaryDirectory() as name:
        folder = Path(name)
        vectors, paths = written(folder, d, entries)
        nodes = aggregated(paths, weights, excluded, folder, d, fan_in)
        assert len(nodes) == sum(levels(entries, fan_in))

        counted = [0 if number in excluded else weight for number, weight in enumerate(weights)]
        assert wrong_weight(nodes, counted, fan_in) is None
        sums = [[weight * int(x) for x in update] for weight, update in zip(counted, vectors[1:], strict=True)]
        right: list[list[int]] = []
        for number, node in enumerate(nodes, 1):
            place = locate(entries, fan_in, number)
            below = sums if place.level == 1 else right
            right.append([sum(lane) for lane in zip(*(below[child] for child in place.children), strict=True)])
            theirs = read_sums(node_file(folder, number), d)
            assert theirs.tolist() == right[-1]
            assert tree_root(theirs, CHUNK) == node.root

        total, weight = [sum(lane) for lane in zip(*sums, strict=True)], sum(counted)
        moved = [int(old) + (lane + weight // 2) // weight for old, lane in zip(vectors[0], total, strict=True)]
        assert read_vector(folder / "next", d).tolist() == [max(INT32_MIN, min(INT32_MAX, x)) for x in moved]


@pytest.mark.parametrize("made", [{1}, {2, 4}, {1, 2, 3, 4, 5, 6}, {6}])
def test_nodes_that_were_summed_before_are_not_written_again(made: set[int], tmp_path: Path) -> None:
    _, paths = written(tmp_path, 40, 6)
    expected = aggregated(paths, [1, 2, 3, 4, 5, 6], {3}, tmp_path, 40, 2)
    model, again = (tmp_path / "next").read_bytes(), tmp_path / "again"
    again.mkdir()
    before = {number: (node_file(tmp_path, number), expected[number - 1].root) for number in made}
    updates = [None if number == 3 else path for number, path in enumerate(paths[1:])]
    nodes = sum_files(
        RULE,
        WORD,
        paths[0],
        updates,
        [1, 2, 3, 4, 5, 6],
        again / "next",
        40,
        fan_in=2,
        chunk_parameters=CHUNK,
        folder=again,
        made=before,
    )
    assert nodes == expected
    assert (again / "next").read_bytes() == model
    assert {path.name for path in again.iterdir()} == {"next"} | {f"node-{n}" for n in range(1, 7) if n not in made}


@pytest.mark.parametrize("d", [BLOCK_PARAMETERS - 1, BLOCK_PARAMETERS, BLOCK_PARAMETERS * 2 + 1])
@pytest.mark.parametrize(("entries", "fan_in"), [(5, 2), (5, 4), (5, 5), (5, 64)])
@pytest.mark.parametrize("workers", [None, 1, 3])
def test_a_tree_of_any_fan_in_gives_the_flat_model(
    d: int, entries: int, fan_in: int, workers: int | None, tmp_path: Path
) -> None:
    vectors, paths = written(tmp_path, d, entries)
    weights, excluded = [7, MAX_WEIGHT, 1, 12_345, 99], {3}
    nodes = aggregated(paths, weights, excluded, tmp_path, d, fan_in, workers)
    included = [number for number in range(entries) if number not in excluded]
    updates, counted = [vectors[1 + number] for number in included], [weights[number] for number in included]
    expected = RULE.aggregate(WORD, vectors[0], updates, counted)
    assert np.array_equal(read_vector(tmp_path / "next", d), expected)
    if nodes:
        total = sum(update.astype(np.int64) * weight for update, weight in zip(updates, counted, strict=True))
        assert nodes[-1] == Node(tree_root(total, CHUNK), sum(counted))
    aggregate_files(RULE, WORD, paths[0], [paths[1 + n] for n in included], counted, tmp_path / "flat", d, workers)
    assert (tmp_path / "flat").read_bytes() == (tmp_path / "next").read_bytes()


def test_a_group_of_excluded_entries_alone_is_zero(tmp_path: Path) -> None:
    _, paths = written(tmp_path, 20, 5)
    nodes = aggregated(paths, [1, 2, 3, 4, 5], {2, 3}, tmp_path, 20, 2)
    assert nodes[1] == Node(tree_root(np.zeros(20, np.int64), CHUNK), 0)
    assert [node.weight for node in nodes] == [3, 0, 5, 3, 5, 8]


@pytest.mark.parametrize("count", [OPEN_AT_ONCE, OPEN_AT_ONCE + 1, 3 * OPEN_AT_ONCE])
def test_more_updates_than_are_open_at_once_give_the_same_model(count: int, tmp_path: Path) -> None:
    vectors, paths = written(tmp_path, 50, count)
    weights = list(range(1, count + 1))
    aggregate_files(RULE, WORD, paths[0], paths[1:], weights, tmp_path / "next", 50)
    expected = RULE.aggregate(WORD, vectors[0], vectors[1:], weights)
    assert np.array_equal(read_vector(tmp_path / "next", 50), expected)
    assert sorted(path.name for path in tmp_path.iterdir() if "vector" not in path.name) == ["next"]


_LIMITED = """
import resource, sys
from pathlib import Path
from galaxy_fl.aggregation import WeightedMean, aggregate_files, sum_files
folder, count, d = Path(sys.argv[1]), int(sys.argv[2]), 1000
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
files = [folder / f"vector-{number}" for number in range(count + 1)]
weights = [1] * count
sum_files(WeightedMean(), bytes(32), files[0], files[1:], weights, folder / "tree", d, fan_in=16, chunk_parameters=8,
          folder=folder, workers=2)
"""


def test_no_more_files_are_open_than_a_node_has_children(tmp_path: Path) -> None:
    vectors, _ = written(tmp_path, 1000, 300)
    subprocess.run([sys.executable, "-c", _LIMITED, str(tmp_path), "300"], check=True)
    expected = RULE.aggregate(WORD, vectors[0], vectors[1:], [1] * 300)
    assert np.array_equal(read_vector(tmp_path / "tree", 1000), expected)


_MEASURED = """
import re, sys
from pathlib import Path
from galaxy_fl.aggregation import WeightedMean, sum_files
folder, count, d = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
model, update = folder / "model", folder / "update"
sum_files(WeightedMean(), bytes(32), model, [update] * count, [1] * count, folder / "next", d, fan_in=16,
          chunk_parameters=64, folder=folder, workers=2)
# Not getrusage: what it gives a new process begins with the peak of its parent.
print(1024 * int(re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[0]))
"""


def test_memory_does_not_grow_with_the_clients(tmp_path: Path) -> None:
    d = 200_000
    for name in ("model", "update"):
        write_vector(tmp_path / name, np.ones(d, np.int32))

    def peak(count: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, str(tmp_path), str(count), str(d)], check=True, stdout=subprocess.PIPE
        )
        return int(done.stdout)

    # Fifteen times as many clients, whose updates would be 180 MB: less than the vectors of ten of them.
    assert peak(240) - peak(16) < 10 * 4 * d
    assert np.array_equal(read_vector(tmp_path / "next", d), np.full(d, 2))


@pytest.mark.parametrize("which", [0, 2, 7])
@pytest.mark.parametrize("length", [0, 79, 81])
def test_a_file_of_another_length_is_named_before_anything_is_written(which: int, length: int, tmp_path: Path) -> None:
    _, paths = written(tmp_path, 20, 7)
    paths[which].write_bytes(bytes(length))
    with pytest.raises(VectorError, match=rf"vector-{which} has {length} bytes, expected 80 "):
        aggregated(paths, [1] * 7, set(), tmp_path, 20, 2)
    assert all(path.name.startswith("vector") for path in tmp_path.iterdir())


def test_no_file_that_is_read_is_overwritten(tmp_path: Path) -> None:
    vectors, paths = written(tmp_path, 20, 7)
    (tmp_path / "next").symlink_to(paths[4])
    with pytest.raises(VectorError, match="can't be the destination"):
        aggregated(paths, [1] * 7, set(), tmp_path, 20, 2)
    assert np.array_equal(read_vector(paths[4], 20), vectors[4])


def test_what_can_not_be_aggregated_is_an_error(tmp_path: Path) -> None:
    _, paths = written(tmp_path, 20, 7)
    with pytest.raises(AggregationError, match="got 0 updates, it takes 1 to 4096"):
        aggregated(paths, [1] * 7, set(range(7)), tmp_path, 20, 2)
    with pytest.raises(AggregationError, match="7 entries and 6 weights"):
        aggregated(paths, [1] * 6, set(), tmp_path, 20, 2)
    with pytest.raises(AggregationError, match="weight 1 is 0"):
        aggregated(paths, [1, 0] + [1] * 5, set(), tmp_path, 20, 2)
    with pytest.raises(AggregationError, match="fan_in is 1, expected 2 to 64"):
        aggregated(paths, [1] * 7, set(), tmp_path, 20, 1)
    with pytest.raises(AggregationError, match="fan_in is 65, expected 2 to 64"):
        aggregated(paths, [1] * 7, set(), tmp_path, 20, 65)
    paths[3].unlink()
    with pytest.raises(FileNotFoundError, match="vector-3"):
        aggregated(paths, [1] * 7, set(), tmp_path, 20, 2)


def test_a_sum_that_int64_does_not_hold_is_refused(tmp_path: Path) -> None:
    _, paths = written(tmp_path, 20, 1)
    with pytest.raises(AggregationError, match="weights add up to 4294967296"):
        write_sum([Summand(paths[1], 2**31)] * 2, tmp_path / "sum", 20, of_nodes=False)


def test_a_sum_and_a_vector_are_told_apart_by_their_lengths(tmp_path: Path) -> None:
    _, paths = written(tmp_path, 20, 1)
    with pytest.raises(VectorError, match="vector-1 has 80 bytes, expected 160 "):
        write_sum([Summand(paths[1], 1)], tmp_path / "sum", 20, of_nodes=True)
    with pytest.raises(VectorError, match="vector-1 has 80 bytes, expected 160 "):
        finish_file(RULE, WORD, paths[0], paths[1], 1, tmp_path / "next", 20)
    with pytest.raises(VectorError, match="vector-1 has 80 bytes, expected 160 .* not a sum"):
        read_sums(paths[1], 20)


def test_rules_that_are_no_sums_have_no_tree() -> None:
    assert [name for name, rule in RULES.items() if hasattr(rule, "finish")] == ["weighted_mean", "fedavgm", "fedadam"]
