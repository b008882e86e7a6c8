"""Results that threads share: each computed once, and none remembered that is not to be."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from galaxy_chain.verify.memory import Memory


def test_one_computes_and_the_others_wait():
    memory, begun, let = Memory[str, int](most=10), threading.Event(), threading.Event()
    calls = []

    def compute() -> int:
        calls.append(1)
        begun.set()
        assert let.wait(60)
        return len(calls)

    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(memory.get, "a", compute)
        assert begun.wait(60)
        others = [threads.submit(memory.get, "a", compute) for _ in range(7)]
        assert memory.get("b", lambda: 7) == 7  # another key waits for nobody
        let.set()
        assert [each.result() for each in (first, *others)] == [1] * 8
    assert memory.get("a", lambda: 1 // 0) == 1


def test_what_fails_or_is_not_to_be_kept_is_computed_again():
    memory = Memory[str, int](most=10)
    with pytest.raises(ZeroDivisionError):
        memory.get("a", lambda: 1 // 0)
    assert memory.get("a", lambda: 1, lambda value: value > 1) == 1
    assert memory.get("a", lambda: 2, lambda value: value > 1) == 2
    assert memory.get("a", lambda: 3, lambda value: value > 1) == 2


def test_it_does_not_grow_for_ever():
    memory = Memory[int, int](most=3)
    for number in range(4):
        memory.get(number, lambda number=number: number)
    assert memory.get(3, lambda: -1) == 3
    assert memory.get(0, lambda: -1) == -1
