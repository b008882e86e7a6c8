"""One deadline for the content of all."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from galaxy_fl.content import gathering
from galaxy_fl.content.gathering import for_each, gather
from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError
from tests.galaxy_fl.test_patience import StandingClock


def test_any_number_of_silent_ones_take_one_deadline_together():
    time = StandingClock()
    tries = Counter()

    def get(one: int) -> Path:
        tries[one] += 1
        if one % 2:
            raise ContentMissingError("silent")
        return Path(str(one))

    found, failed = gather(range(100), get, 1.25, time.clock)
    assert found == {one: Path(str(one)) for one in range(0, 100, 2)}
    assert set(failed) == set(range(1, 100, 2))
    assert set(tries.values()) == {1, 11}
    assert time.now == 1.25


def test_what_comes_late_is_found_and_what_is_altered_is_not_waited_for():
    time = StandingClock()
    tries = Counter()

    def get(one: str) -> Path:
        tries[one] += 1
        if one == "altered":
            raise ContentAlteredError("another")
        if one == "late" and tries[one] < 5:
            raise ContentError("not yet")
        return Path(one)

    assert gather(["late", "altered", "early"], get, 9.0, time.clock)[0] == {
        "late": Path("late"),
        "early": Path("early"),
    }
    assert tries == {"late": 5, "altered": 1, "early": 1}
    assert time.now < 9


def test_each_is_tried_once_where_there_is_no_time():
    assert gather(["a"], Path, 0)[0] == {"a": Path("a")}
    assert gather([], Path, 0) == ({}, {})


def test_an_error_that_is_no_contents_is_raised():
    def get(one: str) -> Path:
        raise MemoryError(one)

    with pytest.raises(MemoryError, match="a"):
        gather(["a", "b"], get, 5)


def test_what_is_here_is_got_as_all_else_and_looked_for_if_it_has_gone():
    time = StandingClock()
    tries = Counter()

    def get(one: str) -> Path:
        tries[one] += 1
        if one.startswith("gone") and tries[one] < 3:
            raise ContentMissingError("it was here")
        return Path(one)

    wanted = ["far", "here", "gone, from here", "gone, from afar"]
    found, failed = gather(wanted, get, 9.0, time.clock, is_here=lambda one: "here" in one)
    assert found == {one: Path(one) for one in wanted}
    assert not failed
    assert tries == {"far": 1, "here": 1, "gone, from here": 3, "gone, from afar": 3}


def test_there_are_no_more_threads_than_processors_for_what_is_here(monkeypatch):
    monkeypatch.setattr(gathering.os, "sched_getaffinity", lambda process: {0, 1})
    lock, at_once, most = threading.Lock(), Counter(), Counter()

    def get(one: tuple[str, int]) -> Path:
        where, number = one
        with lock:
            at_once[where] += 1
            most[where] = max(most[where], at_once[where])
        if where == "far":
            together.wait(60)  # all of them at the same time
        with lock:
            at_once[where] -= 1
        return Path(where, str(number))

    together = threading.Barrier(gathering.AT_ONCE)
    wanted = [(where, number) for where in ("here", "far") for number in range(gathering.AT_ONCE)]
    found, _ = gather(wanted, get, 60.0, is_here=lambda one: one[0] == "here")
    assert set(found) == set(wanted)
    assert most["far"] == gathering.AT_ONCE
    assert most["here"] <= 2


def test_what_each_is_done_with_many_at_a_time_raises_what_one_raised():
    done = set()

    def do(one: int) -> None:
        if one == 3:
            raise ContentMissingError("three")
        done.add(one)

    for_each(do, range(3))
    assert done == {0, 1, 2}
    for_each(do, [])
    for_each(do, [4])
    with pytest.raises(ContentMissingError, match="three"):
        for_each(do, [3])
    with pytest.raises(ContentMissingError, match="three"):
        for_each(do, range(5))
