"""What all trackers have in common: a thread of their own, so that no round ever waits for one."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Protocol

from galaxy_fl.participants.events import Event, Listener
from galaxy_fl.participants.tracking.measured import About, Ended, Measured, harmless, measured
from galaxy_fl.patience import Backoff

__all__ = ["Destination", "Run", "Tracker"]

LOG = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""Events that wait for a destination that is away; those that come then are lost."""
PAUSES = Backoff(1.0, 60.0, 2.0)
"""Seconds until what could not be written is tried again."""
CLOSING = 5.0
"""Seconds that the end of a program waits for what is not written yet."""


class Run(Protocol):
    """What one participant of one job measures."""

    def write(self, measured: Measured) -> None:
        """Write what is new of it: a number that is there already, of the same round, is not written again.

        Raises:
            OSError: it can't be written now, and is tried again.
            Exception: it can never be written.
        """

    def end(self, how: Ended) -> None:
        """Note how the run ended.

        Raises:
            Exception: as `write`.
        """


class Destination(Protocol):
    """Where a tracker writes to. Its methods are called in the tracker's thread."""

    @property
    def name(self) -> str:
        """Name to show, without a secret."""

    def open(self, about: About) -> Run:
        """Begin a participant's run, or continue it where an earlier start of its program has begun it.

        Raises:
            Exception: as `Run.write`.
        """


class Tracker:
    """Takes the events of a program's participants, and writes them to one destination in a thread of its own.

    Trouble is said once, and never reaches the participants. What a destination that is away does not take waits for
    it.

    Args:
        destination: Where to write to.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._waiting: deque[tuple[About, Measured]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._said = False
        """Whether trouble was said."""
        self._lost = 0
        self._runs: dict[About, Run] = {}
        self._thread: threading.Thread | None = None

    def of(self, about: About) -> Listener:
        """Return the listener for one participant."""

        def listen(event: Event, job: str) -> None:
            if (found := measured(event, about)) is not None:
                self._take(about, found)

        return listen

    def _take(self, about: About, found: Measured) -> None:
        with self._changed:
            if self._closing:
                return
            if len(self._waiting) >= MOST_WAITING:
                self._lost += 1
                return
            self._waiting.append((about, found))
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="tracker", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Wait for what is not written yet, some seconds at most, and say what was lost."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSING)
        if lost := self._lost + len(self._waiting):
            LOG.warning("%d measurements were not written to %s", lost, self._destination.name)

    def _write_all(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._waiting)
                if not self._waiting:
                    break
                about, found = self._waiting[0]
                last = self._closing
            try:
                self._write(about, found)
            except OSError as error:
                self._say(error)
                failures += 1
                if last:
                    return
                self._pause(PAUSES.after(failures))
                continue
            except Exception as error:  # of another's library: it is worth less than any round
                self._say(error)
                self._lost += 1
            failures = 0
            with self._changed:
                self._waiting.popleft()
        for run in self._runs.values():
            try:
                run.end("stopped")
            except Exception as error:
                self._say(error)

    def _write(self, about: About, found: Measured) -> None:
        if about not in self._runs:
            self._runs[about] = self._destination.open(about)
        self._runs[about].write(found)
        if found.ended is not None:
            self._runs[about].end(found.ended)
            del self._runs[about]

    def _pause(self, seconds: float) -> None:
        """Wait before trying again; where the program ends that is at once, for a last time."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._closing and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _say(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            LOG.warning(
                "%s can't be written to, which stops nothing, and is tried again where that may help: %s",
                self._destination.name,
                harmless(str(error) or type(error).__name__, 400),
            )
