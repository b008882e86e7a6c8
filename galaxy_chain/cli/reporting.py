"""What a long-running command prints: lines for people on a terminal, JSON for programs otherwise."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from galaxy_chain.cli.console import print_json
from galaxy_fl.participants.console import Console
from galaxy_fl.participants.events import Listener
from galaxy_fl.participants.group_console import GroupConsole
from galaxy_fl.participants.json_lines import JsonLines, now

__all__ = ["for_programs", "printer", "printing", "warnings_printed"]


def for_programs(json: bool) -> bool:
    """Return whether to print JSON: where that is asked for, and where no terminal would show anything else."""
    return json or not sys.stdout.isatty()


def printer(json: bool) -> Listener:
    """Return the listener that prints a participant's events; a ledger's jobs are numbers in JSON."""
    return JsonLines(job=int) if for_programs(json) else Console()


@contextmanager
def printing(json: bool, clients: int | None = None) -> Iterator[Listener]:
    """Yield the listener that prints the events of a participant, or of so many clients of one process."""
    if clients is None or for_programs(json):
        yield printer(json)
        return
    with closing(GroupConsole(clients)) as console:
        yield console


class _Warnings(logging.Handler):
    """Puts what the library warns of on standard error, in the same form."""

    def __init__(self, json: bool, job: int) -> None:
        super().__init__(logging.WARNING)
        self._json = json
        self._job = job
        self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message == self._last:  # many clients of one process say the same
            return
        self._last = message
        if self._json:
            level = record.levelname.lower()
            print_json({"time": now(), "job": self._job, "event": level, "message": message}, sys.stderr)
        else:
            sys.stderr.write(f"{message}\n")


@contextmanager
def warnings_printed(json: bool, job: int) -> Iterator[None]:
    """Have what the library logs for a job on standard error, as JSON where programs read it."""
    handler = _Warnings(for_programs(json), job)
    loggers = [logging.getLogger(name) for name in ("galaxy_fl", "galaxy_chain")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
