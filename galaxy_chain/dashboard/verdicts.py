"""Verdicts on commits, recomputed by this process in the background, from ledger and content alone, one by one.

What was asked for last comes first, then the newest. What is not to be checked because content is missing is tried
again, with pauses that grow. Nothing that anybody else found is believed, and nothing is remembered longer than this
process lives.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from galaxy_chain.dashboard.background import Background
from galaxy_chain.dashboard.judging import View, judged
from galaxy_chain.dashboard.schema import Judgement, Lie, Progress
from galaxy_chain.exceptions import JobMismatchError
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.structs import Model, Terms
from galaxy_chain.verify.audit import Auditor
from galaxy_fl.content import Store
from galaxy_fl.exceptions import ContentError, GalaxyError, JobDocumentError
from galaxy_fl.patience import Backoff

__all__ = ["Found", "Job", "Judge", "key_of"]

_log = logging.getLogger(__name__)

FIRST_RETRY, LAST_RETRY = 2.0, 120.0
"""Seconds until what could not be checked is tried again."""
TOLD_EVERY = 0.4
"""Seconds between two words about a computation that runs."""
LONGEST = 1_000

Key = tuple[bytes, int, bytes, bytes]
"""What tells a commit from all others, the same one in another block after a reorganisation included."""


def key_of(commit: Commit) -> Key:
    """What a verdict is about."""
    return commit.word, commit.block, commit.transaction, commit.nodes_content


@dataclass(eq=False)
class Found:
    """What is known of a commit. One thread writes."""

    commit: Commit
    judgement: Judgement = Judgement.WAITING
    progress: Progress | None = None
    missing: str | None = None
    retry_at: float | None = None
    tries: int = 0
    lie: Lie | None = None
    objections: tuple[str, ...] = ()
    seconds: float | None = None
    view: View = field(default_factory=View)
    asked: float = 0.0
    """When somebody wanted to see it."""


class Job(Protocol):
    """A job whose commits are judged."""

    number: int
    asked: float
    """When somebody wanted to see it."""

    @property
    def closed(self) -> bool:
        """Whether it is followed no more."""

    @property
    def follower(self) -> JobFollower:
        """What follows it."""

    @property
    def history(self) -> JobHistory:
        """What is known of it; nobody changes it any more."""


class _Ended(Exception):
    """The dashboard ends."""


@dataclass(eq=False)
class _Docket:
    """The commits of one job."""

    job: Job
    begins: tuple[Terms, Model]
    """What the job was registered with."""
    found: dict[Key, Found] = field(default_factory=dict)
    auditor: Auditor | None = None
    problem: str | None = None
    """Why none can be judged."""
    retry_at: float = 0.0
    tries: int = 0


class Judge(Background):
    """Judges the commits of the jobs that are looked at, in a thread of its own between `start` and `stop`.

    Args:
        ledger: To read.
        store: Where the contents are.
        home: Where the keys of sealed jobs are, for those who have some.
        tell: Called with a job's number and a round whenever its verdict, or how far it is, has changed.
    """

    def __init__(
        self, ledger: LedgerContract, store: Store, home: Path | None, tell: Callable[[int, int], None]
    ) -> None:
        super().__init__("judges commits")
        self._ledger = ledger
        self._store = store
        self._home = home
        self._tell = tell
        self._dockets: dict[int, _Docket] = {}
        self.store_problem: str | None = None
        """Why the store can't be used, as far as was seen."""

    # What others ask and say

    def take(self, job: Job) -> None:
        """Take what a job's history has now: new commits are judged, and those of another chain forgotten."""
        history = job.history
        commits = {key_of(commit): commit for commit in (*history.commits.values(), *history.void.values())}
        with self._changed:
            if job.closed:  # its last look has taken longer than its being dropped
                return
            docket = self._dockets.get(job.number)
            if docket is None or docket.job is not job or docket.begins != (history.terms, history.initial):
                # What followed it before may be closed. Another job may have this number after a reorganisation.
                docket = self._dockets[job.number] = _Docket(job, (history.terms, history.initial))
            docket.found = {key: docket.found.get(key) or Found(commit) for key, commit in commits.items()}
            self._changed.notify_all()

    def drop(self, job: Job) -> None:
        """Forget a job; not one of its number that is followed since."""
        with self._changed:
            docket = self._dockets.get(job.number)
            if docket is not None and docket.job is job:
                del self._dockets[job.number]

    def found(self, job: int, commit: Commit, asked: bool = False) -> Found | None:
        """What is known of a commit; if it is asked for, it comes before others."""
        with self._changed:
            docket = self._dockets.get(job)
            found = None if docket is None else docket.found.get(key_of(commit))
            if found is not None and asked:
                found.asked = time.monotonic()
                self._changed.notify_all()
            return found

    def all(self, job: int) -> list[Found]:
        """What is known of all commits of a job."""
        with self._changed:
            docket = self._dockets.get(job)
            return [] if docket is None else list(docket.found.values())

    def problem(self, job: int) -> str | None:
        """Why no commit of a job can be judged."""
        with self._changed:
            docket = self._dockets.get(job)
            return None if docket is None else docket.problem

    # The work

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (case := self._next()) is None:
                    self._changed.wait(self._pause())
                if self._closed or case is None:
                    return
            docket, found = case
            before = found.judgement, found.missing
            try:
                self._judge(docket, found)
            except _Ended:
                return
            except Exception as error:  # one commit must not keep the others from being judged
                if not isinstance(error, GalaxyError):
                    _log.exception("round %d of job %d", found.commit.record.round, docket.job.number)
                self._put_off(found, f"it can't be computed: {error or type(error).__name__}")
            if (found.judgement, found.missing) != before:
                self._tell(docket.job.number, found.commit.record.round)

    def _next(self) -> tuple[_Docket, Found] | None:
        """What comes next: what was asked for last, then what is newest."""
        now = time.monotonic()
        best: tuple[tuple[float, int, float, int], _Docket, Found] | None = None
        for docket in self._dockets.values():
            if docket.retry_at > now:
                continue
            for found in docket.found.values():
                if found.judgement is Judgement.UNCHECKED:
                    if found.retry_at is None or found.retry_at > now:
                        continue
                elif found.judgement is not Judgement.WAITING:
                    continue
                # What has been tried before waits for what has not, however often somebody looks.
                asked = found.asked if found.tries == 0 else 0.0
                rank = (asked, -found.tries, docket.job.asked, found.commit.block)
                if best is None or rank > best[0]:
                    best = rank, docket, found
        return None if best is None else best[1:]

    def _pause(self) -> float | None:
        """Seconds until something may be tried again."""
        now = time.monotonic()
        times = [
            max(found.retry_at or 0.0, docket.retry_at)
            for docket in self._dockets.values()
            for found in docket.found.values()
            if found.retry_at is not None or (found.judgement is Judgement.WAITING and docket.retry_at > now)
        ]
        return max(0.01, min(times) - now) if times else None

    def _judge(self, docket: _Docket, found: Found) -> None:
        if docket.auditor is None:
            try:
                docket.auditor = Auditor(self._ledger, self._store, docket.job.number, self._home, docket.job.follower)
                docket.problem, docket.tries = None, 0
            except (JobMismatchError, JobDocumentError) as error:
                docket.problem = f"the job itself is not what it says: {error}"[:LONGEST]
            except GalaxyError as error:
                docket.problem = str(error)[:LONGEST]
            if docket.auditor is None:
                docket.tries += 1
                docket.retry_at = time.monotonic() + _again(docket.tries)
                for each in docket.found.values():
                    self._put_off(each, docket.problem or "")
                    each.tries = 0
                return
        began, told = time.monotonic(), 0.0
        view, first = View(), found.tries == 0
        if first:  # what was tried before is shown as it was, until there is more to say
            found.judgement, found.view = Judgement.COMPUTING, view

        def at(done: int, total: int, what: str) -> None:
            nonlocal told
            if self._closed:
                raise _Ended
            found.progress = Progress(done=done, total=total, what=what)
            if first and time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                self._tell(docket.job.number, found.commit.record.round)

        docket.auditor.history = docket.job.history  # which nobody changes: a check ends with what it began with
        try:
            result = judged(docket.auditor, found.commit, view, at)
        except ContentError as error:
            self.store_problem = str(error)[:LONGEST]
            docket.tries += 1
            docket.retry_at = time.monotonic() + _again(docket.tries)
            self._put_off(found, str(error))
            return
        self.store_problem, docket.tries = None, 0
        found.seconds, found.progress, found.view = time.monotonic() - began, None, view
        if result.missing is not None:
            self._put_off(found, result.missing)
            return
        found.lie, found.objections, found.missing, found.retry_at = result.lie, result.objections, None, None
        found.judgement = Judgement.RIGHT if result.lie is None else Judgement.WRONG

    @staticmethod
    def _put_off(found: Found, missing: str) -> None:
        if found.judgement in (Judgement.RIGHT, Judgement.WRONG):
            return
        found.tries += 1
        found.missing, found.progress = missing[:LONGEST], None
        found.retry_at = time.monotonic() + _again(found.tries)
        found.judgement = Judgement.UNCHECKED


def _again(tries: int) -> float:
    return Backoff(FIRST_RETRY, LAST_RETRY, 2.0).after(tries)
