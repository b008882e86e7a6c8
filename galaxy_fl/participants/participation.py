"""What clients and servers have in common: they look for jobs in their places, and run each in a thread of its own."""

from __future__ import annotations

import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing, nullcontext
from typing import Any, Generic, NamedTuple, TypeVar

from galaxy_fl.exceptions import ConfigurationError, GalaxyError
from galaxy_fl.files import is_name
from galaxy_fl.floor import FLOOR
from galaxy_fl.modes.mode import At, ClientPlace, Mode, ServerPlace
from galaxy_fl.participants.events import Event, Failed, Listener, Looking, Retrying, Unreachable
from galaxy_fl.participants.participant import JobParticipant, Outcome
from galaxy_fl.participants.telling import listeners_of
from galaxy_fl.participants.work import Work
from galaxy_fl.vectors.kernels import kernels

__all__ = ["STOPPED", "Participation", "check_common", "mode_settings", "raise_if_all_failed", "several", "taking_part"]

LOOK = 0.5
"""Seconds between two looks for new jobs."""
AGAIN = 2.0
"""Seconds after which a job that failed for a reason that may pass is begun again."""

STOPPED = "stopped; started again, it continues where it was"

AnyPlace = TypeVar("AnyPlace", ClientPlace, ServerPlace)


class _Found(NamedTuple):
    """A job, by the number of its place."""

    place: int
    job_id: str


class Participation(Generic[AnyPlace]):
    """Takes part in all the jobs of some places.

    Args:
        places: Where to look; closed at the end.
        take_part: Takes part in a job of a place until it is over. Runs in a thread of its own, whose workers and
            whose sections are the given work's.
        listeners: Take what happens besides.
        work: What all of them share; stopped at the end. None for one of its own.
        clients: Whose place each is, where one program hosts several clients; listeners are told.
    """

    def __init__(
        self,
        places: Sequence[AnyPlace],
        take_part: Callable[[AnyPlace, str, Work], Outcome],
        listeners: Sequence[Listener] = (),
        work: Work | None = None,
        clients: Sequence[str] | None = None,
    ) -> None:
        self._clients = clients
        self._places: Sequence[AnyPlace] = places
        self._take_part: Callable[[AnyPlace, str, Work], Outcome] = take_part
        self._listeners = listeners
        self._work = Work() if work is None else work
        self._seen: set[_Found] = set()
        self._running: set[_Found] = set()
        self._ended: queue.SimpleQueue[tuple[_Found, Outcome | Exception]] = queue.SimpleQueue()
        self._outcomes: list[Outcome] = []
        self._unreachable: dict[str, str] = {}

    def run(self, forever: bool = False) -> list[Outcome]:
        """Continue until all jobs that were seen, at least one, are over; or `forever`, until it is interrupted.

        An interrupt loses nothing: what participants know is kept elsewhere.

        Returns:
            How each job ended, in the order in which they did.

        Raises:
            ConfigurationError: GALAXY_KERNELS is not what it may be.
        """
        with ExitStack() as stack:
            for place in self._places:
                stack.callback(place.close)
            stack.callback(self._work.stop)
            kernels()  # a wrong GALAXY_KERNELS is reported now, and not with a job that may be long in coming
            looking = False
            while True:
                self._look()
                if not forever and self._seen and not self._running:
                    return self._outcomes
                if not self._running and not looking:
                    self._emit(Looking(places=list(dict.fromkeys(place.name for place in self._places))))
                looking = not self._running
                self._collect(LOOK)

    def _emit(self, event: Event, found: _Found | None = None) -> None:
        listeners, job = self._listeners, ""
        if found is not None:
            job = found.job_id
            if self._clients is not None:
                listeners = listeners_of(listeners, self._clients[found.place])
        for listener in listeners:
            listener(event, job)

    def _look(self) -> None:
        for number, place in enumerate(self._places):
            try:
                found = [_Found(number, job_id) for job_id in place.jobs()]
            except GalaxyError as error:
                if self._unreachable.get(place.name) != str(error):  # once, and not at every look
                    self._emit(Unreachable(place=place.name, message=str(error)))
                    self._unreachable[place.name] = str(error)
                continue
            self._unreachable.pop(place.name, None)
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
            with FLOOR.among() if self._clients is not None else nullcontext():
                ended: Outcome | Exception = self._take_part(self._places[found.place], found.job_id, self._work)
        except Exception as error:
            ended = error
        self._ended.put((found, ended))

    def _collect(self, seconds: float) -> None:
        """Wait, and take the jobs that have ended meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                found, ended = self._ended.get(timeout=left)
            except queue.Empty:
                return
            if isinstance(ended, GalaxyError) and ended.temporary:
                self._emit(Retrying(message=str(ended)), found)
                self._start(found, AGAIN)
                continue
            self._running.discard(found)
            if isinstance(ended, Exception):
                self._emit(_failed(ended), found)
                client = "" if self._clients is None else self._clients[found.place]
                ended = Outcome(found.job_id, error=ended, client=client)
            self._outcomes.append(ended)
            if not self._running:
                return


def taking_part(
    participant: Callable[..., JobParticipant[Any]], *arguments: Any, **options: Any
) -> Callable[[ClientPlace | ServerPlace, str, Work], Outcome]:
    """Return what opens a job of a place and has a participant made so take part in it."""

    def take_part(place: ClientPlace | ServerPlace, job_id: str, work: Work) -> Outcome:
        with closing(place.open(job_id)) as coordinator:
            return participant(coordinator, *arguments, work=work, **options).run()

    return take_part


def _failed(error: Exception) -> Failed:
    # A mistake in Galaxy: where it is helps to mend it.
    mistake = not isinstance(error, GalaxyError | OSError)
    trace = "".join(traceback.format_exception(error)) if mistake else None
    code = error.exit_code if isinstance(error, GalaxyError) else 1
    return Failed(message=str(error) or type(error).__name__, exit_code=code, trace=trace)


def check_common(name: str | None, trust: Iterable[str], listeners: Sequence[Listener] | None) -> None:
    """Check what a client and a server are given alike, so that a mistake ends them before they look for jobs.

    Raises:
        ConfigurationError: a value is not of its form.
    """
    if name is not None and not (isinstance(name, str) and is_name(name)):
        raise ConfigurationError(
            f"name is {name!r}, expected a text of letters, digits, dots, hyphens and underscores, such as '1'"
        )
    if isinstance(trust, str):
        raise ConfigurationError(f"trust is {trust!r}, expected a list: trust=[{trust!r}]")
    if listeners is not None and (not isinstance(listeners, Iterable) or not all(map(callable, listeners))):
        raise ConfigurationError(
            f"listeners is {listeners!r:.80}, expected a list of functions that take an event and a job's id"
        )


def several(at: At | Sequence[At]) -> Sequence[At]:
    """Return where to look, one or several, as a sequence."""
    return [at] if at is None or isinstance(at, str | os.PathLike | Mode) else list(at)


def mode_settings(at: At, trust: Sequence[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a mode: one that is handed over as an object chooses jobs by whom its user trusts, too."""
    return settings | ({"trust": tuple(trust)} if isinstance(at, Mode) and trust else {})


def raise_if_all_failed(outcomes: list[Outcome]) -> list[Outcome]:
    """Return the outcomes.

    Raises:
        Exception: all jobs were given up; the first error.
    """
    if outcomes and all(outcome.error is not None for outcome in outcomes):
        assert outcomes[0].error is not None
        raise outcomes[0].error
    return outcomes
