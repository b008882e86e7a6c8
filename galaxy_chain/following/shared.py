"""One follower of a job for all participants of a process: each log is fetched, decoded and folded once for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field

from galaxy_chain.following import turns
from galaxy_chain.following.follower import JobFollower, Reverted
from galaxy_chain.following.history import JobHistory
from galaxy_chain.following.view import JobView
from galaxy_chain.following.window import Window
from galaxy_fl.floor import FLOOR
from galaxy_fl.patience import Backoff

__all__ = ["SharedFollower"]

SHARE = 4
"""From one look to the next passes so many times the time that a look takes."""
LONGEST_APART = 10.0
"""Seconds that pass so at most: a node that has kept a look waiting for minutes must not blind all for many more."""
SECONDS_EACH = 0.01
"""Of a pause, for each participant: however many look for themselves, a processor is left for what they wait for."""


@dataclass(frozen=True)
class _Seen:
    """What one look has shown. Nobody changes the history any more."""

    history: JobHistory
    window: Window
    final: int
    stands: tuple[Hashable, ...]
    """Where the job stands, but for how many updates are in."""


@dataclass(frozen=True, eq=False)
class _Pause:
    """One participant that waits."""

    stands: tuple[Hashable, ...]
    wanted: Callable[[JobHistory], bool] | None
    over: threading.Event = field(default_factory=threading.Event)


class SharedFollower:
    """Follows a job for many participants of one process, in any threads; each has a view of its own.

    However many poll at a time, one asks the nodes, and what it finds is news to all who wait. While participants
    pause, a thread looks for all of them, and wakes those for whom there is something to do: an update of one is
    nothing to the others.

    Args:
        follower: Of the job; closed by `close`.
        pauses: Between two looks at the chain while participants wait; the shortest always passes from the beginning of
            one to that of the next. Raise them where requests are dear.
    """

    def __init__(self, follower: JobFollower, pauses: Backoff) -> None:
        self._follower = follower
        self._between = pauses
        self.reveals_late = True
        """Whether participants have something to do once a round is closed. Where not, they wait for its commit."""
        self._lock = threading.Lock()
        self._began = float("-inf")
        """When the last look began."""
        self._took = 0.0
        """How long it has taken."""
        self._shown = float("-inf")
        """When the look began that has shown what is seen."""
        self._reverted = 0
        """How often the chain has taken something back."""
        self._seen = self._now(changed=True)
        self._error: Exception | None = None
        """What the last look has failed with."""
        self._pausing = threading.Condition()
        self._pauses: set[_Pause] = set()
        self._views = 0
        """How many are not closed."""
        self._closed = False
        self._thread: threading.Thread | None = None

    def view(self) -> JobView:
        """What one participant sees: it changes only when that one polls."""
        with self._pausing:
            self._views += 1
        return _View(self)

    @property
    def history(self) -> JobHistory:
        """What the last look has shown."""
        return self._seen.history

    def look(self) -> None:
        """Have the history be that of now; no view changes by it.

        Raises:
            GalaxyError: as `JobView.poll`.
        """
        self._look()

    def close(self) -> None:
        """Let the follower go. The views stay readable."""
        with self._pausing:
            self._closed = True
            self._pausing.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._lock:
            self._follower.close()

    def _look(self) -> _Seen:
        """What a look shows that has begun since this was called, whoever looks."""
        asked = time.monotonic()
        FLOOR.leave()
        with self._lock:
            if self._began < asked:
                # Where looks are slow, the nodes are busy, with what these participants have sent, too.
                every = max(self._between.first, min(SHARE * self._took, LONGEST_APART))
                time.sleep(max(0.0, self._began + every - time.monotonic()))
                self._began, self._error = time.monotonic(), None
                try:
                    self._seen = self._now(changed=self._follower.poll())
                    self._shown = self._began
                except Exception as error:
                    self._error = error
                self._took = time.monotonic() - self._began
                self._wake()
            if self._error is not None:
                raise self._error
            return self._seen

    def _now(self, *, changed: bool) -> _Seen:
        known = self._follower
        history = known.history.snapshot() if changed else self._seen.history
        self._reverted += any(isinstance(change, Reverted) for change in known.news)
        return _Seen(history, known.window, known.final, self._stands(history))

    def _stands(self, history: JobHistory) -> tuple[Hashable, ...]:
        known = self._follower
        # Whoever waits for confirmations looks at each block: nothing else happens then.
        number = known.number if history.finished and history.commits[history.last_round].block > known.final else None
        full = len(history.entries) >= history.terms.max_clients
        closed = self.reveals_late and (full or known.chain_time >= history.closes_at)
        if closed and not history.finished:
            number = known.number  # of the closing, too
        due = len(turns.settleable(history, known.chain_time)) if history.finished else 0
        return (
            history.round, history.attempt, history.model.root, history.status, history.settled, history.cancelled,
            len(history.commits), len(history.superseded), sum(map(len, history.demands.values())), closed, number,
            due, self._reverted,
        )  # fmt: skip

    # Pausing

    def _pause(self, seconds: float, seen: _Seen, wanted: Callable[[JobHistory], bool] | None) -> _Seen | None:
        """What another's look has shown; None where there was none, or it has failed."""
        began, pause = time.monotonic(), _Pause(seen.stands, wanted)
        with self._pausing:
            if self._is_over(pause):
                return None
            if not self._pauses:
                self._pausing.notify_all()
            self._pauses.add(pause)
            if self._thread is None and not self._closed:
                name = f"looks at job {self._follower.job}"
                self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
                self._thread.start()
        # By then whoever waits has to see for itself what is due by the time alone.
        with FLOOR.waiting():
            woken = pause.over.wait(max(seconds, self._views * SECONDS_EACH))
        if woken:
            return self._seen
        with self._pausing:
            self._pauses.discard(pause)
        # Would all who have waited as long look again, the last would wait for the first.
        return self._seen if self._shown >= began else None

    def _is_over(self, pause: _Pause) -> bool:
        seen = self._seen
        return seen.stands != pause.stands or (pause.wanted is not None and pause.wanted(seen.history))

    def _wake(self) -> None:
        """Wake those who have something to do, whoever has looked."""
        with self._pausing:
            for pause in [pause for pause in self._pauses if self._is_over(pause)]:
                self._pauses.discard(pause)
                pause.over.set()

    def _watch(self) -> None:
        """Look for all who pause."""
        looks = 0
        while True:
            with self._pausing:
                while not self._pauses and not self._closed:
                    self._pausing.wait()
                if self._closed:
                    return
            before = self._seen
            with suppress(Exception):  # whoever looks next is told
                self._look()
            looks = looks + 1 if self._seen.history is before.history else 0
            self._wake()  # some want what a look does not show
            with self._pausing:
                if not self._closed:
                    self._pausing.wait_for(lambda: self._closed, self._between.after(looks + 1))


class _View(JobView):
    """The view of one participant."""

    def __init__(self, shared: SharedFollower) -> None:
        super().__init__(shared._follower.ledger, shared._follower.job)
        self._shared = shared
        self._open = True
        self._seen = shared._seen
        self.history = self._seen.history

    def poll(self) -> bool:
        """As every view."""
        before = self.history
        self._show(self._shared._look())
        return self.history is not before

    def _show(self, seen: _Seen) -> None:
        self._seen = seen
        self.history = seen.history
        self._note_head()

    def pause(self, seconds: float, wanted: Callable[[JobHistory], bool] | None = None) -> bool:
        """As every view."""
        if (seen := self._shared._pause(seconds, self._seen, wanted)) is None:
            return False
        self._show(seen)
        return True

    def close(self) -> None:
        """Do nothing to the follower: others see by it, and wait for one less."""
        with self._shared._pausing:
            self._shared._views -= self._open
            self._open = False

    @property
    def window(self) -> Window:
        """The newest blocks."""
        return self._seen.window

    @property
    def final(self) -> int:
        """The number of the newest block that is final; -1 for none."""
        return self._seen.final
