"""Work that a dashboard does in a thread of its own, until it is stopped."""

from __future__ import annotations

import threading

__all__ = ["Background"]


class Background:
    """Does its work in one thread.

    Args:
        name: The thread's.
    """

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        """Guards what the thread shares with those who ask, and tells either that it has changed."""
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """End, once what is being looked at is done; wait that long for it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _work(self) -> None:
        """Work until it is closed."""
        raise NotImplementedError
