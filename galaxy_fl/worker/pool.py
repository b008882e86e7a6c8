"""Few processes that train for any number of clients."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from weakref import WeakKeyDictionary

from galaxy_fl.exceptions import ConfigurationError, TrainingError
from galaxy_fl.floor import FLOOR
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.training.results import Evaluation, TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.worker.messages import Prepared, WorkerSettings
from galaxy_fl.worker.served_data import ServedData
from galaxy_fl.worker.worker import Worker

__all__ = ["PoolSession", "WorkerPool", "check_workers"]


PATIENCE = 600.0
"""Seconds of one request after which a job that has nobody at work waits for it no more: one whose code never ends must
not keep all other jobs from training."""


def check_workers(workers: int | None) -> None:
    """Make sure that it is a number of workers, or None.

    Raises:
        ConfigurationError: it is not.
    """
    if workers is not None and (type(workers) is not int or workers < 1):
        raise ConfigurationError(f"workers is {workers!r}, expected a whole number from 1 on")


@dataclass(frozen=True)
class _Asked:
    """What a session was prepared for, so that any worker can be prepared for it again."""

    document: JobDocument
    settings: WorkerSettings
    source: bytes | None
    served: ServedData | None
    base: Path | None
    job: str
    """SHA-256 of the document."""


class PoolSession:
    """One client in one job, trained by whichever worker of a pool is free. Close it, or use it as a context manager.

    Its methods are those of `Worker`, raise what those raise, and may wait for other sessions' requests to be done, job
    by job in the order in which they come; of one job's those come first that a free worker is prepared for. A worker
    that dies while it works on a request fails that one alone, and the next is another worker's. One request at a time.
    """

    def __init__(self, pool: WorkerPool, number: int) -> None:
        self._pool = pool
        self._number = number
        self._asked: _Asked | None = None

    def prepare(
        self,
        document: JobDocument,
        settings: WorkerSettings,
        source: bytes | None = None,
        served: ServedData | None = None,
        base: Path | None = None,
    ) -> Prepared:
        """Load the job's model and the client's data, and try a first step; comes before `train` and `evaluate`."""
        self.close()
        asked = _Asked(document, settings, source, served, base, document.digest)
        self._pool._enter(asked.job)
        self._asked = asked
        try:
            with self._pool._lend(asked.job, self._number) as worker:
                return worker.prepare(document, settings, source, served, base, session=self._number)
        except BaseException:
            self.close()
            raise

    def train(self, task: TrainTask, begin: Callable[[], None] = lambda: None) -> TrainResult:
        """Train from the vector in one file, and write the trained one to another.

        Args:
            task: What to train.
            begin: Called when a worker is free and training begins.
        """
        with self._worker() as worker:
            begin()
            return worker.train(task, self._number)

    def evaluate(self, vector: Path, own: Path | None = None) -> Evaluation:
        """Measure a vector's loss and accuracy on the client's test data, with its own personal tensors in the file."""
        with self._worker() as worker:
            return worker.evaluate(vector, own, self._number)

    @contextmanager
    def _worker(self) -> Iterator[Worker]:
        asked = self._asked
        if asked is None:
            raise TrainingError("the worker has to be prepared first")
        with self._pool._lend(asked.job, self._number) as worker:
            if not worker.has(self._number):
                what = asked.document, asked.settings, asked.source, asked.served, asked.base
                worker.prepare(*what, session=self._number, again=True)
            yield worker

    def close(self) -> None:
        """Have the workers forget it; they end with the last session of their job. Closing twice does nothing."""
        if self._asked is not None:
            job, self._asked = self._asked.job, None
            self._pool._leave(job, self._number)

    def __enter__(self) -> PoolSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(eq=False)
class _Idle:
    worker: Worker
    job: str


@dataclass(eq=False)
class _Turn:
    """A request that waits until a worker may work on it, or is worked on."""

    job: str
    session: int
    come: threading.Event = field(default_factory=threading.Event)
    number: int = field(default_factory=itertools.count().__next__)
    """Those that have come later have a higher one."""


class WorkerPool:
    """A pool of worker processes for all sessions of one operator. Close it, or use it as a context manager.

    Workers are forked when they are needed, so a client alone has one. A worker serves the clients of one job, told by
    its document: sources of two jobs, which may be strangers to each other, never run in one process. An idle worker of
    another job makes room where there are as many as may be; every job with sessions may keep one, so that none has to
    load its data again and again. The data of one operator's clients are in one process.

    Args:
        workers: How many may work at a time; None for as many as this process has processors. Where all of them work
            for other jobs for minutes on end, a job may have one more.

    Raises:
        ConfigurationError: it is not a number of workers.

    Example:
        >>> from galaxy_fl.worker.pool import WorkerPool
        >>> with WorkerPool(2) as pool, pool.session() as one, pool.session() as other:
        ...     pass  # one.prepare(document, settings); one.train(task), each from a thread of its own
    """

    def __init__(self, workers: int | None = None) -> None:
        check_workers(workers)
        self.size = len(os.sched_getaffinity(0)) if workers is None else workers
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._closed = False
        self._jobs: Counter[str] = Counter()
        """How many sessions each job has."""
        self._idle: list[_Idle] = []
        """The one used last at the end."""
        self._busy: dict[Worker, list[int]] = {}
        """With the sessions that were closed meanwhile."""
        self._working: dict[_Turn, float] = {}
        """Those that are worked on, with when that began."""
        self._waiting: dict[_Turn, None] = {}
        """In the order in which they have come."""
        self._lines: WeakKeyDictionary[Worker, deque[_Turn]] = WeakKeyDictionary()
        """Those that each worker is prepared for, in that order; some of them may be over. Of a thousand that wait half
        may be for another worker."""
        self._exporting = threading.Lock()
        self._exported: dict[Path, tuple[str, str, Path | None]] = {}

    def session(self) -> PoolSession:
        """Return a new session, which is to be prepared."""
        return PoolSession(self, next(self._numbers))

    def export(
        self,
        document: JobDocument,
        vector: Path,
        destination: Path,
        sha256: str,
        base: Path | None = None,
        own: Path | None = None,
    ) -> None:
        """Write the state_dict of a job's model as `Worker.export` does, unless that has been done for another client.

        It is done by a process that has run no model's code.

        Args:
            document: The job's.
            vector: The vector's file.
            destination: The file to write.
            sha256: That of the vector, in hexadecimal.
            base, own: As those of `Worker.export`.
        """
        # Of a client's own tensors the personal ones alone are written: without any, the file is the same for all.
        what = document.digest, sha256, own if document.personal else None
        FLOOR.leave()
        with self._exporting:
            beside = destination.with_name(f"{destination.name}.safetensors")
            if self._exported.get(destination) == what and destination.is_file() and beside.is_file():
                return
            with Worker() as clean:
                clean.export(document, vector, destination, base, own)
            self._exported[destination] = what

    def close(self) -> None:
        """End all workers, whatever they are doing, and have all who wait for one raise. Closing twice does nothing."""
        with self._lock:
            self._closed = True
            workers = [*self._busy, *(idle.worker for idle in self._idle)]
            self._idle.clear()
            for turn in self._waiting:
                turn.come.set()
            self._waiting.clear()
        for worker in workers:
            worker.close()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # For its sessions

    def _enter(self, job: str) -> None:
        with self._lock:
            self._jobs[job] += 1

    def _leave(self, job: str, session: int) -> None:
        with self._lock:
            self._jobs[job] -= 1
            over = not self._jobs[job]
            if over:
                del self._jobs[job]
            ended = [idle for idle in self._idle if idle.job == job] if over else []
            self._idle = [idle for idle in self._idle if idle not in ended]
            for idle in self._idle:
                idle.worker.forget(session)
            for closed in self._busy.values():
                closed.append(session)
        for idle in ended:
            idle.worker.close()

    @contextmanager
    def _lend(self, job: str, session: int) -> Iterator[Worker]:
        """A worker of a job, for one request, as soon as there are not too many at work."""
        turn = self._await_turn(job, session)
        worker = None
        try:
            worker = self._take(job, session)
            yield worker
        finally:
            self._give_back(worker, turn)

    def _await_turn(self, job: str, session: int) -> _Turn:
        FLOOR.leave()  # of those who have trained there are as many as workers
        turn = _Turn(job, session)
        with self._lock:
            self._check_open()
            self._enlist(turn)
            self._pass_on()
        try:
            while not turn.come.wait(PATIENCE):
                with self._lock:
                    self._pass_on()
        except BaseException:  # an interrupt
            with self._lock:
                self._waiting.pop(turn, None)
                self._working.pop(turn, None)
                self._pass_on()
            raise
        with self._lock:
            self._check_open()
        return turn

    def _enlist(self, turn: _Turn) -> None:
        self._waiting[turn] = None
        for worker in (*self._busy, *(idle.worker for idle in self._idle)):
            if worker.has(turn.session):
                self._lines.setdefault(worker, deque()).append(turn)

    def _pass_on(self) -> None:
        """Let those begin who have waited longest, as many as may, and of each job that is kept out one."""
        while self._waiting and len(self._working) < self.size:
            self._begin(self._next())
        if self._waiting and min(self._working.values()) <= time.monotonic() - PATIENCE:
            at_work = {turn.job for turn in self._working}
            for turn in list(self._waiting):
                if turn.job not in at_work:
                    at_work.add(turn.job)
                    self._begin(turn)

    def _next(self) -> _Turn:
        """Whose turn it is: of the job that has waited longest one that an idle worker is prepared for, if there is
        any, so that clients are not prepared again and again."""
        first = next(iter(self._waiting))
        prepared = []
        for idle in self._idle:
            if idle.job == first.job and (line := self._lines.get(idle.worker)):
                while line and not (line[0] in self._waiting and idle.worker.has(line[0].session)):
                    line.popleft()
                prepared += [line[0]] if line else []
        return min(prepared, key=lambda turn: turn.number, default=first)

    def _begin(self, turn: _Turn) -> None:
        del self._waiting[turn]
        self._working[turn] = time.monotonic()
        turn.come.set()

    def _check_open(self) -> None:
        if self._closed:
            raise TrainingError("the workers were closed")

    def _take(self, job: str, session: int) -> Worker:
        dead: list[Worker] = []
        with self._lock:
            try:
                self._check_open()
                dead = [idle.worker for idle in self._idle if not idle.worker.alive]
                self._idle = [idle for idle in self._idle if idle.worker not in dead]
                own = [idle for idle in self._idle if idle.job == job]
                if own:
                    chosen = next((idle for idle in own if idle.worker.has(session)), own[-1])
                    self._idle.remove(chosen)
                    self._busy[chosen.worker] = []
                    return chosen.worker
                if self._idle and len(self._idle) + len(self._working) > max(self.size, len(self._jobs)):
                    dead.append(self._make_room())
            finally:
                for worker in dead:
                    worker.close()
        worker = Worker()
        with self._lock:
            self._busy[worker] = []
            closed = self._closed
        if closed:
            worker.close()
        return worker

    def _make_room(self) -> Worker:
        """Take an idle worker away from the job that has most of them, the one that was not used for longest."""
        most = Counter(idle.job for idle in self._idle)
        victim = max(self._idle, key=lambda idle: most[idle.job])  # the first of several
        self._idle.remove(victim)
        return victim.worker

    def _give_back(self, worker: Worker | None, turn: _Turn) -> None:
        ends, job = False, turn.job
        with self._lock:
            if worker is not None:
                for gone in self._busy.pop(worker, ()):
                    worker.forget(gone)
                ends = self._closed or job not in self._jobs or not worker.alive
                if not ends:
                    self._idle.append(_Idle(worker, job))
            self._working.pop(turn, None)
            self._pass_on()
        if ends and worker is not None:
            worker.close()
