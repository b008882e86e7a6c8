from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from galaxy_fl.aggregation import RULES, Rule, aggregate_files, has_moments
from galaxy_fl.exceptions import AggregationError, VectorError
from galaxy_fl.vectors import BLOCK_PARAMETERS, INT32_MAX, INT32_MIN, Vector, read_vector, write_vector

WORD = (1).to_bytes(32, "big")
WEIGHTS = [5, 1, 2**24 - 1, 77]

every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())


def word_of(rule: Rule) -> bytes:
    """A word that the rule takes."""
    return rule.word({name: o.default for name, o in rule.options.items()}) if has_moments(rule) else WORD


def written(folder: Path, d: int, clients: int = len(WEIGHTS), lanes: int = 1) -> tuple[list[Vector], list[Path]]:
    """Write a model and updates; returns vectors and files, the model first."""
    random = np.random.default_rng(d)
    lengths = [lanes * d] + [d] * clients
    vectors = [random.integers(INT32_MIN, INT32_MAX, length, np.int32, endpoint=True) for length in lengths]
    paths = [folder / f"vector-{index}" for index in range(clients + 1)]
    for path, vector in zip(paths, vectors, strict=True):
        write_vector(path, vector)
    return vectors, paths


def aggregate(rule: Rule, paths: Sequence[Path], destination: Path, d: int, workers: int | None = None) -> None:
    aggregate_files(rule, word_of(rule), paths[0], paths[1:], WEIGHTS, destination, d, workers)


@every_rule
@pytest.mark.parametrize("workers", [None, 1, 2, 3])
@pytest.mark.parametrize("d", [1, BLOCK_PARAMETERS - 1, BLOCK_PARAMETERS, BLOCK_PARAMETERS * 2 + 1])
def test_files_give_what_the_rule_gives_on_whole_vectors(
    rule: Rule, workers: int | None, d: int, tmp_path: Path
) -> None:
    vectors, paths = written(tmp_path, d, lanes=rule.lanes)
    aggregate(rule, paths, tmp_path / "next", d, workers)
    expected = rule.aggregate(word_of(rule), vectors[0], vectors[1:], WEIGHTS)
    assert np.array_equal(read_vector(tmp_path / "next", rule.lanes * d), expected)
    assert all(np.array_equal(read_vector(path, len(v)), v) for path, v in zip(paths, vectors, strict=True))


def test_a_longer_file_at_the_destination_is_replaced(tmp_path: Path) -> None:
    vectors, paths = written(tmp_path, 10)
    (tmp_path / "next").write_bytes(bytes(1000))
    aggregate(RULES["relay"], paths, tmp_path / "next", 10)
    assert np.array_equal(read_vector(tmp_path / "next", 10), vectors[0])


@every_rule
@pytest.mark.parametrize("length", [0, 39, 41, 44])
@pytest.mark.parametrize("which", [0, 2])
def test_a_file_of_another_length_is_named_and_nothing_is_written(
    rule: Rule, length: int, which: int, tmp_path: Path
) -> None:
    _, paths = written(tmp_path, 10, lanes=rule.lanes)
    paths[which].write_bytes(bytes(length))
    expected = 40 if which else 40 * rule.lanes
    with pytest.raises(VectorError, match=rf"vector-{which} has {length} bytes, expected {expected} "):
        aggregate(rule, paths, tmp_path / "next", 10)
    assert not (tmp_path / "next").exists()


@pytest.mark.parametrize("which", [0, 3])
def test_no_file_that_is_read_is_overwritten(which: int, tmp_path: Path) -> None:
    vectors, paths = written(tmp_path, 10)
    (tmp_path / "link").symlink_to(paths[which])
    with pytest.raises(VectorError, match="can't be the destination"):
        aggregate(RULES["weighted_mean"], paths, tmp_path / "link", 10)
    assert np.array_equal(read_vector(paths[which], 10), vectors[which])


def test_each_update_has_a_weight(tmp_path: Path) -> None:
    _, paths = written(tmp_path, 10)
    with pytest.raises(AggregationError, match="3 updates and 4 weights"):
        aggregate(RULES["relay"], paths[:-1], tmp_path / "next", 10)


def test_an_error_in_a_worker_is_raised(tmp_path: Path) -> None:
    _, paths = written(tmp_path, 10)
    with pytest.raises(AggregationError, match="trims 2 updates"):
        aggregate_files(
            RULES["trimmed_mean"],
            (2).to_bytes(32, "big"),
            paths[0],
            paths[1:],
            WEIGHTS,
            tmp_path / "next",
            10,
        )


def test_an_update_that_is_missing_is_an_error(tmp_path: Path) -> None:
    _, paths = written(tmp_path, 10)
    paths[1].unlink()
    with pytest.raises(FileNotFoundError, match="vector-1"):
        aggregate(RULES["weighted_mean"], paths, tmp_path / "next", 10)
