"""The coordinators of a job on a ledger: events in, transactions out, vectors in a content store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from galaxy_chain.exceptions import LedgerRefusedError, NotAdmittedError
from galaxy_chain.job_check import check_job
from galaxy_chain.ledger.follower import JobFollower
from galaxy_chain.ledger.history import JobHistory
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.structs import Model, Status, Submission, Update
from galaxy_chain.ledger.transactions import Receipt
from galaxy_chain.store import ContentId, Store
from galaxy_fl.exceptions import (
    ConfigurationError,
    ContentAlteredError,
    ContentError,
    ContentMissingError,
    RoundMovedOnError,
)
from galaxy_fl.rounds.coordinator import Committed, Phase, Round, Submitted
from galaxy_fl.vectors import Vector, commitment, read_vector, tree_root

__all__ = [
    "LedgerClientCoordinator",
    "LedgerCoordinator",
    "LedgerServerCoordinator",
    "Patience",
    "verified_vector",
]


@dataclass(frozen=True)
class Patience:
    """How long a participant waits between looks, and for what others owe it. Seconds."""

    poll: float = 1.0
    """The longest pause between two looks at the chain; pauses begin at a fraction of it after each event. Raise it
    where requests are dear."""
    content: float = 10.0
    """How long to wait for content that is not there yet. Raise it for a slow network."""


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address."""
    return bytes.fromhex(address[2:])


def verified_vector(store: Store, content: bytes, parameters: int, chunk_parameters: int) -> tuple[Path, bytes]:
    """A vector's file, its bytes checked against the content id, and the root of its chunk tree.

    Args:
        content: The content id's digest, 32 bytes.
        parameters, chunk_parameters: Of the job.

    Raises:
        ContentError: it is not to be had, or altered.
    """
    path = store.path(ContentId(content, 4 * parameters))
    return path, tree_root(read_vector(path, parameters), chunk_parameters)


class LedgerCoordinator:
    """What clients and servers of a ledger's job have in common.

    Args:
        ledger: With the account's transactions.
        store: Where the vectors are.
        job: The job's number.
        submissions: Whether to follow every update.
        patience: How long it waits.

    Raises:
        UnknownJobError: there is no such job.
        JobMismatchError, JobDocumentError, ContentError: the job can't be taken part in.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        job: int,
        *,
        submissions: bool,
        patience: Patience = Patience(),
    ) -> None:
        self.ledger = ledger
        self.store = store
        self.number = job
        self.patience = patience
        self._follower = JobFollower(ledger, job, submissions=submissions)
        self.terms = self.history.terms
        self.job = check_job(ledger, store, job, self.terms)
        self.rounds = self.terms.rounds
        self._closes_at: tuple[int, int] = (0, 0)
        self._model: tuple[Model, Path] | None = None

    @property
    def history(self) -> JobHistory:
        """What the job's events say so far."""
        return self._follower.history

    @property
    def address(self) -> str:
        """The account that takes part."""
        assert self.ledger.transactions is not None
        return self.ledger.transactions.signer.address

    def round(self) -> Round:
        """Where the job stands now."""
        self._follower.poll()
        history = self.history
        return Round(history.round, history.attempt, self._phase(history), len(history.submissions))

    def wait(self, seen: Round) -> Round:
        """Where the job stands once that is no longer `seen`."""
        pause = self.patience.poll / 20
        while (round := self.round()) == seen:
            time.sleep(pause)
            pause = min(self.patience.poll, pause * 1.3)
        return round

    def model(self, round: Round) -> Path:
        """The vector file of the round's model, its content and its root verified."""
        history = self._expect(round)
        wanted = history.model
        if self._model is None or self._model[0] != wanted:
            path = self._vector(wanted.content, lambda root: root == wanted.root, f"the model of round {round.number}")
            self._model = wanted, path
        return self._model[1]

    def _vector(self, content: bytes, belongs: Callable[[bytes], bool], what: str) -> Path:
        deadline = time.monotonic() + self.patience.content
        while True:
            try:
                path, root = verified_vector(self.store, content, self.terms.parameters, self.terms.chunk_parameters)
                break
            except ContentMissingError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(min(0.2, self.patience.content / 10))
        if not belongs(root):
            raise ContentAlteredError(
                f"{what}: the content is what its id says, but the root of its chunk tree, {root.hex()}, "
                "is not the one on the ledger"
            )
        return path

    def _phase(self, history: JobHistory) -> Phase:
        if history.finished:
            return Phase.FINISHED
        if history.status is not Status.RUNNING:
            return Phase.CANCELLED
        if history.attempt != history.origin:
            return Phase.CLOSED  # after a rollback the updates of the round are complete
        count = len(history.submissions)
        if count < self.terms.min_updates:
            return Phase.COLLECTING
        if count < self.terms.max_updates:
            if self._closes_at[0] != history.attempt:
                self._closes_at = history.attempt, self.ledger.job(self.number).state.closes_at
            # The next block can be no earlier than this.
            if max(self._follower.time + 1, int(time.time())) < self._closes_at[1]:
                return Phase.COLLECTING
        return Phase.CLOSED

    def _expect(self, round: Round) -> JobHistory:
        if self.history.attempt != round.attempt:
            raise RoundMovedOnError(
                f"the job is at attempt {self.history.attempt}, no longer at {round.attempt} (round {round.number})"
            )
        return self.history


class LedgerClientCoordinator(LedgerCoordinator):
    """A client of a ledger's job."""

    def __init__(self, ledger: Ledger, store: Store, job: int, patience: Patience = Patience()) -> None:
        super().__init__(ledger, store, job, submissions=False, patience=patience)
        self._done = 0
        """The last attempt that wants nothing more of this client."""

    def enter(self, samples: int) -> None:
        """Joins, if the client has not before."""
        client = self.ledger.client(self.number, self.address)
        if client.samples == 0:
            if not self.terms.open and not client.admitted:
                raise NotAdmittedError(
                    f"{self.address} is not admitted to job {self.number}: ask its owner, {self.history.owner}, to run "
                    f"`galaxy-chain job admit {self.number} {self.address}`",
                    "NotAdmitted",
                    {"client": self.address},
                )
            try:
                self.ledger.transact("join", self.number, samples, bytes(32))
            except LedgerRefusedError as error:
                if error.name != "AlreadyJoined":  # by another process of this account, a moment ago
                    raise
        elif client.samples < samples:
            raise ConfigurationError(
                f"{self.address} joined job {self.number} with {client.samples} samples, but the data set now has "
                f"{samples}: use the data it joined with, or another account"
            )
        self._done = client.attempt

    def wants_update(self, round: Round) -> bool:
        """Whether the round collects and this client has not been part of it yet."""
        return round.phase is Phase.COLLECTING and round.attempt > self._done

    def submit(self, round: Round, update: Vector, weight: int) -> int:
        """Puts the update into the store, then commits to it on the ledger."""
        self._expect(round)
        root = tree_root(update, self.terms.chunk_parameters)
        content = self.store.put(update.data)
        promised = Update(commitment(root, address_bytes(self.address)), content.digest, weight)
        try:
            return self.ledger.transact("submitUpdate", self.number, round.attempt, promised).gas_used
        finally:
            self._done = round.attempt


class LedgerServerCoordinator(LedgerCoordinator):
    """A server of a ledger's job."""

    def __init__(self, ledger: Ledger, store: Store, job: int, patience: Patience = Patience()) -> None:
        super().__init__(ledger, store, job, submissions=True, patience=patience)

    def enter(self) -> None:
        """Brings the account's bond up to what the job asks for."""
        account = self.ledger.account(self.number, self.address)
        if account.amount < self.terms.bond:
            self.ledger.transact("depositBond", self.number, value=self.terms.bond - account.amount)

    def updates(self, round: Round) -> Sequence[Submitted]:
        """The submissions of the round, in order."""
        return [Submitted(s.client, s.update.weight) for s in self._expect(round).submissions]

    def update(self, round: Round, submitted: Submitted) -> Path:
        """The vector file of an update, its content and its commitment verified."""
        update = self._submission(round, submitted).update
        client = address_bytes(submitted.client)
        return self._vector(
            update.content,
            lambda root: commitment(root, client) == update.commitment,
            f"the update of {submitted.client} in round {round.number}",
        )

    def enough(self, usable: int) -> bool:
        """Whether that many make a round."""
        return usable >= self.terms.min_updates

    def commit(self, round: Round, next_model: Path, excluded: Mapping[Submitted, str]) -> Committed:
        """Puts the next model into the store, then commits it on the ledger."""
        history = self._expect(round)
        if len(excluded) > self.terms.max_excluded:
            raise ContentError(
                f"round {round.number}: {len(excluded)} of {len(history.submissions)} updates can't be used, but the "
                f"job lets a server leave out {self.terms.max_excluded}: get their content back into the store and "
                f"start again, or ask the owner to cancel the job ({'; '.join(excluded.values())})"
            )
        root = tree_root(read_vector(next_model, self.terms.parameters), self.terms.chunk_parameters)
        content = self.store.put(next_model)
        self.store.pin(content)
        for submission in history.submissions:
            self.store.pin(ContentId(submission.update.content, content.size))
        named = round.attempt, history.head, Model(root, content.digest), _ascending(excluded)
        return Committed(root, self._close("commitRound", *named).gas_used)

    def reopen(self, round: Round, excluded: Mapping[Submitted, str]) -> None:
        """Has the ledger collect again."""
        self._close("reopenRound", round.attempt, self._expect(round).head, _ascending(excluded))

    def _close(self, name: str, *arguments: object) -> Receipt:
        try:
            return self.ledger.transact(name, self.number, *arguments)
        except RoundMovedOnError:
            # Where only the block is missing that lets the round's time be over, the loop would come back at once.
            time.sleep(self.patience.poll)
            raise

    def _submission(self, round: Round, submitted: Submitted) -> Submission:
        return next(s for s in self._expect(round).submissions if s.client == submitted.client)


def _ascending(excluded: Iterable[Submitted]) -> list[str]:
    return sorted((submitted.client for submitted in excluded), key=address_bytes)
