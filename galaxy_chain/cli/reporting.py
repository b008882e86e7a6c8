"""What a long-running command says: lines for people on a terminal, JSON for programs otherwise."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from galaxy_chain.cli.console import console, line_for_people, print_json

if TYPE_CHECKING:
    from galaxy_chain.web.status import Status

__all__ = ["reporting"]

Say = Callable[[dict[str, Any]], None]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class _Lines:
    """Prints what is said, and no line twice in a row."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, said: dict[str, Any]) -> None:
        if (line := line_for_people(said)) is not None and line != self._last:
            console.print(line)
            self._last = line


class _Warnings(logging.Handler):
    """Puts what the library warns of on standard error, in the same form."""

    def __init__(self, json: bool, job: int) -> None:
        super().__init__(logging.WARNING)
        self._json = json
        self._job = job

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if self._json:
            level = record.levelname.lower()
            print_json({"time": _now(), "job": self._job, "event": level, "message": message}, sys.stderr)
        else:
            sys.stderr.write(f"{message}\n")


@contextmanager
def reporting(json: bool, job: int, status: Status | None = None) -> Iterator[Say]:
    """Gives what a participant of a job says things with.

    Args:
        json: Print JSON even on a terminal.
        job: The job's number, which is in every line.
        status: Observes what is said.
    """
    json = json or not sys.stdout.isatty()
    lines = _Lines()

    def say(said: dict[str, Any]) -> None:
        if status is not None:
            status.observe(said)
        if json:
            print_json({"time": _now(), "job": job, **said})
        else:
            lines(said)

    handler = _Warnings(json, job)
    loggers = [logging.getLogger(name) for name in ("galaxy_fl", "galaxy_chain")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield say
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
