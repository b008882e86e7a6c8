"""What participants of this machine have measured of a job: a server's metrics, and reports."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from galaxy_chain.jobs.rounds import metrics_of
from galaxy_fl.participants.report import Report

__all__ = ["Measurements"]

_log = logging.getLogger(__name__)

MOST_REPORTS = 200
"""Files that are looked into, in the order of their names."""
LARGEST_REPORT = 16 * 2**20
LARGEST_METRICS = 256 * 2**20

_Stamp = tuple[int, int]


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


class Measurements:
    """What was measured of one job. Files are read again only where they have changed.

    Args:
        job: The job's number.
        spec: SHA-256 of its document, once that is known.
        metrics: Files of servers' metrics, whether they are there or not.
        folder: Folder of reports; None for none.
    """

    def __init__(self, job: int, metrics: Sequence[Path], folder: Path | None) -> None:
        self._job = job
        self._paths = tuple(metrics)
        self._folder = folder
        self._read: dict[Path, tuple[_Stamp, Any]] = {}
        self._seen: dict[Path, _Stamp | None] = {}

    def changed(self) -> bool:
        """Whether a file has changed since this was asked last."""
        now = {path: _stamp(path) for path in (*self._paths, *self._reports())}
        before, self._seen = self._seen, now
        return bool(before) and before != now

    def by_commit(self) -> dict[tuple[int, str], dict[str, Any]]:
        """A server's metrics by attempt and model root."""
        found: dict[tuple[int, str], dict[str, Any]] = {}
        for path in self._paths:
            found |= self._of(path, LARGEST_METRICS, metrics_of) or {}
        return found

    def reports(self, document: str) -> list[Report]:
        """The reports of participants of the job with that document (SHA-256, in hexadecimal)."""
        read = (self._of(path, LARGEST_REPORT, _report) for path in self._reports())
        return [each for each in read if each and each.document == document and each.job == str(self._job)]

    def _reports(self) -> list[Path]:
        if self._folder is None:
            return []
        try:
            return sorted(self._folder.glob("*.json"))[:MOST_REPORTS]
        except OSError:
            return []

    def _of(self, path: Path, largest: int, read: Any) -> Any:
        stamp = _stamp(path)
        if stamp is None or stamp[1] > largest:
            return None
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            try:
                known = stamp, read(path)
            except OSError as error:
                _log.warning("%s can't be read: %s", path, error)
                return None
            self._read[path] = known
        return known[1]


def _report(path: Path) -> Report | None:
    try:
        return Report.model_validate_json(path.read_bytes())
    except ValidationError:
        return None  # another file
