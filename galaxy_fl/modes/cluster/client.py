"""A client of a cluster: the server's jobs, each behind the coordinator that the client's loop talks to."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from galaxy_fl.content import ContentId, Finished, LocalStore, Store, parse
from galaxy_fl.content.fetched_once import expect_room, fetched_once
from galaxy_fl.content.http_store import HttpStore
from galaxy_fl.exceptions import (
    ContentAlteredError,
    ContentError,
    ContentMissingError,
    GalaxyError,
    JobDocumentError,
    RoundMovedOnError,
)
from galaxy_fl.files import check_name
from galaxy_fl.jobs.document import JobDocument, SourceModel
from galaxy_fl.jobs.first_model import check_first_model
from galaxy_fl.modes.cluster.connection import PATIENCE, Connection
from galaxy_fl.modes.cluster.messages import (
    PRESENT,
    GaveUp,
    Heartbeat,
    Job,
    Jobs,
    Participation,
    PreviousUpdates,
    Standing,
    Submission,
)
from galaxy_fl.patience import Recent
from galaxy_fl.rounds.coordinator import Origin, Phase, Previous, Round, WithoutLedger, vector_of
from galaxy_fl.rounds.kept import kept_folder
from galaxy_fl.vectors import Vector

__all__ = ["ClusterClientCoordinator", "ClusterClientPlace", "Sources"]

Sources = Callable[[Path], Store]
"""Opens a store in a folder, with further sources behind it."""

_LOOK = 2.0
"""How often a client asks for jobs at most, in seconds: a server has many clients."""
UNUSED = 30 * 86_400.0
"""Seconds after which a base that no job has asked for is removed, when another is fetched."""
_SENDINGS = 3
"""How often an update is sent that does not arrive as it was."""


class ClusterClientPlace:
    """A server, to a client.

    Args:
        url: The server's.
        client_id: What the client is called there.
        folder: Where it keeps its secret.
        authority: A certificate to trust; None for the system's.
        patience: How long the server may be away, in seconds.
        sources: As `ClusterClientCoordinator`.
        named: Ids of the jobs to take part in, also if they are over; None for all that are not over.
        asks: Another client's place of the same program at the same server, which asks for jobs for this one as well;
            None to ask oneself.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        folder: Path,
        authority: Path | None = None,
        patience: float = PATIENCE,
        sources: Sources | None = None,
        named: Sequence[str] | None = None,
        asks: ClusterClientPlace | None = None,
    ) -> None:
        self._named = named
        self.connection = Connection(url, check_name("client_id", client_id), folder, authority, patience)
        self.heart = Heart(self.connection)
        self._sources = sources
        self._running: Callable[[], Sequence[str]] = Recent(self._ask, _LOOK) if asks is None else asks.jobs

    @property
    def name(self) -> str:
        """The server's URL."""
        return self.connection.url

    def jobs(self) -> Sequence[str]:
        """Those named, or those that are not over, oldest first, as of a moment ago.

        A server that is away is not waited for.
        """
        if self._named is not None:
            return self._named
        return self._running()

    def _ask(self) -> Sequence[str]:
        return self.connection.ask(Jobs, "/jobs", patience=0).jobs

    def open(self, job_id: str) -> ClusterClientCoordinator:
        """A job to take part in."""
        return ClusterClientCoordinator(self.connection, self.heart, check_name("job_id", job_id), self._sources)

    def close(self) -> None:
        """Leaves the server."""
        self.heart.stop()
        self.connection.close()


class Heart:
    """Tells the server which jobs its client takes part in, in a thread of its own, so that it is waited for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: weakref.WeakSet[ClusterClientCoordinator] = weakref.WeakSet()
        self._changed = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def enter(self, job: ClusterClientCoordinator) -> None:
        """The client takes part in a job from now on, for as long as its coordinator lives."""
        with self._lock:
            self._jobs.add(job)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._beat, name=f"heartbeat to {self._connection.url}", daemon=True
                )
                self._thread.start()

    def leave(self, job: ClusterClientCoordinator) -> None:
        """The client no longer takes part in a job; the server hears of it at once."""
        with self._lock:
            if job in self._jobs:
                self._jobs.discard(job)
                self._changed.set()

    def stop(self) -> None:
        """Leaves all jobs."""
        with self._lock:
            self._jobs.clear()
            self._stopped = True
            self._changed.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        while True:
            self._changed.clear()  # first, so that no change is missed
            stopped = self._stopped
            with self._lock:
                jobs = sorted({job.job_id for job in self._jobs})
            with suppress(GalaxyError):  # the loops of the jobs say what is wrong
                self._connection.tell("/heartbeat", Heartbeat(jobs=jobs), patience=0)
            if stopped:
                return
            self._changed.wait(PRESENT / 3)


class ClusterClientCoordinator(WithoutLedger):
    """A job of a server.

    Args:
        sources: Makes a store of further sources in a folder, which are asked before the server is; None for none.

    Raises:
        UnreachableError: the server was away for too long.
        JobDocumentError, ContentError: what it says of the job can't be.
    """

    shares_folder = False

    def __init__(self, connection: Connection, heart: Heart, job_id: str, sources: Sources | None = None) -> None:
        self.job_id = job_id
        self.account = connection.client_id
        self.origin = Origin(own=False, name=connection.url)
        self._connection = connection
        self._heart = heart
        said = connection.ask(Job, f"/jobs/{job_id}")
        self.rounds = self.planned = said.rounds
        self._folder = Path(tempfile.mkdtemp(prefix="galaxy-cluster-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._copies = LocalStore(self._folder)
        self._sources = sources
        self._further = None if sources is None else sources(self._folder)
        self._store = HttpStore(connection, self._copies, f"/jobs/{job_id}")
        self.job = JobDocument.from_bytes(self._store.block(parse(said.document)[0]))
        self._parameters = self.job.tensors.parameters
        if said.parameters != self._parameters:
            raise JobDocumentError(
                f"job {job_id} of {connection.url} has vectors of {said.parameters} parameters, but its document says "
                f"{self._parameters}"
            )
        self.kept: Path | None = kept_folder(connection.folder, job_id, connection.client_id, self.job)
        self._fetched: dict[str, ContentId] = {}
        """What is kept here, or was to be."""
        self._standing: Standing | None = None
        self._done = 0
        """The last attempt that wants nothing more of this client."""

    def source(self) -> bytes:
        """The source of the job's model, verified."""
        assert isinstance(self.job.model, SourceModel)
        return self._store.block(parse(self.job.model.source)[0])

    def base(self, fetch: bool = True) -> Path | None:
        """The file of the job's frozen and personal tensors, verified. It is fetched once into the client's folder, for
        all clients there, and removed when no job has used it for a month."""
        assert self.job.base is not None
        folder, content = self._connection.folder / "res" / "bases", self.job.base.id
        if not fetch and not LocalStore(folder).has(content):
            return None

        def get() -> Path:
            copies = LocalStore(folder)
            if not copies.renew(content):
                copies.gc(UNUSED)
                expect_room(content, folder, "the base of the job, its frozen and personal tensors,")
                if self._sources is not None:
                    with suppress(ContentError):  # then the server has it
                        return self._sources(folder).path(content)
            return HttpStore(self._connection, copies, f"/jobs/{self.job_id}").path(content)

        return fetched_once(content, folder.with_name("base-locks"), get)

    def has_taken_part(self) -> bool:
        """Whether this client has submitted an update in a round of the job, as the server says."""
        if self._standing is None:
            self.round()
        assert self._standing is not None
        return self._standing.took_part

    def round(self) -> Round:
        """Where the job stands now."""
        return self._stands(self._connection.ask(Standing, f"/jobs/{self.job_id}/state"))

    def wait(self, seen: Round) -> Round:
        """Where the job stands once that is no longer `seen`. The server keeps the question open."""
        target = f"/jobs/{self.job_id}/state?after={seen.attempt}/{seen.phase.value}"
        while (round := self._stands(self._connection.ask(Standing, target))) == seen:
            continue
        return round

    def _stands(self, standing: Standing) -> Round:
        self._standing = standing
        if standing.submitted:
            self._done = max(self._done, standing.attempt)
        round = Round(standing.round, standing.attempt, standing.phase, 0)
        if round.phase is Phase.FINISHED:  # it may have been ended early
            self.rounds = round.number - 1
        if round.phase is Phase.CANCELLED:
            self._heart.leave(self)
        return round

    def model(self, round: Round) -> Path:
        """The vector file of the round's model, fetched and verified. It stays until the next one is asked for."""
        cid = self._expect(round).model
        self._keep_only({cid})
        path = self._fetch(cid, round, self.job.lanes)
        if round.number == 1:
            check_first_model(self.job, path)
        if round.over:
            self._heart.leave(self)
        return path

    def _keep_only(self, cids: set[str]) -> None:
        for cid in self._copies.pins() - cids:
            self._copies.unpin(self._fetched.pop(cid))
        self._copies.gc(grace_seconds=0)

    def _fetch(self, cid: str, round: Round, lanes: int = 1) -> Path:
        content = self._fetched[cid] = ContentId.from_cid(cid, 4 * lanes * self._parameters)
        path = None
        if self._further is not None and not self._copies.has(content):
            with suppress(ContentError):  # then the server has it
                path = self._further.path(content)
        try:
            path = path or self._read(content)
        except ContentMissingError:
            self.round()
            self._expect(round)  # if the round is over, that is why
            raise
        self._copies.pin(content)
        return path

    def _read(self, content: ContentId) -> Path:
        try:
            return self._store.path(content)
        except ContentAlteredError:  # once more, should it have been the network
            return self._store.path(content)

    def _expect(self, round: Round) -> Standing:
        if self._standing is None or self._standing.attempt != round.attempt:
            self.round()
        assert self._standing is not None
        if self._standing.attempt != round.attempt:
            raise RoundMovedOnError(
                f"job {self.job_id} is at attempt {self._standing.attempt}, no longer at {round.attempt} (round "
                f"{round.number})"
            )
        return self._standing

    def enter(self, samples: int) -> None:
        """Takes part, with that many samples. From now on the server waits for this client."""
        self._connection.tell(f"/jobs/{self.job_id}/clients", Participation(samples=samples))
        self._heart.enter(self)

    def wants_update(self, round: Round) -> bool:
        """Whether the round collects and this client has not been part of it yet."""
        return round.phase is Phase.COLLECTING and round.attempt > self._done

    def previous(self, round: Round) -> Previous:
        """What this client submitted last, and the others in the round before, as far as it is available."""
        target = f"/jobs/{self.job_id}/previous?attempt={round.attempt}"
        found = self._connection.ask(PreviousUpdates, target)
        self._keep_only({self._expect(round).model, *found.peers, *([found.own] if found.own else [])})
        own = None if found.own is None else self._fetch(found.own, round)
        peers = []
        for cid in found.peers:
            with suppress(ContentError):
                peers.append(self._fetch(cid, round))
        if round.over:  # only now is there nothing left to fetch
            self._heart.leave(self)
        return Previous(own, peers)

    def is_settled(self) -> bool:
        """Whether nothing takes the job's end back: nobody does without a ledger."""
        return True

    def submit(self, round: Round, update: Vector | Finished, weight: int) -> int:
        """Uploads the update, in as many pieces as it takes, and submits it; that costs nothing."""
        base = f"/jobs/{self.job_id}/attempts/{round.attempt}"
        store = HttpStore(self._connection, self._copies, base)
        vector = vector_of(update, self._parameters)
        try:
            for sending in range(1, _SENDINGS + 1):
                try:
                    cid = store.put(update if isinstance(update, Finished) else vector.data).cid
                    self._connection.tell(base, Submission(weight=weight, cid=cid))
                    break
                except (ContentAlteredError, ContentMissingError):
                    if sending == _SENDINGS:
                        raise
        finally:
            self._done = round.attempt
        return 0

    def give_up(self, reason: str) -> None:
        """Tells the server that this client can't take part; gone when it does again. A server that is away is not
        waited for."""
        self._connection.tell(f"/jobs/{self.job_id}/gave-up", GaveUp(reason=reason[:1000]), patience=0)

    def retire(self, reason: str) -> None:
        """Tells the server that this client hands in nothing more, and is not to be waited for."""
        self._heart.leave(self)
        self.give_up(reason)

    def close(self) -> None:
        """Leaves: the server no longer waits for this client. The files that it gave are gone."""
        self._heart.leave(self)
        self._remove()
