"""A server's measurements in a file, a line of JSON a round."""

from __future__ import annotations

from pathlib import Path

from galaxy_fl.participants.events import Committed, Event, Reopened

__all__ = ["MetricsFile"]


class MetricsFile:
    """A listener that appends what a server did in each round, and takes no other event.

    Args:
        path: File to append to; its folder is made when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, event: Event, job: str) -> None:
        if isinstance(event, Committed | Reopened):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(event.model_dump_json() + "\n")
