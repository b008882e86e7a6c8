"""Turns of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from galaxy_fl import floor as floors
from galaxy_fl.floor import Floor

LONG = 60.0
"""Seconds that nothing here takes."""


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is out of patience, however busy the machine is."""
    monkeypatch.setattr(floors, "PATIENCE", LONG)


class Counted:
    """Counts those who work at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = 0

    def work(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        threading.Event().wait(0.001)
        with self._lock:
            self.now -= 1


def together(threads: ThreadPoolExecutor, count: int, work: Callable[[], None]) -> None:
    all_here = threading.Barrier(count)

    def run() -> None:
        all_here.wait(LONG)
        work()

    for each in [threads.submit(run) for _ in range(count)]:
        each.result(LONG)


@pytest.mark.usefixtures("patient")
def test_one_works_at_a_time_and_all_who_wait_do_so_at_once(threads: ThreadPoolExecutor) -> None:
    floor, counted, all_wait = Floor(), Counted(), threading.Barrier(16)

    def work() -> None:
        with floor.among():
            for _ in range(5):
                counted.work()
                with floor.waiting():
                    all_wait.wait(LONG)

    together(threads, 16, work)
    assert counted.most == 1


def test_others_do_as_ever(threads: ThreadPoolExecutor) -> None:
    floor, both = Floor(), threading.Barrier(2)

    def other() -> None:
        with floor.waiting():
            floor.leave()
        both.wait(LONG)

    with floor.among():
        running = threads.submit(other)
        both.wait(LONG)
        running.result(LONG)


@pytest.mark.usefixtures("patient")
def test_whoever_has_come_first_is_first() -> None:
    floor, order, threads = Floor(), list[int](), list[threading.Thread]()

    def take(number: int) -> None:
        with floor.among():
            order.append(number)

    with floor.among():
        for number in range(8):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            while len(floor._turns) <= number:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join(LONG)
    assert order == list(range(8))


def test_whoever_has_the_floor_may_wait_for_one_who_waits_for_it(threads: ThreadPoolExecutor) -> None:
    floor, done = Floor(), threading.Event()

    def bring_about() -> None:
        with floor.among():
            done.set()

    with floor.among():
        running = [threads.submit(bring_about) for _ in range(3)]
        assert done.wait(LONG)
    for each in running:
        each.result(LONG)
    assert floor._running is None
    assert not floor._turns


def test_one_who_keeps_the_floor_delays_the_others_once(threads: ThreadPoolExecutor, monkeypatch) -> None:
    """Whoever was forgotten, or a machine that is busy, does not have all of them work at the same time."""
    monkeypatch.setattr(floors, "PATIENCE", 0.2)
    floor, counted = Floor(), Counted()

    def work() -> None:
        with floor.among():
            monkeypatch.setattr(floors, "PATIENCE", LONG)  # whoever is out of patience is first
            counted.work()

    with floor.among():
        together(threads, 16, work)
        assert counted.most == 1
        floor.leave()
        together(threads, 16, work)
    assert counted.most == 1
    assert floor._running is None


def test_one_who_has_lost_the_floor_before_it_has_noticed_goes_on() -> None:
    """On a busy machine more time may pass between being called and waking than anybody has patience."""
    floor, slow = Floor(), floors._Turn()
    floor._turns.append(slow)
    floor._run(floor._turns.popleft())
    with floor.among():  # taken from it
        assert slow.wait(floor._patience_of(slow))


def test_one_who_is_interrupted_while_it_waits_keeps_nobody_waiting(threads: ThreadPoolExecutor) -> None:
    floor = Floor()
    with floor.among():
        floor._turns.append(floors._Turn())  # of one that waits no more

    def work() -> None:
        with floor.among():
            pass

    together(threads, 4, work)
    assert floor._running is None


@pytest.mark.usefixtures("patient")
def test_waiting_within_waiting_and_leaving_twice(threads: ThreadPoolExecutor) -> None:
    floor, counted = Floor(), Counted()

    def work() -> None:
        with floor.among():
            floor.leave()
            floor.leave()
            with floor.waiting():
                with floor.waiting():
                    pass
                counted.work()
            counted.work()

    together(threads, 8, work)
    assert counted.most == 1
    assert floor._running is None


@pytest.mark.usefixtures("patient")
def test_an_error_lets_others_have_it(threads: ThreadPoolExecutor) -> None:
    floor = Floor()

    def fail() -> None:
        with floor.among():
            raise RuntimeError("by design")

    for each in [threads.submit(fail) for _ in range(4)]:
        with pytest.raises(RuntimeError, match="by design"):
            each.result(LONG)
    assert floor._running is None
