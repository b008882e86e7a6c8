"""The floor: of the threads of a program's many clients one works at a time, and the others wait for their turn.

Hundreds of clients are woken by the same commit. Where all of them run at once, the interpreter's lock changes hands
with each file and each request, which costs more than the work, and the first is ready to train no sooner than the
last. One after the other, the first has trained before the last has begun.

It is a matter of speed alone. Whoever waits for something else lets others have the floor; and where that was
forgotten, or takes long, the next in turn takes it after `PATIENCE` seconds: nothing that one of them waits for keeps
the others from bringing it about.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["FLOOR", "PATIENCE", "Floor"]

PATIENCE = 0.05
"""Seconds for which one has the floor before it is taken from it."""


class _Turn:
    """What one thread waits for, and another begins: a lock that is let go, a fraction of an event's cost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, seconds: float) -> bool:
        return self._lock.acquire(timeout=seconds)

    def begin(self) -> None:
        self._lock.release()


class _Thread(threading.local):
    among = False
    turn: _Turn | None = None
    """Its own, while it has the floor, or had it before that was taken from it."""


class Floor:
    """Turns of threads, in the order in which they come.

    On threads that are not `among` those that take turns nothing here has any effect.

    Example:
        >>> from galaxy_fl.floor import Floor
        >>> floor = Floor()
        >>> with floor.among():
        ...     with floor.waiting():
        ...         pass  # for a file that another thread writes
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _Turn | None = None
        self._since = 0.0
        """When that has begun; as `time.monotonic`."""
        self._turns: deque[_Turn] = deque()
        """Of those who wait."""
        self._mine = _Thread()

    @contextmanager
    def among(self) -> Iterator[None]:
        """Be one of those that take turns while the context lasts."""
        self._mine.among = True
        self._take()
        try:
            yield
        finally:
            self.leave()
            self._mine.among = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let others have the floor while the context lasts, and wait for it at the end.

        Only where this thread holds no lock, because whoever has the floor may wait for that.
        """
        self.leave()
        try:
            yield
        finally:
            self._take()

    def leave(self) -> None:
        """Let others have the floor, and go on without it until this thread has been `waiting` next. It may hold locks.

        For what may take long, as an answer of another program does.
        """
        mine, self._mine.turn = self._mine.turn, None
        if mine is None:
            return
        with self._lock:
            if self._running is mine:
                self._run(self._turns.popleft() if self._turns else None)

    def _run(self, turn: _Turn | None) -> None:
        self._running, self._since = turn, time.monotonic()
        if turn is not None:
            turn.begin()

    def _take(self) -> None:
        if self._mine.turn is not None or not self._mine.among:
            return
        turn = _Turn()
        with self._lock:
            if self._running is None:
                self._run(turn)
            else:
                self._turns.append(turn)
            patience = PATIENCE * len(self._turns)
        while not turn.wait(patience):
            patience = self._patience_of(turn)
        self._mine.turn = turn

    def _patience_of(self, turn: _Turn) -> float:
        """For how long one goes on waiting; what is next in turn runs once another has run for too long."""
        with self._lock:
            if turn not in self._turns:  # it has begun, and may have been taken from this thread before it has noticed
                return PATIENCE
            ahead = self._turns.index(turn)
            rest = PATIENCE - (time.monotonic() - self._since)
            if ahead or rest > 0:
                return PATIENCE * ahead + max(0.0, rest)
            self._run(self._turns.popleft())
            return PATIENCE


FLOOR = Floor()
"""That of this process."""
