"""Work by key: at most once at a time, and an outcome for all who had asked before it began."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from galaxy_fl.joint_work import JointWork


class Slow:
    """Work that lasts until it is let go, and fails at first."""

    def __init__(self, failures: int) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self.times, self.at_once, self._failures, self._lock = 0, 0, failures, threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.times += 1
            self.at_once += 1
            number = self.times
            assert self.at_once == 1
        self.began.set()
        assert self.go.wait(600)
        with self._lock:
            self.at_once -= 1
        if number <= self._failures:
            raise OSError(f"time {number}")
        return number


def waiting(work: JointWork[str, int], count: int) -> None:
    """Wait until so many ask."""
    while work._turns["a"].asking < count:
        threading.Event().wait(0.01)


@pytest.mark.parametrize(("failures", "expected"), [(2, OSError), (1, 2), (0, 2)])
def test_whoever_waits_gets_what_began_after_it_had_asked(failures: int, expected: object) -> None:
    work, slow = JointWork[str, int](), Slow(failures)
    with ThreadPoolExecutor(20) as threads:
        first = threads.submit(work.do, "a", slow)
        assert slow.began.wait(600)
        others = [threads.submit(work.do, "a", slow) for _ in range(19)]
        waiting(work, 20)
        slow.go.set()
        assert slow.times <= 2
        assert (first.exception() is None) == (failures == 0)
        ends = [each.exception() or each.result() for each in others]
    assert slow.times == 2
    assert all(isinstance(end, OSError) if expected is OSError else end == expected for end in ends)
    assert work._turns == {}


def test_who_asks_later_has_it_done_anew() -> None:
    work, slow = JointWork[str, int](), Slow(1)
    slow.go.set()
    with pytest.raises(OSError, match="time 1"):
        work.do("a", slow)
    assert [work.do("a", slow), work.do("a", slow)] == [2, 3]


def test_an_interrupt_is_nobody_elses() -> None:
    work, slow = JointWork[str, int](), Slow(0)

    def interrupted() -> int:
        slow()
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(work.do, "a", interrupted)
        assert slow.began.wait(600)
        other = threads.submit(work.do, "a", lambda: 7)
        waiting(work, 2)
        slow.go.set()
        assert isinstance(first.exception(), KeyboardInterrupt)
        assert other.result() == 7


FORKING = """
import os, signal, threading
from galaxy_fl.joint_work import JointWork
work, began, go = JointWork(), threading.Event(), threading.Event()
thread = threading.Thread(target=work.do, args=("key", lambda: (began.set(), go.wait(600))))
thread.start()
assert began.wait(600)
child = os.fork()
if child == 0:
    signal.alarm(60)  # which ends it, should it wait
    os._exit(work.do("key", lambda: 7))
ended = os.waitpid(child, 0)[1]
go.set()
thread.join()
assert os.waitstatus_to_exitcode(ended) == 7, ended
"""


def test_a_process_that_was_forked_waits_for_no_thread_of_the_other():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING], check=True, timeout=600)
