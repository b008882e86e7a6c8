from __future__ import annotations

import multiprocessing
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import pytest

from galaxy_fl.aggregation import node_cache
from galaxy_fl.aggregation.node_cache import NodeCache, bounds_key, finish_key, flat_key, node_key
from galaxy_fl.aggregation.sum_tree import Node
from galaxy_fl.exceptions import AggregationError


def key(number: int) -> bytes:
    return sha256(f"key {number}".encode()).digest()


A, B, C = key(1), key(2), key(3)


def test_every_part_of_a_key_counts() -> None:
    keys = [
        node_key(100, 64, 1, A, [(B, 5, False), (C, 6, True)]),
        node_key(101, 64, 1, A, [(B, 5, False), (C, 6, True)]),
        node_key(100, 32, 1, A, [(B, 5, False), (C, 6, True)]),
        node_key(100, 64, 2, A, [(B, 5, False), (C, 6, True)]),
        node_key(100, 64, 1, B, [(B, 5, False), (C, 6, True)]),
        node_key(100, 64, 1, A, [(C, 6, True), (B, 5, False)]),
        node_key(100, 64, 1, A, [(B, 5, False), (C, 6, False)]),
        node_key(100, 64, 1, A, [(B, 5, False), (C, 7, True)]),
        node_key(100, 64, 1, A, [(B, 5, False)]),
        bounds_key(100, 64, Node(A, 5)),
        bounds_key(100, 64, Node(A, 6)),
        bounds_key(100, 64, Node(B, 5)),
        bounds_key(100, 32, Node(A, 5)),
        bounds_key(101, 64, Node(A, 5)),
        finish_key(100, 64, "weighted_mean", bytes(32), A, Node(B, 5), C),
        finish_key(101, 64, "weighted_mean", bytes(32), A, Node(B, 5), C),
        finish_key(100, 32, "weighted_mean", bytes(32), A, Node(B, 5), C),
        finish_key(100, 64, "another", bytes(32), A, Node(B, 5), C),
        finish_key(100, 64, "weighted_mean", A, A, Node(B, 5), C),
        finish_key(100, 64, "weighted_mean", bytes(32), B, Node(B, 5), C),
        finish_key(100, 64, "weighted_mean", bytes(32), A, Node(A, 5), C),
        finish_key(100, 64, "weighted_mean", bytes(32), A, Node(B, 6), C),
        finish_key(100, 64, "weighted_mean", bytes(32), A, Node(B, 5), B),
        flat_key(100, 64, "weighted_mean", bytes(32), A, [(B, 5, False), (C, 6, True)], C),
        flat_key(101, 64, "weighted_mean", bytes(32), A, [(B, 5, False), (C, 6, True)], C),
        flat_key(100, 32, "weighted_mean", bytes(32), A, [(B, 5, False), (C, 6, True)], C),
        flat_key(100, 64, "another", bytes(32), A, [(B, 5, False), (C, 6, True)], C),
        flat_key(100, 64, "weighted_mean", A, A, [(B, 5, False), (C, 6, True)], C),
        flat_key(100, 64, "weighted_mean", bytes(32), B, [(B, 5, False), (C, 6, True)], C),
        flat_key(100, 64, "weighted_mean", bytes(32), A, [(B, 5, False), (C, 6, False)], C),
        flat_key(100, 64, "weighted_mean", bytes(32), A, [(B, 4, False), (C, 6, True)], C),
        flat_key(100, 64, "weighted_mean", bytes(32), A, [(C, 6, True), (B, 5, False)], C),
        flat_key(100, 64, "weighted_mean", bytes(32), A, [(B, 5, False)], C),
        flat_key(100, 64, "weighted_mean", bytes(32), A, [(B, 5, False), (C, 6, True)], A),
    ]
    assert all(one != other for one, other in combinations(keys, 2))
    assert all(len(each) == 32 for each in keys)
    assert keys[0] == node_key(100, 64, 1, A, [(B, 5, False), (C, 6, True)])


@pytest.mark.parametrize("length", [0, 31, 33])
def test_what_a_key_can_not_bind_is_an_error(length: int) -> None:
    with pytest.raises(AggregationError, match=f"has {length} bytes, expected 32"):
        node_key(100, 64, 1, bytes(length), [])
    with pytest.raises(AggregationError, match=f"has {length} bytes, expected 32"):
        node_key(100, 64, 1, A, [(bytes(length), 1, False)])
    with pytest.raises(AggregationError, match="-1 is not a number"):
        node_key(100, 64, 1, A, [(A, -1, False)])


def test_what_was_added_is_known_now_and_after_a_start(tmp_path: Path) -> None:
    file = tmp_path / "some" / "folder" / "nodes"
    cache, other = NodeCache(file), NodeCache(file)
    assert A not in cache
    cache.add(A)
    cache.add(A)
    assert A in cache
    assert A in other
    assert A in NodeCache(file)
    assert B not in NodeCache(file)
    assert file.read_text().split() == [A.hex()]
    assert file.stat().st_mode & 0o777 == 0o600


def test_one_without_a_file_remembers_for_itself() -> None:
    cache = NodeCache(None)
    cache.add(A)
    assert A in cache
    assert A not in NodeCache(None)


@pytest.mark.parametrize("cut", range(1, 66))
def test_a_line_that_a_crash_has_cut_costs_that_key_alone(cut: int, tmp_path: Path) -> None:
    file = tmp_path / "nodes"
    NodeCache(file).add(A)
    NodeCache(file).add(B)
    file.write_bytes(file.read_bytes()[:-cut])
    cache = NodeCache(file)
    assert A in cache
    assert B not in cache
    cache.add(C)
    for each in (cache, NodeCache(file)):
        assert A in each
        assert C in each


def test_garbage_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "nodes"
    file.write_bytes(b"\xff\x00 what\n" + A.hex().encode() + b"\n" + B.hex().encode()[:-1] + b"g\n")
    cache = NodeCache(file)
    assert A in cache
    assert B not in cache


def test_a_file_that_has_grown_too_large_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "nodes"
    first = NodeCache(file)
    for number in range(10):
        first.add(key(number))
    monkeypatch.setattr(node_cache, "LARGEST_FILE", 100)
    second = NodeCache(file)
    assert A not in second
    second.add(C)
    assert key(99) not in first
    second.add(key(99))
    assert key(99) in first


def _add(file: Path, start: int) -> None:
    cache = NodeCache(file)
    for number in range(start, start + 200):
        cache.add(key(number))


def test_processes_add_at_the_same_time(tmp_path: Path) -> None:
    file = tmp_path / "nodes"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add, args=(file, 150 * index)) for index in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    cache = NodeCache(file)
    assert all(key(number) in cache for number in range(500))
    assert key(500) not in cache


def test_without_a_file_no_more_is_remembered_than_a_process_can_bear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_cache, "MOST_KEYS", 3)
    cache = NodeCache(None)
    for number in range(4):
        cache.add(key(number))
    assert [key(number) in cache for number in range(4)] == [False, False, False, True]
