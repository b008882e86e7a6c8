"""One follower of a job for all participants of a process: each log is fetched, decoded and folded once for all."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import JobHistory
from galaxy_chain.following.view import JobView
from galaxy_chain.following.window import Window

__all__ = ["SharedFollower"]


@dataclass(frozen=True)
class _Seen:
    """What one look has shown. Nobody changes the history any more."""

    history: JobHistory
    window: Window
    final: int


class SharedFollower:
    """Follows a job for many participants of one process, in any threads; each has a view of its own.

    However many poll at a time, one asks the nodes, and what it finds is news to all who wait.

    Args:
        follower: Of the job; closed by `close`.
        every: Seconds from the beginning of one look at the chain to that of the next, at least. Raise it where
            requests are dear, or participants are so many that one of them always waits.
    """

    def __init__(self, follower: JobFollower, every: float = 0.05) -> None:
        self._follower = follower
        self._every = every
        self._lock = threading.Lock()
        self._began = float("-inf")
        """When the last look began."""
        self._seen = self._now(changed=True)
        self._error: Exception | None = None
        """What the last look has failed with."""

    def view(self) -> JobView:
        """What one participant sees: it changes only when that one polls."""
        return _View(self)

    def close(self) -> None:
        """Let the follower go. The views stay readable."""
        self._follower.close()

    def _look(self) -> _Seen:
        """What a look shows that has begun since this was called, whoever looks."""
        asked = time.monotonic()
        with self._lock:
            if self._began < asked:
                time.sleep(max(0.0, self._began + self._every - time.monotonic()))
                self._began, self._error = time.monotonic(), None
                try:
                    self._seen = self._now(changed=self._follower.poll())
                except Exception as error:
                    self._error = error
            if self._error is not None:
                raise self._error
            return self._seen

    def _now(self, *, changed: bool) -> _Seen:
        known = self._follower
        history = known.history.snapshot() if changed else self._seen.history
        return _Seen(history, known.window, known.final)


class _View(JobView):
    """The view of one participant."""

    def __init__(self, shared: SharedFollower) -> None:
        super().__init__(shared._follower.ledger, shared._follower.job)
        self._shared = shared
        self._seen = shared._seen
        self.history = self._seen.history

    def poll(self) -> bool:
        """As every view."""
        before, self._seen = self._seen, self._shared._look()
        self.history = self._seen.history
        self._note_head()
        return self.history is not before.history

    def close(self) -> None:
        """Do nothing: others see by the same follower."""

    @property
    def window(self) -> Window:
        """The newest blocks."""
        return self._seen.window

    @property
    def final(self) -> int:
        """The number of the newest block that is final; -1 for none."""
        return self._seen.final
