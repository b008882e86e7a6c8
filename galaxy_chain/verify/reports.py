"""Reports: a client that has no ether tells a watchtower which node of a commit to look at.

    POST /reports    {"job": 1, "record": "0x…", "node": 3}    202: it will be looked at

Nothing that is reported is believed: the watchtower checks that one node itself. So a report needs no signature, and
what a flood of them costs is bounded by the nodes of the commits that can be challenged, each of which is looked at
once. `report_server.py` listens for them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from galaxy_fl.content.problem import read_problem
from galaxy_fl.validation import Strict

__all__ = ["MOST_BYTES", "Report", "ReportRefusedError", "Reporter", "Reports"]

MOST_WAITING = 10_000
"""Nodes that wait to be looked at."""
MOST_BYTES = 1_000
"""Of a report."""
TRIES = 4
"""How often a report is sent to one that does not know the commit yet."""
_PAUSE = 0.5

_log = logging.getLogger(__name__)


class Report(Strict):
    """Which node of which commit somebody has found wrong or withheld."""

    job: Annotated[int, Field(ge=1, lt=2**64)]
    record: Annotated[str, Field(pattern="^0x[0-9a-f]{64}$")]
    """The word of the commit's record."""
    node: Annotated[int, Field(ge=0, lt=2**32)]

    @property
    def word(self) -> bytes:
        """The word's bytes."""
        return bytes.fromhex(self.record[2:])


class ReportRefusedError(Exception):
    """A report is not taken.

    Attributes:
        status: As an HTTP server answers.
        kind: For programs.
    """

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind


class Reports:
    """What was reported of one job, and not looked at yet. May be used by several threads.

    Args:
        job: The job's number.
    """

    def __init__(self, job: int) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._nodes: Mapping[bytes, int] = {}
        self._waiting: dict[tuple[bytes, int], None] = {}
        self._seen: set[tuple[bytes, int]] = set()

    def expect(self, nodes: Mapping[bytes, int]) -> None:
        """Says which commits can be challenged now, by their words, and how many nodes each has."""
        with self._lock:
            self._nodes = dict(nodes)
            self._waiting = {key: None for key in self._waiting if key[0] in nodes}
            self._seen = {key for key in self._seen if key[0] in nodes}

    def add(self, report: Report) -> None:
        """Takes a report; one that was taken before changes nothing.

        Raises:
            ReportRefusedError: it is of nothing that can be challenged here, or too many wait.
        """
        key = report.word, report.node
        with self._lock:
            if report.job != self._job:
                raise ReportRefusedError(
                    404, "unknown_job", f"job {report.job} is not watched here, but job {self._job}"
                )
            if report.word not in self._nodes:
                detail = "that record can't be challenged, or is not known here yet: report it again in a moment"
                raise ReportRefusedError(404, "unknown_record", detail)
            if report.node > self._nodes[report.word]:
                detail = f"the commit has no node {report.node}: expected 0 to {self._nodes[report.word]}"
                raise ReportRefusedError(422, "invalid", detail)
            if key in self._seen:
                return
            if len(self._waiting) >= MOST_WAITING:
                raise ReportRefusedError(503, "busy", "too many reports wait: report it again later")
            self._waiting[key] = None
            self._seen.add(key)

    def take(self) -> Iterator[tuple[bytes, int]]:
        """The words and nodes that wait, oldest first, each once."""
        while True:
            with self._lock:
                if not self._waiting:
                    return
                key = next(iter(self._waiting))
                del self._waiting[key]
            yield key


class Reporter:
    """Reports to watchtowers what a client finds and can't pay to bring to the ledger itself.

    Args:
        urls: Of the watchtowers.
        job: The job's number.

    Raises:
        ConfigurationError: a URL is none.
    """

    def __init__(self, urls: Sequence[str], job: int) -> None:
        self._urls = list(urls)
        self._job = job
        if urls:
            from galaxy_fl.content.remote import check_url  # which loads httpx

            self._urls = [check_url(url, "a watchtower") for url in urls]

    def report(self, word: bytes, node: int) -> bool:
        """Whether a watchtower has taken a report; what keeps one from it is logged."""
        report = Report(job=self._job, record="0x" + word.hex(), node=node)
        taken = [self._sent(url, report) for url in self._urls]  # to all, whoever is first
        return any(taken)

    def _sent(self, url: str, report: Report) -> bool:
        import httpx

        why = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(_PAUSE * 2**attempt)
            try:
                response = httpx.post(f"{url}/reports", json=report.model_dump(), timeout=10.0)
            except httpx.HTTPError as error:
                why = str(error) or type(error).__name__
                continue
            if response.status_code == 202:
                return True
            kind, why = read_problem(response.headers.get("content-type", ""), response.content[:MOST_BYTES])
            if kind not in ("unknown_record", "busy"):
                break
        _log.warning("the watchtower %s does not take a report of node %d: %s", url, report.node, why)
        return False
