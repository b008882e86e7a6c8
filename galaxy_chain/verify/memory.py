"""Results that all threads of a process share: each is computed once, however many ask for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from galaxy_fl.joint_work import JointWork

__all__ = ["Memory"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memory(Generic[Key, Value]):
    """What was computed, by its key. While one thread computes it, others that ask for the same wait.

    Args:
        most: Results that are kept at a time; with more all are forgotten, and computed again.

    Example:
        >>> from galaxy_chain.verify.memory import Memory
        >>> squares = Memory[int, int](most=100)
        >>> squares.get(12, lambda: 12 * 12)
        144
        >>> squares.get(12, lambda: 1 // 0)
        144
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[Key, Value] = {}
        self._lock = threading.Lock()
        self._work: JointWork[Key, Value] = JointWork()

    def known(self, key: Key) -> Value | None:
        """Return what is known; None where nothing is."""
        return self._known.get(key)

    def get(self, key: Key, compute: Callable[[], Value], keep: Callable[[Value], bool] = lambda value: True) -> Value:
        """Return what is known, or else what `compute` returns.

        Args:
            key: Of what is asked.
            compute: Finds it out.
            keep: Tells whether a result is to be remembered.

        Raises:
            Exception: whatever `compute` raises; it is not remembered. Those who wait get the outcome of a
                computation that began after they asked.
        """
        known = self._known
        if key in known:
            return known[key]

        def find() -> Value:
            if key in self._known:
                return self._known[key]
            value = compute()
            if keep(value):
                with self._lock:
                    if len(self._known) >= self._most:
                        self._known = {}
                    self._known[key] = value
            return value

        return self._work.do(key, find)
