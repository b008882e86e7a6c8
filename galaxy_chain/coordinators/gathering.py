"""Things that threads hand in one by one, and that go together: whoever comes first waits for the others a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from galaxy_fl.floor import FLOOR

__all__ = ["MOST", "Gathering"]

MOST = 100
"""Things that go together at most."""
GATHER_SECONDS = 0.25
"""For which the first of them waits for others."""

Thing = TypeVar("Thing")
Result = TypeVar("Result")
Results = Sequence[Result | None]


class _Handed(Generic[Thing, Result]):
    """What one thread has handed in."""

    def __init__(self, key: Hashable, thing: Thing) -> None:
        self.key = key
        self.thing = thing
        self.result: Result | None = None
        self.leads = False
        """Whether its thread sends the next ones."""
        self.woken = threading.Event()


class Gathering(Generic[Thing, Result]):
    """Threads of one process, each of which hands in a thing.

    Args:
        begin: Sends things of one key together, and returns what waits for their results, in the same order: None for
            a thing that nothing has come of.
        expected: How many threads there are: once as many things of a key have come, nobody is waited for.
    """

    def __init__(
        self, begin: Callable[[Sequence[Thing]], Callable[[], Results[Result]]], expected: Callable[[], int]
    ) -> None:
        self._begin = begin
        self._expected = expected
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._waiting: list[_Handed[Thing, Result]] = []
        self._led = False
        """Whether a thread gathers or sends."""
        self._gone: tuple[Hashable, int] = None, 0
        """The key that went last, and how many things of it have gone."""

    def hand_in(self, key: Hashable, thing: Thing) -> Result | None:
        """Hand a thing in, and wait for what comes of it; None where nothing has.

        Args:
            key: Only things of the same go together.

        Raises:
            Exception: whatever sending raises, in the thread that has sent; the others get None.
        """
        mine = _Handed[Thing, Result](key, thing)
        with self._lock:
            self._waiting.append(mine)
            if not self._led:
                self._led = mine.leads = True
            elif self._is_whole(key):  # whoever leads is not woken for less
                self._more.notify()
        try:
            with FLOOR.waiting():
                if not mine.leads:
                    mine.woken.wait()
                if mine.leads:
                    self._lead(mine)
        except BaseException:  # an interrupt, too
            with self._lock:
                if mine in self._waiting:
                    self._waiting.remove(mine)
            if mine.leads:
                self._pass_on(mine)
            raise
        return mine.result

    def _lead(self, mine: _Handed[Thing, Result]) -> None:
        with self._lock:
            self._more.wait_for(lambda: self._is_whole(mine.key), GATHER_SECONDS)
            together = self._next(mine)
        try:
            wait = self._begin([each.thing for each in together])
            self._pass_on(mine)  # the next go while these are on their way
            for each, result in zip(together, wait(), strict=True):
                each.result = result
        finally:
            for each in together:
                each.woken.set()

    def _is_whole(self, key: Hashable) -> bool:
        gone = self._gone[1] if self._gone[0] == key else 0
        there = sum(each.key == key for each in self._waiting)
        return there >= min(MOST, self._expected() - gone)

    def _next(self, mine: _Handed[Thing, Result]) -> list[_Handed[Thing, Result]]:
        """What goes now, this thread's own first; the rest stays where it is."""
        self._waiting.remove(mine)
        together = [mine, *[each for each in self._waiting if each.key == mine.key][: MOST - 1]]
        taken = set(together)
        self._waiting = [each for each in self._waiting if each not in taken]
        self._gone = mine.key, len(together) + (self._gone[1] if self._gone[0] == mine.key else 0)
        return together

    def _pass_on(self, mine: _Handed[Thing, Result]) -> None:
        """Have the thread that has waited longest lead."""
        with self._lock:
            mine.leads = False
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].woken.set()
            else:
                self._led = False
