"""The floor: of the threads of a program's many clients one works at a time, and the others wait for their turn.

Hundreds of clients are woken by the same commit. Where all of them run at once, the interpreter's lock changes hands
with each file and each request, which costs more than the work, and the first is ready to train no sooner than the
last. One after the other, the first has trained before the last has begun.

It is a matter of speed alone. Whoever waits for something else lets others have the floor; and where that was
forgotten, or takes long, those who wait for the floor go on without it, one every `PATIENCE` seconds: nothing that one
of them waits for keeps the others from bringing it about.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["FLOOR", "PATIENCE", "Floor"]

PATIENCE = 0.05


class _Thread(threading.local):
    among = False
    has = False


class _Turn:
    """What one thread waits for, and another begins: a lock that is let go, a fraction of an event's cost."""

    def __init__(self) -> None:
        self.begun = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, seconds: float) -> bool:
        return self._lock.acquire(timeout=seconds)

    def begin(self) -> None:
        self.begun = True
        self._lock.release()


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
        self._have = 0
        """How many have it; more than one where somebody was out of patience."""
        self._turns: deque[_Turn] = deque()
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
        if not self._mine.has:
            return
        self._mine.has = False
        with self._lock:
            self._have -= 1
            if self._turns and not self._have:
                self._have = 1
                self._turns.popleft().begin()

    def _take(self) -> None:
        if self._mine.has or not self._mine.among:
            return
        with self._lock:
            if waits := bool(self._have):
                turn = _Turn()
                self._turns.append(turn)
                patience = PATIENCE * len(self._turns)
            else:
                self._have = 1
        if waits and not turn.wait(patience):
            with self._lock:
                if not turn.begun:
                    self._turns.remove(turn)
                    self._have += 1
        self._mine.has = True


FLOOR = Floor()
"""That of this process."""
