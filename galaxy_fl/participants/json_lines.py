"""A participant's events for programs: JSON, an event a line."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from galaxy_fl.participants.events import Event, Listener

__all__ = ["JsonLines", "now"]


def now() -> str:
    """Return this moment as the lines have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class JsonLines:
    """Listener that writes each event as a line of JSON, with `time` and `job` in front.

    Args:
        stream: Returns the stream to write to; standard output by default.
        job: What a line calls a job of that id.

    Example:
        >>> import galaxy_fl as galaxy
        >>> galaxy.JsonLines()(galaxy.events.Training(round=1), "7")  # doctest: +ELLIPSIS
        {"time": "...", "job": "7", "event": "training", "round": 1}
    """

    def __init__(
        self, stream: Callable[[], TextIO] = lambda: sys.stdout, job: Callable[[str], int | str] = lambda job: job
    ) -> None:
        self._stream = stream
        self._job = job
        self._lock = threading.Lock()

    def __call__(self, event: Event, job: str) -> None:
        self._write(event, job, {})

    def of(self, client: str) -> Listener:
        """Return the listener for one client of a program that hosts several, whose lines have `client`, its name."""
        return lambda event, job: self._write(event, job, {"client": client})

    def _write(self, event: Event, job: str, whose: dict[str, str]) -> None:
        named = self._job(job) if job else None
        line = json.dumps({"time": now(), "job": named, **whose, **event.model_dump(mode="json")})
        with self._lock:
            stream = self._stream()
            stream.write(line + "\n")
            stream.flush()
