"""What clients and servers have in common: they look for jobs in their places, and run each in a thread of its own."""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Generic, NamedTuple, TypeVar

from galaxy_fl.exceptions import GalaxyError
from galaxy_fl.modes.mode import ClientPlace, ServerPlace
from galaxy_fl.participants.work import Work

__all__ = ["INTERRUPTED", "Participation", "say"]

INTERRUPTED = 130
"""The exit code after Ctrl-C."""
LOOK = 0.5
"""Seconds between two looks for new jobs."""
AGAIN = 2.0
"""Seconds after which a job that failed for a reason that may pass is begun again."""

AnyPlace = TypeVar("AnyPlace", ClientPlace, ServerPlace)


def say(text: str) -> None:
    """Prints a line, whole, from whichever thread."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class _Found(NamedTuple):
    """A job, by the number of its place."""

    place: int
    job_id: str


class Participation(Generic[AnyPlace]):
    """Takes part in all the jobs of some places.

    Args:
        places: Where to look; closed at the end.
        take_part: Takes part in a job of a place until it is over. Runs in a thread of its own, whose worker and whose
            sections are the given work's.
    """

    def __init__(self, places: Sequence[AnyPlace], take_part: Callable[[AnyPlace, str, Work], None]) -> None:
        self._places: Sequence[AnyPlace] = places
        self._take_part: Callable[[AnyPlace, str, Work], None] = take_part
        self._work = Work()
        self._seen: set[_Found] = set()
        self._running: set[_Found] = set()
        self._ended: queue.SimpleQueue[tuple[_Found, Exception | None]] = queue.SimpleQueue()
        self._failed: list[Exception] = []
        self._said: dict[int, str] = {}

    def run(self, until_done: bool) -> Sequence[Exception]:
        """Goes on until it is interrupted; or, `until_done`, until all jobs that were seen, at least one, are over.

        Returns:
            Why jobs were given up, in the order in which that happened.

        Raises:
            SystemExit: it was interrupted. What participants know is kept elsewhere, so nothing is lost.
        """
        with ExitStack() as stack:
            for place in self._places:
                stack.callback(place.close)
            stack.callback(self._work.stop)
            try:
                self._go_on(until_done)
            except KeyboardInterrupt:
                say("stopped; started again, it goes on where it was")
                sys.exit(INTERRUPTED)
        return self._failed

    def run_program(self, until_done: bool) -> None:
        """As `run`, for a program, whose exit code then says whether there is anything to show for it.

        Raises:
            SystemExit: it was interrupted; or all jobs were given up, with the exit code of the first error.
        """
        failed = self.run(until_done)
        if failed:
            say(f"{len(failed)} of {len(self._seen)} job{'' if len(self._seen) == 1 else 's'} given up")
        if failed and len(failed) == len(self._seen):
            sys.exit(failed[0].exit_code if isinstance(failed[0], GalaxyError) else GalaxyError.exit_code)

    def _go_on(self, until_done: bool) -> None:
        waiting = False
        while True:
            self._look()
            if until_done and self._seen and not self._running:
                return
            if not self._running and not waiting:
                say(f"waiting for jobs in {', '.join(place.name for place in self._places)}")
            waiting = not self._running
            self._collect(LOOK)

    def _look(self) -> None:
        for number, place in enumerate(self._places):
            try:
                found = [_Found(number, job_id) for job_id in place.jobs()]
            except GalaxyError as error:
                if self._said.get(number) != str(error):  # once, and not at every look
                    say(f"{place.name} can't be reached now, and is tried again: {error}")
                    self._said[number] = str(error)
                continue
            self._said.pop(number, None)
            for one in found:
                if one not in self._seen:
                    self._seen.add(one)
                    self._start(one)

    def _start(self, found: _Found, after: float = 0.0) -> None:
        self._running.add(found)
        threading.Thread(target=self._run, args=(found, after), name=f"job {found.job_id}", daemon=True).start()

    def _run(self, found: _Found, after: float) -> None:
        time.sleep(after)
        try:
            self._take_part(self._places[found.place], found.job_id, self._work)
        except Exception as error:
            self._ended.put((found, error))
        else:
            self._ended.put((found, None))

    def _collect(self, seconds: float) -> None:
        """Waits, and hears of the jobs that have ended meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                found, error = self._ended.get(timeout=left)
            except queue.Empty:
                return
            if isinstance(error, GalaxyError) and error.temporary:
                say(f"job {found.job_id}: begins again: {error}")
                self._start(found, AGAIN)
                continue
            self._running.discard(found)
            if error is not None:
                self._failed.append(error)
                self._explain(found, error)
            if not self._running:
                return

    def _explain(self, found: _Found, error: Exception) -> None:
        if not isinstance(error, GalaxyError | OSError):  # a mistake in Galaxy: where it is helps to mend it
            traceback.print_exception(error)
        sys.stderr.write(f"job {found.job_id}: given up: {error}\n")
        sys.stderr.flush()
