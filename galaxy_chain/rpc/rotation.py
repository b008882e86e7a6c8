"""Which of several nodes is asked next, and after what pause. Pure: clock and chance are the caller's."""

from __future__ import annotations

from collections.abc import Callable

from galaxy_fl.patience import Backoff

__all__ = ["BACKOFF", "Rotation"]

BACKOFF = Backoff(0.1, 5.0, jitter=1.0)
"""Pauses after failures in a row."""


class Rotation:
    """Stays with a node until that one fails, then continues with the one that is ready first.

    Args:
        nodes: How many there are; they are known by their index.
        random: Gives numbers of [0, 1).
    """

    def __init__(self, nodes: int, random: Callable[[], float]) -> None:
        self.current = 0
        """The node to ask."""
        self._random = random
        self._failures = [0] * nodes
        self._ready = [float("-inf")] * nodes

    def wait(self, now: float) -> float:
        """Seconds until the current node may be asked."""
        return max(0.0, self._ready[self.current] - now)

    def failed(self, now: float, retry_after: float = 0.0) -> None:
        """The current node is in trouble, and does not want to be asked for `retry_after` seconds."""
        count = len(self._ready)
        self._failures[self.current] += 1
        pause = max(retry_after, BACKOFF.after(self._failures[self.current], self._random))
        self._ready[self.current] = now + pause
        others = ((self.current + step) % count for step in range(1, count + 1))
        self.current = min(others, key=lambda node: max(now, self._ready[node]))

    def answered(self) -> None:
        """The current node is well."""
        self._failures[self.current] = 0
        self._ready[self.current] = float("-inf")
