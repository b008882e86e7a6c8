"""The ledger that the dashboard shows, looked at by one thread for all browsers, however many there are."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from galaxy_chain.dashboard.epsilon import Epsilons
from galaxy_chain.dashboard.events import Hub
from galaxy_chain.dashboard.job import FollowedJob
from galaxy_chain.dashboard.measured import Measurements
from galaxy_chain.dashboard.receipts import Receipts
from galaxy_chain.dashboard.schema import Health, Update
from galaxy_chain.dashboard.verdicts import Judge
from galaxy_chain.exceptions import ForeignLedgerError, NoLedgerError, UnknownJobError, WrongChainError
from galaxy_chain.ledger.contract import JobOnLedger, LedgerContract
from galaxy_chain.ledger.genuine import check_code, check_creation
from galaxy_chain.rpc.errors import RpcAnswerError, TooMuchError
from galaxy_chain.rpc.values import Block, quantity
from galaxy_fl.content import Store
from galaxy_fl.content.problems import Refused
from galaxy_fl.exceptions import GalaxyError, JobDocumentError
from galaxy_fl.jobs.document import JobDocument

__all__ = ["Documents", "Source", "WatchedLedger", "doubt_of"]

_log = logging.getLogger(__name__)

MOST_JOBS = 16
"""Jobs that are followed at a time; the one that nobody has asked for longest is let go."""
NEWEST = 3
"""Jobs, the newest ones, that are followed before anybody asks for them."""
MOST_ROWS = 2_000
MOST_DOCUMENTS = 2_000
MOST_DOCUMENT_BYTES = 16 * 2**20
"""Of all documents that are remembered: read, one takes several times its bytes, and anybody may register one."""
DOCUMENT_RETRY = 15.0
"""Seconds until a document that was missing is looked for again."""
FIRST_ANSWER = 0.3
"""Seconds that an answer waits for a document."""
MOST_TOLD = 20
"""Jobs that are named when many have changed at once."""
LOADING_SECONDS = 2.0
"""Seconds that an answer waits for a job's events, the first time."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a dashboard shows, and how it is named.

    Attributes:
        ledger: To read.
        store: Where the contents are.
        store_name: What it is called on the page.
        home: Folder with the metrics of this machine's servers, and with the keys of sealed jobs for those who have
            some.
        reports: Folder with reports and metrics of participants; None for none.
        content: Below which a content id is linked; None where nothing serves contents.
        local: The folder of the contents that the dashboard itself gives out; None for none.
        options: The options with which another command looks at the same ledger and store.
        poll: Seconds between two looks at the chain.
        doubt: Why the contract is not the ledger that is known here; None where it is.
    """

    ledger: LedgerContract
    store: Store
    store_name: str
    home: Path
    reports: Path | None = None
    content: str | None = None
    local: Path | None = None
    options: str = ""
    poll: float = 1.0
    doubt: str | None = None


class Documents:
    """Job documents, got in the background and remembered: whoever asks waits for a moment at most.

    Args:
        store: Where they are.
        tell: Called once there is one that somebody has asked for in vain.
    """

    def __init__(self, store: Store, tell: Callable[[], None]) -> None:
        self._store = store
        self._tell = tell
        self._known: dict[bytes, tuple[JobDocument | None, str | None, float]] = {}
        self._sizes: dict[bytes, int] = {}
        self._coming: dict[bytes, threading.Event] = {}
        self._in_vain: set[bytes] = set()
        self._lock = threading.Lock()
        self._wanted: SimpleQueue[bytes] = SimpleQueue()
        for number in (1, 2):  # they end with the process: a store that keeps one waiting does not keep that
            threading.Thread(target=self._work, name=f"gets documents {number}", daemon=True).start()

    def get(self, spec: bytes, wait: float = FIRST_ANSWER) -> tuple[JobDocument | None, str | None]:
        """A document by its digest, or why there is none."""
        with self._lock:
            known = self._known.get(spec)
            if known is not None and (known[0] is not None or known[2] > time.monotonic()):
                return known[:2]
            coming = self._coming.get(spec)
            if coming is None:
                coming = self._coming[spec] = threading.Event()
                self._wanted.put(spec)
        coming.wait(wait)
        with self._lock:
            if not coming.is_set():
                self._in_vain.add(spec)
            return self._known.get(spec, (None, "it is being looked for", 0.0))[:2]

    def _work(self) -> None:
        while spec := self._wanted.get():
            self._get(spec)

    def _get(self, spec: bytes) -> None:
        document, problem, size = None, None, 0
        try:
            data = self._store.block(spec)
            document, size = JobDocument.from_bytes(data), len(data)
        except JobDocumentError as error:
            problem = f"it is not a job document: {error}"[:1000]
        except GalaxyError as error:
            problem = str(error)[:1000]
        except Exception as error:  # a hostile one must not take the thread away
            _log.exception("the job document %s", spec.hex())
            problem = f"it can't be read: {type(error).__name__}"
        with self._lock:
            self._forget(spec)
            self._sizes[spec] = size
            while len(self._known) >= MOST_DOCUMENTS or (
                self._known and sum(self._sizes.values()) > MOST_DOCUMENT_BYTES
            ):
                self._forget(next(iter(self._known)))
            self._known[spec] = document, problem, time.monotonic() + DOCUMENT_RETRY
            self._coming.pop(spec).set()
            late = spec in self._in_vain
            self._in_vain.discard(spec)
        if late:
            self._tell()

    def _forget(self, spec: bytes) -> None:
        self._known.pop(spec, None)
        self._sizes.pop(spec, None)

    def close(self) -> None:
        """Get none any more."""
        for _ in (1, 2):
            self._wanted.put(b"")


class WatchedLedger:
    """The ledger and the jobs that are looked at, between `start` and `stop`.

    Args:
        source: What is shown.
        hub: What tells browsers.
    """

    def __init__(self, source: Source, hub: Hub) -> None:
        self.source = source
        self.hub = hub
        self.ledger = source.ledger
        self.judge = Judge(source.ledger, source.store, source.home, self._judged)
        self.receipts = Receipts(source.ledger, self._looked_up)
        self.documents = Documents(source.store, lambda: hub.tell("jobs", Update()))
        self.health = Health.OK
        self.problem: str | None = None
        self.head: Block | None = None
        self.count = 0
        self.doubt = source.doubt
        self._since: float | None = None
        self._jobs: dict[int, FollowedJob] = {}
        self._rows: dict[int, JobOnLedger] = {}
        self._finding: set[int] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._folder = tempfile.TemporaryDirectory(prefix="galaxy-dashboard-", ignore_cleanup_errors=True)
        self._thread = threading.Thread(target=self._watch, name="watches the ledger", daemon=True)

    @property
    def wrong_for(self) -> float | None:
        """For how many seconds the node has been away, or wrong."""
        since = self._since
        return None if since is None else time.monotonic() - since

    def start(self) -> None:
        """Look at the ledger once, and begin to watch it.

        Raises:
            GalaxyError: the node, or the ledger, is not there.
        """
        self._look()
        self.judge.start()
        self.receipts.start()
        self._follow_newest()
        self._thread.start()

    def stop(self) -> None:
        """Watch it no more. Looks that are under way have some seconds."""
        self._closed.set()
        with self._lock:
            jobs = list(self._jobs.values())
            self._jobs.clear()
        for job in jobs:
            job.stop(0)  # all are told before any is waited for
        for part in (self.judge, self.receipts):
            part.stop()
        for job in jobs:
            job.stop()
        if self._thread.is_alive():
            self._thread.join(5)
        self.documents.close()
        self._folder.cleanup()

    # What is asked

    def row(self, number: int) -> JobOnLedger:
        """What the ledger stores of a job, not older than the newest block that was seen.

        Raises:
            GalaxyError: the node fails, or there is no such job.
        """
        with self._lock:
            known = self._rows.get(number)
        if known is not None:
            return known
        head = self.head
        row = self.ledger.job_of(number)
        with self._lock:
            if head is self.head and len(self._rows) < MOST_ROWS:
                self._rows[number] = row
        return row

    def following(self, number: int) -> FollowedJob | None:
        """A job, if it is followed already and there is something to show."""
        with self._lock:
            job = self._jobs.get(number)
        return job if job is not None and job.there else None

    @contextmanager
    def reading(self, number: int) -> Iterator[FollowedJob]:
        """A job that is read under its lock; it is followed from now on.

        Raises:
            Refused: its events are being read, or can't be.
            UnknownJobError: there is none of that number.
        """
        job = self.job(number)
        with job.lock:
            yield job

    def job(self, number: int) -> FollowedJob:
        """A job, which is followed from now on.

        Raises:
            Refused: its events are being read, or can't be.
            UnknownJobError: there is none of that number.
        """
        if number > self.count:
            # It may be newer than the last look; whoever makes numbers up does not have them followed.
            self.count = max(self.count, self.ledger.jobs())
            if number > self.count:
                raise UnknownJobError(f"there is no job {number}: the ledger has {self.count}")
        gone: FollowedJob | None = None
        with self._lock:
            if self._closed.is_set():
                raise Refused(503, "busy", "the dashboard ends")
            job = self._jobs.get(number)
            if job is None:
                if len(self._jobs) >= MOST_JOBS:
                    gone = min(self._jobs.values(), key=lambda each: each.asked)
                    del self._jobs[gone.number]
                job = self._jobs[number] = self._new(number)
                job.start()
            job.asked = time.monotonic()
        if gone is not None:
            gone.stop(0)
            self.judge.drop(gone)
        job.ready.wait(LOADING_SECONDS)
        if job.unknown:
            raise UnknownJobError(f"there is no job {number} on the ledger any more")
        if not job.there:
            if job.problem is not None:
                raise Refused(503, "ledger", f"job {number} can't be read: {job.problem}", {"Retry-After": "2"})
            raise Refused(503, "loading", f"the events of job {number} are being read", {"Retry-After": "1"})
        return job

    def _follow_newest(self) -> None:
        """Follow the newest jobs, where there is room, so that their commits are judged before somebody looks."""
        with self._lock:
            for number in range(max(1, self.count - NEWEST + 1), self.count + 1):
                if number not in self._jobs and len(self._jobs) < MOST_JOBS and not self._closed.is_set():
                    job = self._jobs[number] = self._new(number)
                    job.asked = 0.0  # whoever asks comes first, and this one goes first
                    job.start()

    def _new(self, number: int) -> FollowedJob:
        source, address = self.source, self.ledger.address
        name = f"{address}-{number}.jsonl"
        folders = [source.home / "metrics"]
        if source.reports is not None:
            folders += [source.reports, source.reports / "metrics"]
        measured = Measurements(number, [folder / name for folder in folders], source.reports)
        database = Path(self._folder.name) / f"{number}-{time.monotonic_ns()}.sqlite"
        return FollowedJob(self.ledger, number, database, measured, self.judge, self.hub.tell)

    def find_epsilon(self, job: FollowedJob) -> None:
        """Have found out what the clients of a private job have spent, where something new has happened."""
        document, _ = self.documents.get(job.history.terms.spec)
        if document is None or document.privacy is None or job.epsilon.of == Epsilons.key(job.history):
            return
        with self._lock:
            if job.number in self._finding or self._closed.is_set():
                return
            self._finding.add(job.number)
        threading.Thread(
            target=self._find_epsilon, args=(job, document), name=f"epsilon of job {job.number}", daemon=True
        ).start()

    def _find_epsilon(self, job: FollowedJob, document: JobDocument) -> None:
        try:
            job.epsilon.find(job.history, document)
        except GalaxyError as error:
            _log.warning("job %d: what its clients have spent can't be found out: %s", job.number, error)
            job.epsilon.of = Epsilons.key(job.history)
        finally:
            with self._lock:
                self._finding.discard(job.number)
        self.hub.tell("job", Update(job=job.number))

    # The thread

    def _watch(self) -> None:
        while not self._closed.wait(self.source.poll):
            try:
                self._look()
            except (WrongChainError, NoLedgerError) as error:
                self._fail(Health.WRONG, error)
            except GalaxyError as error:
                self._fail(Health.AWAY, error)
            except Exception as error:
                _log.exception("the ledger %s", self.ledger.address)
                self._fail(Health.WRONG, error)

    def _fail(self, health: Health, error: Exception) -> None:
        problem = (str(error) or type(error).__name__)[:1000]
        told = self.health is health
        self.health, self.problem = health, problem
        if self._since is None:
            self._since = time.monotonic()
        if not told:
            _log.warning("the node: %s", problem)
            self.hub.tell("ledger", Update())

    def _look(self) -> None:
        """Look at the newest block.

        Raises:
            GalaxyError: the node fails.
        """
        rpc = self.ledger.rpc
        latest = rpc.block("latest")
        back = self.health is not Health.OK
        if back or self.head is None:
            # Somebody may have begun another chain meanwhile, where the same address is nobody's, or another's.
            check_code(rpc, self.ledger.address, any_ledger=True)
        before = self.head
        if not back and before is not None and latest.identity == before.identity:
            return
        count, touched = self.ledger.jobs(), self._touched(before, latest)
        new = count != self.count
        with self._lock:
            for number in list(self._rows) if touched is None else touched:
                self._rows.pop(number, None)
            self.head, self.count = latest, count
            jobs = list(self._jobs.values())
        self.health, self.problem, self._since = Health.OK, None, None
        for job in jobs:
            job.wake()
        if new and before is not None:
            self._follow_newest()
        self.hub.tell("ledger", Update(block=latest.number))
        if new or touched is None or len(touched) > MOST_TOLD:
            self.hub.tell("jobs", Update())
        else:
            for number in sorted(touched):
                self.hub.tell("jobs", Update(job=number))

    def _touched(self, before: Block | None, latest: Block) -> set[int] | None:
        """The jobs that something has happened to since a block; None where that can't be said: any may have."""
        if before is None or latest.number <= before.number or latest.number - before.number > 500:
            return None
        rpc = self.ledger.rpc
        next_ = latest.number == before.number + 1
        if (latest.parent if next_ else rpc.block(before.number).identity) != before.identity:
            return None
        where = {"address": self.ledger.address, "fromBlock": hex(before.number + 1), "toBlock": hex(latest.number)}
        try:
            logs = rpc.request("eth_getLogs", where)
            found = {quantity(each["topics"][1]) for each in logs}
        except (RpcAnswerError, TooMuchError, AttributeError, IndexError, KeyError, TypeError):
            return None
        return None if None in found else {number for number in found if number is not None}

    def _judged(self, job: int, round: int) -> None:
        self.hub.tell("verdict", Update(job=job, round=round))

    def _looked_up(self, job: int, round: int) -> None:
        self.hub.tell("rounds", Update(job=job, first=round, last=round))


def doubt_of(ledger: LedgerContract) -> str | None:
    """Why a contract is not the ledger that is known here; None where it is.

    Raises:
        RpcError: the node fails.
    """
    try:
        check_code(ledger.rpc, ledger.address)
        check_creation(ledger.rpc, ledger.address, ledger.first_block)
    except ForeignLedgerError as error:
        return str(error)
    return None
