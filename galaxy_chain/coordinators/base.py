"""What clients and servers of a ledger's job have in common: following it, and acting for an attempt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from galaxy_chain.coordinators.shared_job import SharedJob
from galaxy_chain.coordinators.tending import Tending
from galaxy_chain.exceptions import ErrorName, KeyMissingError, LedgerRefusedError, TransactionFailedError
from galaxy_chain.following import turns
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import JobHistory
from galaxy_chain.following.view import JobView, pauses_up_to
from galaxy_chain.jobs.acceptance import accept_terms
from galaxy_chain.jobs.check import check_job
from galaxy_chain.jobs.terms import Limits, Role
from galaxy_chain.ledger.contract import ContractCall, LedgerContract
from galaxy_chain.ledger.structs import NEVER, Model, Status
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.seal.store import Keys, SealedStore, contents_of
from galaxy_chain.seal.vault import Vault
from galaxy_chain.transactions.manager import Receipt
from galaxy_chain.verify.early import Early, Sight
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.content import Store, parse
from galaxy_fl.content.fetched_once import expect_room, fetched_once
from galaxy_fl.content.gathering import soon
from galaxy_fl.exceptions import ContentMissingError, RoundMovedOnError
from galaxy_fl.jobs.document import SourceModel
from galaxy_fl.patience import Waiting, retry
from galaxy_fl.rounds.coordinator import Origin, Phase, Round

__all__ = ["LedgerCoordinator", "Patience"]

LOG = logging.getLogger(__name__)

REST = 3
"""After a look passes so many times the time that it has taken until the next."""
LONGEST_REST = 10.0
"""Seconds that a long look puts the next off at most: it may have waited for a transaction, or for a dead node."""

Content = TypeVar("Content")


@dataclass(frozen=True)
class Patience:
    """How long a participant waits between looks, and for what others owe it. Seconds."""

    poll: float = 1.0
    """The longest pause between two looks at the chain; after each event pauses begin at a fiftieth of it, or at 20 ms.
    Raise it where requests are dear."""
    confirmations: int = 1
    """How many blocks, its own included, the last commit has to have before a participant leaves; a final block is
    enough, too. Raise it where reorganisations happen; a chain without blocks never gets there."""
    content: float = 10.0
    """How long to wait for content that is not there yet. Raise it for a slow network."""
    relay: float = 60.0
    """How long a client that can pay waits for a relay that looks into the inbox to hand in what it has signed. Raise
    it where relays wait longer for a batch to fill."""


class LedgerCoordinator:
    """What clients and servers of a ledger's job have in common.

    Args:
        ledger: With the account's transactions.
        store: Where the vectors are.
        job: The job's number.
        patience: How long it waits.
        own: A folder of this participant's own, for what it knows of the job's events; None: it asks for all of them
            again when it starts.
        limits: What it is ready to pay under the job's terms.
        shared: What it has in common with others of this process; None: it is alone.

    Raises:
        UnknownJobError: there is no such job.
        JobMismatchError, JobDocumentError, ContentError: the job can't be taken part in.
    """

    shares_folder = True
    leave = False
    role = "reader"
    """An account may take part in several."""
    _tending: Tending
    """What it does to keep the job going."""
    entered_not: ErrorName | None = None
    """The ledger's refusal of one who has not entered."""

    def __init__(
        self,
        ledger: LedgerContract,
        store: Store,
        job: int,
        patience: Patience = Patience(),
        own: Path | None = None,
        limits: Limits = Limits(),
        shared: SharedJob | None = None,
    ) -> None:
        self.ledger = ledger
        self.plain = store
        """The store with the job's document, the model's source and its base, which are not sealed."""
        self.number = job
        self.limits = limits
        self.patience = patience
        self.looked: Callable[[], None] = lambda: None
        """Called whenever the chain was seen."""
        self.transaction: str | None = None
        """Hash of the transaction of the last submission or commit."""
        self.paid: Callable[[int], None] = lambda amount: None
        """Called with what was paid out to the account, in wei."""
        self._name = f"{ledger.address}-{job}-{self.address}"
        self._shared = shared
        self._bases = None if own is None else own / "bases"
        """Where those wait for each other who fetch the same base."""
        self._follower: JobView
        if shared is not None:
            self._follower = shared.view()
            self.terms, self.job, self.verifier = self.history.terms, shared.document, shared.verifier
            self.store = contents_of(store, self.job, job, own, lambda: self.history)
        else:
            database = None if own is None else own / "events" / f"{self._name}-{self.role}.sqlite"
            self._follower = JobFollower(ledger, job, database)
            self.terms = self.history.terms
            try:
                self.job = check_job(ledger, store, job, self.terms)
                self.store = contents_of(store, self.job, job, own, lambda: self.history)
            except BaseException:
                self._follower.close()
                raise
            self.verifier = Verifier(self.store, self.terms, self.job)
        self.early: Early | None = None
        """Verifies updates as they come in; participants of a process that share a job share it."""
        self._closed: tuple[bytes, int] | None = None
        """The head of the attempt that was seen closed, and the newest block then."""
        self._model: tuple[Model, Path] | None = None
        self._fresh = False
        """Whether the history is what another's look has just brought."""
        self._took = 0.0
        """Seconds that the last look has taken."""
        self._cancelled = False
        """Whether it was said that the job was cancelled."""

    @property
    def history(self) -> JobHistory:
        """What the job's events say so far."""
        return self._follower.history

    @property
    def rounds(self) -> int:
        """How many rounds the job has: fewer than it was registered with once it is cancelled."""
        return self.history.last_round

    @property
    def planned(self) -> int:
        """How many rounds the job was registered with."""
        return self.terms.rounds

    @property
    def address(self) -> str:
        """The account that takes part."""
        assert self.ledger.transactions is not None
        return self.ledger.transactions.signer.address

    @property
    def account(self) -> str:
        """Address of the account."""
        return self.address

    @property
    def job_id(self) -> str:
        """The job's number."""
        return str(self.number)

    @property
    def origin(self) -> Origin:
        """The job's owner on the ledger; its own if that is this account."""
        assert self.history.owner is not None
        return Origin(own=self.history.owner == self.address, name=self.history.owner)

    def _accept(self, role: Role, *, entered: bool) -> None:
        """Says what is to be said of the job's terms, and refuses them where they would cost this participant. Of those
        who share a job once."""

        def accept() -> None:
            rule, what, pool = self.job.rule.name, f"job {self.number}", self.history.pool
            for concern in accept_terms(
                self.ledger, what, self.terms, rule, role, self.limits, pool=pool, entered=entered
            ):
                LOG.warning("%s: %s", what, concern.message)

        if self._shared is None:
            accept()
        else:
            self._shared.accepted.get((role, self.limits, entered), accept)

    @property
    def keys(self) -> Keys | None:
        """The content keys of a job that is sealed."""
        return self.store.keys if isinstance(self.store, SealedStore) else None

    def _has_keys(self) -> bool:
        """Whether everything that is sealed can be read here; true where nothing is."""
        return self.keys is None or (bool(self.history.epochs) and not self.keys.lacking())

    def _wait_for_keys(self) -> None:
        """Waits until all of a sealed job's keys are here, which only its owner can see to. Without them a participant
        can't tell whether somebody lies, so it puts nothing at stake, and accuses nobody. Meanwhile it does all else
        that keeps the job going, or ends it; an owner shares what it waits for itself.

        Raises:
            KeyMissingError: the job is over without them, or this account is expelled.
        """
        while self.keys is not None and not self._has_keys():
            over = self.round().over
            if self._has_keys():
                break
            error = self.keys.missing()
            if self.address in self.history.expelled:
                raise KeyMissingError(
                    f"{self.address} is expelled from job {self.number}, and gets no further key; what it has earned "
                    f"before is got out by `galaxy-chain claim {self.number}` and `galaxy-chain withdraw "
                    f"{self.number}` ({error})"
                )
            if over:
                raise error
            if self._tending.keyless_since is None:
                self._tending.keyless_since = self._follower.chain_time
                LOG.warning("job %d: waits for its keys: %s", self.number, error)
            self._follower.pause(self.patience.poll, lambda history: self._has_keys())
        self._tending.keyless_since = None

    def _register_key(self, vault: Vault) -> None:
        """Registers this operator's public key for the account, unless that was done."""
        self._follower.poll()
        if self.history.keys.get(self.address, ())[-1:] != (vault.public,):
            times = len(self.history.keys.get(self.address, ()))
            self.ledger.register_key(self.number, vault.public).transact(f"{self.number} {vault.public.hex()} {times}")

    def source(self) -> bytes:
        """The source of the job's model, verified."""
        assert isinstance(self.job.model, SourceModel)
        digest, _ = parse(self.job.model.source)
        return self._patiently(lambda: self.plain.block(digest))

    def base(self, fetch: bool = True) -> Path | None:
        """The file of the job's frozen and personal tensors, verified; fetched once for all of a home."""
        assert self.job.base is not None
        content = self.job.base.id
        if not self.plain.has(content):
            if not fetch:
                return None
            if self._bases is not None:
                expect_room(content, self._bases, "the base of the job, its frozen and personal tensors,")
        if self._bases is None:
            return self._patiently(lambda: self.plain.path(content))
        folder = self._bases
        return self._patiently(lambda: fetched_once(content, folder, lambda: self.plain.path(content)))

    def round(self) -> Round:
        """Where the job stands now."""
        if self._fresh:
            self._fresh = False
        else:
            self._follower.poll()
        self.looked()
        history = self.history
        if history.cancelled and not self._cancelled:
            self._cancelled = True
            LOG.warning("job %d was cancelled: it ends with round %d", self.number, history.last_round)
        phase = self._phase(history)
        if self.early is not None and not history.finished and self._reads_updates(history, phase):
            closed = phase is Phase.CLOSED
            self.early.look(history.head, closed, lambda: self._sight(history, closed=closed))
        # Where many share a follower, the update of one is nothing to the others.
        updates = len(history.entries) if self._shared is None else 0
        return Round(history.round, history.attempt, phase, updates)

    def _reads_updates(self, history: JobHistory, phase: Phase) -> bool:
        """Whether it is of use to verify the updates that are in already."""
        if self.job.reveal == "after-close":
            return self._is_closed_for_all(history)
        return phase in (Phase.COLLECTING, Phase.CLOSED)

    def _sight(self, history: JobHistory, *, closed: bool) -> Sight:
        entries = tuple(history.entries)
        return Sight(history.head, history.round, history.model, entries, self._wanted(entries), closed)

    def _wanted(self, entries: Sequence[Entry]) -> frozenset[int]:
        """The numbers of the entries that this participant verifies."""
        return frozenset(range(len(entries)))

    def wait(self, seen: Round) -> Round:
        """Where the job stands once that is no longer `seen`."""
        looks = pauses_up_to(self.patience.poll)
        pauses = 0
        while True:
            pauses += 1
            # Where a look takes long, the node is busy: with what is waited for, too. So there is a rest before the
            # first look as well, because while updates come in each look shows some; but the last one may have sent
            # something, and then what has become of it is to be seen soon.
            longest = self.patience.poll if pauses == 1 else LONGEST_REST
            self._fresh = self._follower.pause(max(looks.after(pauses), min(REST * self._took, longest)))
            began = time.monotonic()
            round = self.round()
            self._took = time.monotonic() - began
            if self._is_news(round, seen):
                return round

    def _is_news(self, round: Round, seen: Round) -> bool:
        return round != seen

    def model(self, round: Round) -> Path:
        """The vector file of the round's model, its content and its root verified; recomputed where it can't be had."""
        history = self._expect(round)
        wanted = history.model
        if self._model is None or self._model[0] != wanted:
            self._model = wanted, self._patiently(lambda: self.verifier.model_after(history, history.round - 1))
        return self._model[1]

    def listen(self, paid: Callable[[int], None], challenged: Callable[[int, str, int, int], None]) -> None:
        """Call `paid` from now on; only clients challenge."""
        self.paid = paid

    def model_root(self) -> bytes:
        """Return the root of the newest model's chunk tree."""
        return self.history.model.root

    def give_up(self, reason: str) -> None:
        """Is silent: on a ledger nobody waits for one participant longer than the job's terms allow."""

    def close(self) -> None:
        """Lets go what is known of the job's events."""
        if self.early is not None and self._shared is None:
            self.early.stop()
        self._follower.close()

    def _enter_again(self) -> None:
        """Takes part as before, where a reorganisation has taken that away."""
        raise NotImplementedError

    def _act(self, call: ContractCall, attempt: int, on: bytes) -> Receipt:
        """Sends a call for an attempt: once, whatever crashes or is reorganised.

        Args:
            call, attempt: What is called for which attempt.
            on: What else tells this call from another of the attempt: a reorganisation may bring its number again.

        Raises:
            RoundMovedOnError: the attempt is over, or what came first has to be looked at.
        """
        once = f"{self.number} {attempt} {on.hex()}".rstrip()
        try:
            try:
                receipt = call.transact(once)
            except LedgerRefusedError as error:
                if error.name != self.entered_not:
                    raise
                self._enter_again()
                receipt = call.transact(once)
        except RoundMovedOnError:
            # Closed by time alone, or as another node sees it: the loop would come back at once.
            time.sleep(self.patience.poll)
            raise
        except TransactionFailedError as error:
            time.sleep(self.patience.poll)
            raise RoundMovedOnError(f"the round has moved on: {error}") from error
        self.transaction = receipt.transaction
        return receipt

    def _submitted(self, submission: Entry, number: int) -> Path:
        """The vector file of an update of round `number`, its content and its commitment verified."""
        what = f"the update of {submission.client} in round {number}"
        return self._patiently(lambda: self.verifier.update(submission, what))

    def _patiently(self, get: Callable[[], Content]) -> Content:
        """Content that may still be on its way."""
        return retry(get, ContentMissingError, Waiting(self.patience.content, soon(self.patience.content)))

    def _phase(self, history: JobHistory) -> Phase:
        return self._phase_on_chain(history)

    def _phase_on_chain(self, history: JobHistory) -> Phase:
        if history.finished:
            last = history.commits[history.last_round]
            return Phase.FINISHED if self._is_confirmed(last.block) else Phase.SETTLING
        if self._is_given_up(history):
            return Phase.CANCELLED
        if history.attempt != history.origin:
            return Phase.CLOSED  # after a rollback the updates of the round are complete
        if history.closes_at == NEVER:
            return Phase.COLLECTING
        full = len(history.entries) >= self.terms.max_clients
        return Phase.CLOSED if full or self._now >= history.closes_at else Phase.COLLECTING

    @property
    def _now(self) -> int:
        """The time to go by: the chain's. A clock of this machine's that is ahead closes no round for it."""
        return self._follower.chain_time

    def _is_given_up(self, history: JobHistory) -> bool:
        """Whether the job was cancelled and ends without its last round: it is final, or idle, so that it can be."""
        if history.status is Status.FINAL:
            return True
        final_from = turns.finalize_from(history)
        return final_from is not None and self._follower.chain_time >= final_from

    def _is_closed_for_all(self, history: JobHistory) -> bool:
        """Whether a block that has its confirmations says that the attempt takes no more updates, in a job that runs:
        then its clients reveal, and its server may expect that."""
        if self._phase_on_chain(history) is not Phase.CLOSED:
            self._closed = None
            return False
        if self._closed is None or self._closed[0] != history.head:
            self._closed = history.head, self._follower.number
        return self._is_confirmed(self._closed[1])

    def _is_confirmed(self, block: int) -> bool:
        return self._follower.number - block + 1 >= self.patience.confirmations or self._follower.final >= block

    def _expect(self, round: Round) -> JobHistory:
        if self.history.attempt != round.attempt:
            raise RoundMovedOnError(
                f"the job is at attempt {self.history.attempt}, no longer at {round.attempt} (round {round.number})"
            )
        return self.history
