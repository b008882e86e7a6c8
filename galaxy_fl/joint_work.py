"""Work that many threads ask for at the same time: one does it for all who wait."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from galaxy_fl.floor import FLOOR

__all__ = ["JointWork"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Turn(Generic[Value]):
    """The work of one key, while anybody asks for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asking = 0
        self.begun = 0
        """How often it was begun."""
        self.value: Value | None = None
        self.error: Exception | None = None
        self.ended = 0
        """Which beginning the value or the error is of."""


class JointWork(Generic[Key, Value]):
    """Does work by key, at most once at a time.

    However many threads wait, and however slow a failure is, nobody waits for more than two times of it: that which was
    under way, and the next, whose outcome is everybody's who had asked before it began.

    Example:
        >>> from galaxy_fl.joint_work import JointWork
        >>> JointWork[str, int]().do("a dozen", lambda: 12)
        12
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[Key, _Turn[Value]] = {}
        _ALL.add(self)

    def begin_again(self) -> None:
        """Wait for no thread of the process that this one was forked from: they are over there."""
        self._lock = threading.Lock()
        self._turns = {}

    def do(self, key: Key, work: Callable[[], Value]) -> Value:
        """Return what `work` returns, here or in another thread that began it after this one asked.

        Raises:
            Exception: whatever `work` raises, there or here.
        """
        with self._lock:
            turn = self._turns.setdefault(key, _Turn())
            turn.asking += 1
            asked = turn.begun
        try:
            if turn.lock.locked():
                FLOOR.leave()
            with turn.lock:
                if turn.ended > asked:
                    if turn.error is not None:
                        raise turn.error
                    return turn.value  # type: ignore[return-value]  # a value where there is no error
                with self._lock:
                    turn.begun += 1
                try:
                    value = work()
                except Exception as error:
                    turn.error, turn.ended = error, turn.begun
                    raise
                turn.value, turn.error, turn.ended = value, None, turn.begun
                return value
        finally:
            with self._lock:
                turn.asking -= 1
                if turn.asking == 0:
                    self._turns.pop(key, None)


_ALL: weakref.WeakSet[JointWork[Any, Any]] = weakref.WeakSet()


def _begin_again() -> None:
    for each in tuple(_ALL):
        each.begin_again()


os.register_at_fork(after_in_child=_begin_again)
