"""One job that browsers look at: followed by a thread of its own, and read by all others under its lock."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from galaxy_chain.dashboard.epsilon import Epsilons
from galaxy_chain.dashboard.measured import Measurements
from galaxy_chain.dashboard.schema import Update
from galaxy_chain.dashboard.tally import Tally
from galaxy_chain.dashboard.timeline import Timeline
from galaxy_chain.exceptions import RpcError, UnknownJobError
from galaxy_chain.following.follower import Applied, JobFollower, Reverted
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_chain.ledger.structs import NEVER
from galaxy_fl.exceptions import GalaxyError

if TYPE_CHECKING:
    from galaxy_chain.dashboard.verdicts import Judge
    from galaxy_chain.ledger.contract import LedgerContract

__all__ = ["FollowedJob"]

_log = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
"""Seconds until a job is looked at though nobody has said that there is a new block."""
LONGEST = 1_000


class FollowedJob:
    """A job's history and timeline up to the newest block seen, from `start` to `stop`.

    Whoever reads holds `lock` meanwhile; `history` is a copy that nobody changes, and needs none.

    Args:
        ledger: To read.
        number: The job's.
        database: A file for what is known of it, which is this process's own.
        measurements: What participants of this machine have measured of it.
        judge: Takes what is committed.
        tell: Tells browsers.

    Attributes:
        ready: Set once its events have been read, or can't be.
        problem: Why it can't be followed at the moment.
        unknown: Whether the ledger has no such job.
    """

    def __init__(
        self,
        ledger: LedgerContract,
        number: int,
        database: Path,
        measurements: Measurements,
        judge: Judge,
        tell: Callable[[str, Update], None],
    ) -> None:
        self.number = number
        self.asked = time.monotonic()
        self.ready = threading.Event()
        self.lock = threading.RLock()
        self.problem: str | None = None
        self.unknown = False
        self.measurements = measurements
        self.timeline = Timeline()
        self.tally = Tally()
        self.epsilon = Epsilons()
        self.block, self.chain_time = -1, 0
        self._ledger = ledger
        self._database = database
        self._judge = judge
        self._tell = tell
        self._follower: JobFollower | None = None
        self._history: JobHistory | None = None
        self._closed = False
        self._awake = threading.Event()
        self._closing_told = -1
        self._thread = threading.Thread(target=self._follow, name=f"follows job {number}", daemon=True)

    def start(self) -> None:
        """Begin to follow it."""
        self._thread.start()

    def wake(self) -> None:
        """Look at it: the chain has moved on."""
        self._awake.set()

    def stop(self, seconds: float = 5.0) -> None:
        """Follow it no more, and wait that long for the last look to end."""
        self._closed = True
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    @property
    def closed(self) -> bool:
        """Whether it is followed no more."""
        return self._closed

    @property
    def there(self) -> bool:
        """Whether there is something to show."""
        return self._history is not None

    @property
    def history(self) -> JobHistory:
        """What is known of it; nobody changes it any more."""
        assert self._history is not None, "asked before the job's events were read"
        return self._history

    @property
    def follower(self) -> JobFollower:
        """What follows it; for its thread, and for what is made sure of once."""
        assert self._follower is not None, "asked before the job's events were read"
        return self._follower

    def commit(self, word: bytes, round: int) -> Commit | None:
        """The commit of a record, whether it stands or not."""
        standing = self.history.commits.get(round)
        return standing if standing is not None and standing.word == word else self.history.void.get(word)

    @property
    def is_closed(self) -> bool:
        """Whether the round that runs takes no more updates."""
        history = self.history
        full = len(history.entries) >= history.terms.max_clients
        return full or (history.closes_at != NEVER and self.chain_time >= history.closes_at)

    # The thread

    def _follow(self) -> None:
        try:
            while not self._closed:
                self._awake.clear()
                try:
                    self._look()
                except UnknownJobError as error:
                    self._fail(error, unknown=self._history is None)
                except GalaxyError as error:
                    self._fail(error)
                except Exception as error:  # shown on the page, and looked at again
                    _log.exception("job %d", self.number)
                    self._fail(error)
                self._awake.wait(LONGEST_PAUSE if self.problem is None else 2.0)
        finally:
            if self._follower is not None:
                self._follower.close()
            with suppress(OSError):
                self._database.unlink(missing_ok=True)

    def _fail(self, error: Exception, *, unknown: bool = False) -> None:
        problem = (str(error) or type(error).__name__)[:LONGEST]
        told, self.problem, self.unknown = self.problem == problem, problem, unknown
        self.ready.set()
        if not told:
            if not isinstance(error, RpcError):
                _log.warning("job %d: %s", self.number, error)
            self._tell("job", Update(job=self.number))

    def _look(self) -> None:
        new = self._follower is None
        if self._follower is None:
            self._follower = JobFollower(self._ledger, self.number, self._database)
        else:
            self._follower.poll()
        self._take(new)

    def _take(self, new: bool) -> None:
        """Take what the last look has shown."""
        follower = self.follower
        news = follower.news
        back = any(isinstance(change, Reverted) for change in news)
        changed = new or any(isinstance(change, Applied | Reverted) for change in news)
        recovered = self.problem is not None
        with self.lock:
            self.block, self.chain_time = follower.number, follower.chain_time
            before = set(self.timeline.of_round) if back else set()
            if new or back:
                self.timeline, self.tally, self.epsilon = Timeline(), Tally(), Epsilons()
                for event in follower.events():
                    self.timeline.apply(event)
            else:
                for change in news:
                    if isinstance(change, Applied) and (event_ := ledger_abi().event(change.log.entry)) is not None:
                        self.timeline.apply(event_)
            if changed:
                self._history = follower.history.snapshot()
            rounds = self.timeline.changed | before
            self.timeline.changed = set()
            self.problem, self.unknown = None, False
            closed = self.is_closed
        if changed:
            self._judge.take(self)
        self.ready.set()
        measured = self.measurements.changed()
        if changed or recovered or measured:
            self._tell("job", Update(job=self.number))
            self._tell("jobs", Update(job=self.number))
        if measured:
            rounds |= {max(self.timeline.of_round, default=1)} | {max(1, max(self.timeline.of_round, default=1) - 1)}
        attempt = self.history.attempt
        if closed and self._closing_told != attempt:
            self._closing_told = attempt
            rounds.add(self.history.round)
        if rounds:
            self._tell("rounds", Update(job=self.number, first=min(rounds), last=max(rounds)))
