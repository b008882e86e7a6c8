"""The coordinators of a job on a ledger: events in, transactions out, vectors in a content store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from galaxy_chain.acceptance import accept_terms
from galaxy_chain.answering import Answering
from galaxy_chain.exceptions import LedgerRefusedError, NotAdmittedError, TransactionFailedError
from galaxy_chain.faults import fault_point
from galaxy_chain.gathering import gather
from galaxy_chain.inspection import Inspection, Withheld
from galaxy_chain.job_check import check_job
from galaxy_chain.ledger.follower import JobFollower, Reverted
from galaxy_chain.ledger.history import Commit, JobHistory
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Model, Status, Update
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.ledger.transactions import Receipt
from galaxy_chain.pending import Pending
from galaxy_chain.store import ContentId, Store, parse
from galaxy_chain.store.keep import Keep
from galaxy_chain.terms import Limits, Role
from galaxy_chain.verification import Verifier, Verify, address_bytes
from galaxy_fl.exceptions import (
    ConfigurationError,
    ContentAlteredError,
    ContentError,
    ContentMissingError,
    RoundMovedOnError,
    VectorError,
)
from galaxy_fl.job_document import SourceModel
from galaxy_fl.rounds.coordinator import Committed, Origin, Phase, Previous, Round, Submitted
from galaxy_fl.vectors import Vector, commitment, read_vector, tree_root

__all__ = [
    "LedgerClientCoordinator",
    "LedgerCoordinator",
    "LedgerServerCoordinator",
    "Patience",
]

LOG = logging.getLogger(__name__)

Content = TypeVar("Content")

LONGEST_PAUSE = 60.0
"""Seconds until a server tries again what has failed again and again."""


@dataclass(frozen=True)
class Patience:
    """How long a participant waits between looks, and for what others owe it. Seconds."""

    poll: float = 1.0
    """The longest pause between two looks at the chain; pauses begin at a fraction of it after each event. Raise it
    where requests are dear."""
    confirmations: int = 1
    """How many blocks, its own included, the last commit has to have before a participant leaves; a final block is
    enough, too. Raise it where reorganisations happen; a chain without blocks never gets there."""
    content: float = 10.0
    """How long to wait for content that is not there yet. Raise it for a slow network."""


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

    Raises:
        UnknownJobError: there is no such job.
        JobMismatchError, JobDocumentError, ContentError: the job can't be taken part in.
    """

    role = "reader"
    """An account may take part in several."""
    entered_not: str | None = None
    """The ledger's refusal of one who has not entered."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        job: int,
        patience: Patience = Patience(),
        own: Path | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self.ledger = ledger
        self.store = store
        self.number = job
        self.limits = limits
        self.patience = patience
        self.looked: Callable[[], None] = lambda: None
        """Called whenever the chain was seen."""
        self.transaction: str | None = None
        """Of the last submission or commit."""
        self._name = f"{ledger.address}-{job}-{self.address}"
        database = None if own is None else own / "events" / f"{self._name}-{self.role}.sqlite"
        self._follower = JobFollower(ledger, job, database)
        self.terms = self.history.terms
        try:
            self.job = check_job(ledger, store, job, self.terms)
        except BaseException:
            self._follower.close()
            raise
        self.rounds = self.terms.rounds
        self.verifier = Verifier(store, self.terms, self.job)
        self._closes_at: tuple[int, int] = (0, 0)
        self._closed: tuple[bytes, int] | None = None
        """The head of the attempt that was seen closed, and the newest block then."""
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
        """Says what is to be said of the job's terms, and refuses them where they would cost this participant."""
        rule = self.job.rule.name
        what = f"job {self.number}"
        for concern in accept_terms(self.ledger, what, self.terms, rule, role, self.limits, entered=entered):
            LOG.warning("%s: %s", what, concern.message)

    def source(self) -> bytes:
        """The source of the job's model, verified."""
        assert isinstance(self.job.model, SourceModel)
        digest, _ = parse(self.job.model.source)
        return self._patiently(lambda: self.store.block(digest))

    def round(self) -> Round:
        """Where the job stands now."""
        self._follower.poll()
        if any(isinstance(change, Reverted) for change in self._follower.news):
            self._closes_at = 0, 0  # the attempt's number may be the same on another branch
        self.looked()
        history = self.history
        return Round(history.round, history.attempt, self._phase(history), len(history.submissions))

    def wait(self, seen: Round) -> Round:
        """Where the job stands once that is no longer `seen`."""
        pause = self.patience.poll / 50
        while not self._is_news(round := self.round(), seen):
            time.sleep(pause)
            pause = min(self.patience.poll, pause * 1.3)
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

    def give_up(self, reason: str) -> None:
        """Is silent: on a ledger nobody waits for one participant longer than the job's terms allow."""

    def close(self) -> None:
        """Lets go what is known of the job's events."""
        self._follower.close()

    def _enter_again(self) -> None:
        """Takes part as before, where a reorganisation has taken that away."""
        raise NotImplementedError

    def _act(self, name: str, attempt: int, *arguments: object) -> Receipt:
        """Calls a function of the ledger for an attempt: once, whatever crashes or is reorganised.

        Raises:
            RoundMovedOnError: the attempt is over, or what came first has to be looked at.
        """
        once = f"{self.number} {attempt}"
        try:
            try:
                receipt = self.ledger.transact(name, self.number, attempt, *arguments, once=once)
            except LedgerRefusedError as error:
                if error.name != self.entered_not:
                    raise
                self._enter_again()
                receipt = self.ledger.transact(name, self.number, attempt, *arguments, once=once)
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
        deadline = time.monotonic() + self.patience.content
        while True:
            try:
                return get()
            except ContentMissingError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(min(0.2, self.patience.content / 10))

    def _phase(self, history: JobHistory) -> Phase:
        return self._phase_on_chain(history)

    def _phase_on_chain(self, history: JobHistory) -> Phase:
        if history.finished:
            return Phase.FINISHED if self._is_settled(history.commits[self.rounds].block) else Phase.SETTLING
        if history.status is not Status.RUNNING:
            return Phase.CANCELLED
        if history.attempt != history.origin:
            return Phase.CLOSED  # after a rollback the updates of the round are complete
        count = len(history.submissions)
        if count < self.terms.min_updates:
            return Phase.COLLECTING
        # Where clients reveal when the round is closed, the machine's clock, which may be ahead, does not close it.
        now = self._follower.chain_time if self.job.reveal == "after-close" else self._follower.next_time
        if count < self.terms.max_updates and now < self._closing_time(history):
            return Phase.COLLECTING
        return Phase.CLOSED

    def _is_closed_for_all(self, history: JobHistory) -> bool:
        """Whether a block that has its confirmations says that the attempt takes no more updates, in a job that runs:
        then its clients reveal, and its server may expect that."""
        if self._phase_on_chain(history) is not Phase.CLOSED:
            self._closed = None
            return False
        if self._closed is None or self._closed[0] != history.head:
            self._closed = history.head, self._follower.number
        return self._is_settled(self._closed[1])

    def _is_settled(self, block: int) -> bool:
        return self._follower.number - block + 1 >= self.patience.confirmations or self._follower.final >= block

    def _closing_time(self, history: JobHistory) -> int:
        """When collecting ends, or ended, in seconds; only where at least `minUpdates` are in."""
        if self._closes_at[0] != history.attempt:
            self._closes_at = history.attempt, self.ledger.job(self.number).state.closes_at
        return self._closes_at[1]

    def _expect(self, round: Round) -> JobHistory:
        if self.history.attempt != round.attempt:
            raise RoundMovedOnError(
                f"the job is at attempt {self.history.attempt}, no longer at {round.attempt} (round {round.number})"
            )
        return self.history


class LedgerClientCoordinator(LedgerCoordinator):
    """A client of a ledger's job.

    Args:
        verify: How it checks every commit that can be challenged, before it trains; one that is wrong it challenges.
        withheld: What it does where a commit can't be checked, for its content is missing.
        own: As of every participant; what was trained and not handed in is there, too, and updates that are not
            revealed yet where the job reveals after close.
    """

    role = "client"
    entered_not = "NotJoined"

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        job: int,
        patience: Patience = Patience(),
        *,
        verify: Verify = Verify(),
        withheld: Withheld = Withheld.GO_ON,
        own: Path | None = None,
        limits: Limits = Limits(),
    ) -> None:
        super().__init__(ledger, store, job, patience, own, limits)
        self.kept = None if own is None else own / "trained" / self._name
        """Where what this client has trained is kept."""
        self._pending = Pending(None if own is None else own / "pending", self._name)
        if self.job.reveal == "after-close" and own is None:
            raise ConfigurationError(f"job {job} reveals after close: name a folder for what is not revealed yet")
        self.challenged: Callable[[Commit, int], None] = lambda commit, chunk: None
        """Called after a challenge of a commit by a chunk."""
        self._inspection = Inspection(
            ledger,
            self.verifier,
            self._follower,
            super().round,
            verify,
            withheld,
            patience.poll,
            patience.content,
            None if own is None else own / "verified" / self._name,
            lambda commit, chunk: self.challenged(commit, chunk),
        )
        self._samples = 0
        self._sent = 0, 0
        """The attempt that this client has submitted to last, and the block that this was in."""

    def round(self) -> Round:
        """Where the job stands now; reveals what has to be revealed now."""
        round = self._inspected(super().round())
        if self.job.reveal != "after-close":
            return round
        history = self.history
        if self._is_closed_for_all(history):
            for submission in history.submissions:
                if submission.client == self.address:
                    self._pending.reveal(self.store, history.origin, submission.update.content)
        return replace(round, draw=self._pending.wasted(history.round, history.model.root, history.attempt))

    def _inspected(self, round: Round) -> Round:
        """The same, or where the job goes on although it seemed to be over: its last commits are verified, too."""
        while round.phase in (Phase.SETTLING, Phase.FINISHED, Phase.CANCELLED):
            try:
                self._inspection.look()
                break
            except RoundMovedOnError:
                time.sleep(self.patience.poll)
                round = super().round()
        return round

    def model(self, round: Round) -> Path:
        """The round's model, every commit that can be challenged verified. A wrong one is challenged, which moves the
        round on.

        Raises:
            ContentError: it can't be had.
            RoundMovedOnError: the round is over, or a commit was wrong and has been challenged.
        """
        path = super().model(round)
        self._inspection.look()
        self._expect(round)
        return path

    def enter(self, samples: int) -> None:
        """Joins, if the client has not before."""
        client = self.ledger.client(self.number, self.address)
        self._accept(Role.CLIENT, entered=client.samples > 0)
        if client.samples == 0:
            if not self.terms.open and not client.admitted:
                raise NotAdmittedError(
                    f"{self.address} is not admitted to job {self.number}: ask its owner, {self.history.owner}, to run "
                    f"`galaxy-chain job admit {self.number} {self.address}`",
                    "NotAdmitted",
                    {"client": self.address},
                )
            try:
                self.ledger.transact("join", self.number, samples, bytes(32), once=f"{self.number}")
            except LedgerRefusedError as error:
                if error.name != "AlreadyJoined":  # by another process of this account, a moment ago
                    raise
        elif client.samples < samples:
            raise ConfigurationError(
                f"{self.address} joined job {self.number} with {client.samples} samples, but the data set now has "
                f"{samples}: use the data it joined with, or another account"
            )
        self._samples = samples
        self._sent = client.attempt, self._follower.number

    def previous(self, round: Round) -> Previous:
        """What this client handed in last, and the others in the round before, as far as it is to be had."""
        history = self._expect(round)
        mine = [
            (number, submission)
            for number, commit in sorted(history.commits.items())
            for submission in commit.submissions
            if submission.client == self.address
        ]
        own = self._submitted(mine[-1][1], mine[-1][0]) if mine else None
        peers = []
        if history.round > 1:
            for submission in history.commits[history.round - 1].included:
                if submission.client != self.address:
                    with suppress(ContentError):
                        peers.append(self._submitted(submission, history.round - 1))
        return Previous(own, peers)

    def wants_update(self, round: Round) -> bool:
        """Whether the round collects without an update of this client's: there was none yet, or a reorganisation has
        taken it away."""
        if round.phase is not Phase.COLLECTING:
            return False
        if any(submission.client == self.address for submission in self.history.submissions):
            return False
        attempt, block = self._sent
        return round.attempt != attempt or self._follower.number > block

    def _is_news(self, round: Round, seen: Round) -> bool:
        # What was sent since may be reorganised away before it is seen: then the round looks as it did before.
        lost = self._sent[0] == round.attempt and self.wants_update(round)
        return lost or super()._is_news(round, seen)

    def submit(self, round: Round, update: Vector, weight: int) -> int:
        """Puts the update into the store, then commits to it on the ledger."""
        self._expect(round)
        fault_point("after-kept")
        root = tree_root(update, self.terms.chunk_parameters)
        if self.job.reveal == "after-close":
            history = self.history
            final = [commit.attempt for commit in history.commits.values() if commit.block <= self._follower.final]
            self._pending.forget(max(final, default=0))
            content = self._pending.keep(history.round, history.model.root, round.attempt, update)
        else:
            content = self.store.put(update.data)
        fault_point("after-store-put")
        promised = Update(commitment(root, address_bytes(self.address)), content.digest, weight)
        receipt = self._act("submitUpdate", round.attempt, promised)
        self._sent = round.attempt, receipt.block
        return receipt.gas_used

    def _enter_again(self) -> None:
        self.enter(self._samples)


class LedgerServerCoordinator(LedgerCoordinator):
    """A server of a ledger's job. Answers demands for what it committed by itself: `answering.start()` has a thread do
    that beside everything else; without it the server answers whenever it looks at the chain.

    Args:
        takeover: Serve although the job names another server: commit what that one has left undone when its time is up.
        keep: Which rounds' contents stay pinned. After each commit the others are let go, as far as they can't be
            challenged any more; what the job starts from stays, for other jobs may start from it.
        leave: Don't stay after the job's end: whoever means that answers for the bond in another way, or gives it up.
    """

    role = "server"
    entered_not = "BondTooSmall"

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        job: int,
        patience: Patience = Patience(),
        *,
        takeover: bool = False,
        own: Path | None = None,
        keep: Keep = Keep(),
        limits: Limits = Limits(),
        leave: bool = False,
    ) -> None:
        super().__init__(ledger, store, job, patience, own, limits)
        self.keep = keep
        self.leave = leave
        self._trouble = ""
        """What failed last, and was said."""
        self._pause = 0.0
        self.answering = Answering(
            ledger, Verifier(store, self.terms, self.job), job, patience.poll, own, f"{self._name}-{self.role}"
        )
        named = self.terms.server
        self._named = named in (ZERO_ADDRESS, self.address)
        if not self._named and not takeover:
            self.close()
            raise ConfigurationError(
                f"job {job} names the server {named}, not {self.address}: use that account, or --takeover to commit "
                f"what it leaves undone for {self.terms.aggregate_seconds} s"
            )

    def enter(self) -> None:
        """Brings the account's bond up to what the job asks for."""
        # In this order: the deposits are counted before the amount is read, so what it has is among them, or not yet.
        self._follower.poll()
        deposits = self.history.deposits.get(self.address, 0)
        account = self.ledger.account(self.number, self.address)
        self._accept(Role.SERVER, entered=account.amount > 0)
        if account.amount < self.terms.bond:
            missing = self.terms.bond - account.amount
            # What has been withdrawn, or lost, is deposited again: only the number of a deposit names it alone.
            self.ledger.transact("depositBond", self.number, value=missing, once=f"{self.number} {deposits}")

    def round(self) -> Round:
        """Where the job stands now; answers what is demanded of this server, where no thread does that."""
        round = super().round()
        if not self.answering.running:
            self.answering.look(self.history, self._follower.time)
        return round

    def close(self) -> None:
        """Answers nothing more, and lets go what is known of the job's events."""
        self.answering.stop()
        super().close()

    def _phase(self, history: JobHistory) -> Phase:
        phase = super()._phase(history)
        if phase is Phase.CLOSED and self.job.reveal == "after-close" and not self._is_closed_for_all(history):
            return Phase.COLLECTING
        if phase is Phase.CLOSED and not self._named and history.attempt == history.origin:
            its_turn_ends = self._closing_time(history) + self.terms.aggregate_seconds
            barred = self.ledger.account(self.number, self.terms.server).barred
            if self._follower.next_time < its_turn_ends and not barred:
                return Phase.COLLECTING
        return phase

    def bond_locked_until(self) -> int | None:
        """Until when this server's bond answers for what it committed, in seconds of the chain; None for no longer."""
        account = self.ledger.account(self.number, self.address)
        if account.amount == 0:
            return None
        time = self._follower.time_at(self.patience.confirmations)
        return None if time >= account.locked_until and account.demands == 0 else account.locked_until

    def stay(self, round: Round) -> Round:
        """Stays until the bond is free: a block says that its last window is over, and no demand waits. At last lets go
        what need not stay. Returns as soon as the job goes on, because a commit was reverted."""
        locked_until = 0
        while not self.leave and round.over:
            if self._follower.time >= locked_until:
                until = self.bond_locked_until()
                if until is None:
                    self._let_go()
                    break
                locked_until = until
            time.sleep(self.patience.poll)
            round = self.round()
            self._calm()
        return round

    def endures(self, error: Exception) -> bool:
        """Whether the server goes on: with money at stake always; without, only where content can't be had, or the
        store can't be used, which others may mend."""
        if not isinstance(error, ContentError) and not self._at_stake():
            return False
        if repr(error) != self._trouble:
            self._trouble = repr(error)
            LOG.warning("job %d: goes on, and tries again what failed: %s", self.number, error or self._trouble)
        self._pause = min(LONGEST_PAUSE, max(self.patience.poll, 2 * self._pause))
        time.sleep(self._pause)
        return True

    def _at_stake(self) -> bool:
        """Whether this server's bond answers for something; as far as is known, where no node answers."""
        try:
            return self.bond_locked_until() is not None
        except Exception:
            return any(
                commit.record.server == self.address
                and self._follower.time < commit.record.time + self.terms.challenge_seconds
                for commit in self.history.commits.values()
            )

    def _calm(self) -> None:
        """What failed before is over."""
        self._trouble, self._pause = "", 0.0

    def updates(self, round: Round) -> Sequence[Submitted]:
        """The submissions of the round, in order."""
        return [Submitted(s.client, s.update.weight) for s in self._expect(round).submissions]

    def update(self, round: Round, submitted: Submitted) -> Path:
        """The vector file of an update, its content and its commitment verified; not waited for."""
        submission = next(s for s in self._expect(round).submissions if s.client == submitted.client)
        return self.verifier.update(submission, f"the update of {submission.client} in round {round.number}")

    def gather(self, round: Round, updates: Sequence[Submitted]) -> tuple[dict[Submitted, Path], dict[Submitted, str]]:
        """The vector files of the updates, verified, within one deadline for all; and why others can't be used.

        Raises:
            ContentError: the store does not even give what is known to be there, or nothing of the round yet: then it
                may be the store's fault, and nobody is to lose a credit for that.
        """
        model = self.model(round)
        found, failed = gather(updates, lambda submitted: self.update(round, submitted), self.patience.content)
        for _ in found:
            fault_point("during-aggregation")
        if failed:
            self._check_store(model)
            doubtful = not found or any(
                not isinstance(error, ContentMissingError | ContentAlteredError) for error in failed.values()
            )
            history = self._expect(round)
            until = self._closing_time(history) + self.terms.aggregate_seconds // 2
            if doubtful and self._follower.chain_time < until:
                raise ContentError(
                    f"round {round.number}: {len(failed)} of {len(updates)} updates can't be had, and it may be this "
                    f"server's store that fails: nobody is excluded for that before half of the job's "
                    f"{self.terms.aggregate_seconds} s to aggregate are over ({next(iter(failed.values()))})"
                )
        usable = {submitted: found[submitted] for submitted in updates if submitted in found}
        return usable, {submitted: str(error) for submitted, error in failed.items()}

    def _check_store(self, model: Path) -> None:
        try:
            self.store.probe(self.terms.spec)
            self.verifier.read(model)
        except (ContentError, VectorError, OSError) as error:
            self._model = None
            raise ContentError(
                "this server's store does not give the job's document or the round's model, which it had, so nobody is "
                f"excluded: {error}"
            ) from error

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
        fault_point("after-aggregation")
        root = tree_root(read_vector(next_model, self.terms.parameters), self.terms.chunk_parameters)
        content = self.store.put(next_model)
        fault_point("after-store-put")
        # All that an audit needs stays here, whoever else goes.
        self.store.pin(ContentId(self.terms.spec, len(self.job.to_bytes())))
        left_out = {submitted.client for submitted in excluded}
        included = [s.update.content for s in history.submissions if s.client not in left_out]
        for digest in (history.model.content, content.digest, *included):
            self.store.pin(ContentId(digest, content.size))
        named = round.attempt, history.head, Model(root, content.digest), _ascending(excluded)
        gas = self._act("commitRound", *named).gas_used
        self._let_go()
        return Committed(root, gas)

    def _let_go(self) -> None:
        """Unpins what the policy lets go."""
        if self.keep.rounds is None:
            return
        self._follower.poll()  # what the last commit needs stays, whoever else needs it
        history = self.history
        needed = {
            number: {
                self.verifier.content_id(digest)
                for digest in (
                    commit.previous.content,
                    commit.record.next.content,
                    *(submission.update.content for submission in commit.included),
                )
            }
            for number, commit in history.commits.items()
        }
        gone = self.keep.let_go(needed, self._last_settled()) - {self.verifier.content_id(history.initial.content)}
        pinned = self.store.pins()
        for content in gone:
            if content.cid in pinned:
                self.store.unpin(content)

    def _last_settled(self) -> int:
        """The last round whose commit can't be challenged any more and owes no answer, nor any before it; 0 for none.

        By the chain's own time: a clock of this machine's that is ahead must not cost the bond.
        """
        settled = 0
        for number, commit in sorted(self.history.commits.items()):
            in_window = self._follower.time < commit.record.time + self.terms.challenge_seconds
            if in_window or self.history.open_demands(commit.record):
                break
            settled = number
        return settled

    def reopen(self, round: Round, excluded: Mapping[Submitted, str]) -> None:
        """Has the ledger collect again."""
        self._act("reopenRound", round.attempt, self._expect(round).head, _ascending(excluded))

    def _act(self, name: str, attempt: int, *arguments: object) -> Receipt:
        receipt = super()._act(name, attempt, *arguments)
        self._calm()
        return receipt

    def _enter_again(self) -> None:
        self.enter()


def _ascending(excluded: Iterable[Submitted]) -> list[str]:
    return sorted((submitted.client for submitted in excluded), key=address_bytes)
