"""A job's history, rebuilt from its events alone.

The fold is pure, and mirrors the contract: whatever the events make of it has to agree with every head that they
name, or somebody lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from eth_utils.crypto import keccak

from galaxy_chain.exceptions import AuditError
from galaxy_chain.ledger.abi import Event
from galaxy_chain.ledger.structs import Model, Opening, Record, Status, Submission, Terms, Update

__all__ = ["Commit", "JobHistory", "OpenDemand", "Reopening", "first_head", "next_head", "record_word"]


def _word(value: int | str) -> bytes:
    return bytes.fromhex(value[2:]).rjust(32, b"\0") if isinstance(value, str) else value.to_bytes(32)


def first_head(chain_id: int, ledger: str, job: int, attempt: int, root: bytes) -> bytes:
    """Where the hash chain of an attempt begins: 32 bytes (protocol section 5)."""
    return keccak(_word(chain_id) + _word(ledger) + _word(job) + _word(attempt) + root)


def next_head(head: bytes, client: str, update: Update) -> bytes:
    """The head after one more submission: 32 bytes (protocol section 5)."""
    return keccak(head + _word(client) + update.commitment + update.content + _word(update.weight))


def record_word(record: Record) -> bytes:
    """The word that the ledger keeps of a commit: keccak256 of the ABI-encoded record."""
    head = (
        _word(32) + _word(record.attempt) + _word(record.round) + _word(record.updates) + record.head
        + record.previous_root + record.next.root + record.next.content + _word(10 * 32) + _word(record.server)
        + _word(record.time)
    )  # fmt: skip
    return keccak(head + _word(len(record.excluded)) + b"".join(map(_word, record.excluded)))


@dataclass(frozen=True)
class Commit:
    """A committed round: from which model, over which submissions, to which model, and where on the chain."""

    attempt: int
    record: Record
    previous: Model
    submissions: tuple[Submission, ...]
    block: int
    transaction: bytes

    @property
    def included(self) -> tuple[Submission, ...]:
        """The submissions that were not excluded, in order."""
        excluded = frozenset(self.record.excluded)
        return tuple(s for s in self.submissions if s.client not in excluded)


@dataclass(frozen=True)
class Reopening:
    """A round that was collected again: by whom, and what was in until then."""

    attempt: int
    round: int
    server: str
    excluded: tuple[str, ...]
    submissions: tuple[Submission, ...]


@dataclass(frozen=True)
class OpenDemand:
    """A demand that waits for a commit's server.

    Attributes:
        index: Of the chunk.
        answer_by: In seconds, by the chain's time.
        deposits: How many times the demand deposit it cost.
    """

    demander: str
    index: int
    answer_by: int
    deposits: int


@dataclass
class JobHistory:
    """What the events of a job say so far.

    Args:
        chain_id, ledger, job: Where the job is.
    """

    chain_id: int
    ledger: str
    job: int

    owner: str | None = None
    terms: Terms = field(init=False)
    initial: Model = field(init=False)
    status: Status = Status.NONE
    round: int = 0
    attempt: int = 0
    origin: int = 0
    model: Model = field(init=False)
    head: bytes = b""
    submissions: list[Submission] = field(default_factory=list)
    commits: dict[int, Commit] = field(default_factory=dict)
    """The commits that stand, by round."""
    reverted: list[Commit] = field(default_factory=list)
    """The commits that were proved wrong."""
    reopened: list[Reopening] = field(default_factory=list)
    """The attempts that were given up for another one."""
    demands: dict[Record, dict[int, OpenDemand]] = field(default_factory=dict)
    """The demands that wait, by the record and the chunk."""
    expired: dict[Record, set[int]] = field(default_factory=dict)
    """The chunks whose demand has ended without an answer, its deposit given back, by the record."""
    answers: dict[int, dict[int, Opening]] = field(default_factory=dict)
    """What committers have opened of their models under demand, by round and chunk."""
    clients: dict[str, int] = field(default_factory=dict)
    """The samples that each client declared."""
    deposits: dict[str, int] = field(default_factory=dict)
    """How often each address has added to its bond."""

    @property
    def finished(self) -> bool:
        """Whether all rounds are committed."""
        return self.owner is not None and self.round > self.terms.rounds

    def open_demands(self, record: Record) -> list[OpenDemand]:
        """The demands that wait for a commit's server, in order of their chunks.

        Any number may wait at a time, one a chunk: whoever counted on one being alone could be kept from it by another.
        """
        return [demand for _, demand in sorted(self.demands.get(record, {}).items())]

    def apply(self, event: Event) -> None:
        """Takes the next event.

        Raises:
            AuditError: it contradicts the events before.
        """
        handler = getattr(self, f"_on_{event.name}", None)
        if handler is None:
            return
        if (self.owner is None) != (event.name == "JobRegistered"):
            stands = "has been registered before" if self.owner else "is not registered yet"
            raise AuditError(f"job {self.job}: {event.name} in block {event.block}, but the job {stands}")
        handler(event)

    def _on_JobRegistered(self, event: Event) -> None:
        self.owner, self.terms, self.initial = event.owner, event.terms, event.model
        self.status = Status.RUNNING
        self._open(1, 1, event.model)

    def _on_ClientJoined(self, event: Event) -> None:
        self.clients[event.client] = event.samples

    def _on_UpdateSubmitted(self, event: Event) -> None:
        self._expect_attempt(event)
        self.submissions.append(Submission(event.client, event.update))
        self.head = next_head(self.head, event.client, event.update)

    def _on_RoundCommitted(self, event: Event) -> None:
        self._expect_attempt(event)
        if event.head != self.head:
            raise AuditError(
                f"round {event.round}: the commit names the head {event.head.hex()}, but the submissions of attempt "
                f"{self.origin} lead to {self.head.hex()}"
            )
        record = Record(
            self.origin, event.round, len(self.submissions), event.head, self.model.root, event.model,
            event.excluded, event.server, event.time,
        )  # fmt: skip
        self.commits[event.round] = Commit(
            event.attempt, record, self.model, tuple(self.submissions), event.block, event.transaction
        )
        self._open(event.round + 1, event.attempt + 1, event.model)

    def _on_RoundReopened(self, event: Event) -> None:
        self._expect_attempt(event)
        self.reopened.append(
            Reopening(event.attempt, event.round, event.server, tuple(event.excluded), tuple(self.submissions))
        )
        self._open(event.round, event.attempt + 1, self.model)

    def _on_RoundReverted(self, event: Event) -> None:
        if event.round not in self.commits:
            raise AuditError(f"round {event.round} is reverted in block {event.block}, but has no commit")
        if event.attempt != self.attempt + 1:
            raise AuditError(
                f"round {event.round} is reverted in block {event.block} as attempt {event.attempt}, but the attempt "
                f"before is {self.attempt}"
            )
        for number in sorted(number for number in self.commits if number >= event.round):
            self.reverted.append(commit := self.commits.pop(number))
            self.answers.pop(number, None)
            if number == event.round:
                self.round, self.attempt, self.origin = event.round, event.attempt, commit.record.attempt
                self.model, self.head, self.submissions = (
                    commit.previous, commit.record.head, list(commit.submissions)
                )  # fmt: skip

    def _on_BondDeposited(self, event: Event) -> None:
        self.deposits[event.server] = self.deposits.get(event.server, 0) + 1

    def _on_ChunkDemanded(self, event: Event) -> None:
        record = self._standing(event)
        waiting = self.demands.setdefault(record, {})
        if event.index in waiting:
            raise AuditError(
                f"round {event.round}: chunk {event.index} is demanded again in block {event.block}, unanswered"
            )
        deposits = 1 + sum(len(open) for other, open in self.demands.items() if other.server == record.server)
        waiting[event.index] = OpenDemand(event.demander, event.index, event.answer_by, deposits)

    def _on_ChunkAnswered(self, event: Event) -> None:
        self._end_demand(event, [self._standing(event)])
        self.answers.setdefault(event.round, {})[event.index] = event.next

    def _on_DemandExpired(self, event: Event) -> None:
        # The event does not tell the records of one attempt and round apart. Those that don't stand come first: where
        # it is the one that stands, that is about to be reverted.
        void = [
            commit.record
            for commit in self.reverted
            if (commit.record.attempt, commit.record.round) == (event.attempt, event.round)
        ]
        standing = self.commits.get(event.round)
        record = self._end_demand(event, [*void, *(() if standing is None else (standing.record,))], event.demander)
        self.expired.setdefault(record, set()).add(event.index)

    def _standing(self, event: Event) -> Record:
        """The record that an event about a chunk is of."""
        commit = self.commits.get(event.round)
        if commit is None or commit.record.attempt != event.attempt:
            raise AuditError(
                f"{event.name} in block {event.block} is of round {event.round}, attempt {event.attempt}, which has no "
                "commit that stands"
            )
        return commit.record

    def _end_demand(self, event: Event, records: Sequence[Record], demander: str | None = None) -> Record:
        """Ends the demand for the event's chunk that waits for the first of the records, and gives that."""
        for record in records:
            waiting = self.demands.get(record, {})
            demand = waiting.get(event.index)
            if demand is not None and demander in (None, demand.demander):
                del waiting[event.index]
                if not waiting:
                    del self.demands[record]
                return record
        raise AuditError(f"{event.name} in block {event.block} is of chunk {event.index}, which nobody has demanded")

    def _on_JobCancelled(self, event: Event) -> None:
        self.status = Status.CANCELLED

    def _on_JobFinalized(self, event: Event) -> None:
        self.status = Status.FINAL

    def _open(self, round: int, attempt: int, model: Model) -> None:
        self.round, self.attempt, self.origin, self.model = round, attempt, attempt, model
        self.submissions = []
        self.head = first_head(self.chain_id, self.ledger, self.job, attempt, model.root)

    def _expect_attempt(self, event: Event) -> None:
        if (event.round, event.attempt) != (self.round, self.attempt):
            raise AuditError(
                f"{event.name} in block {event.block} is of round {event.round}, attempt {event.attempt}, but the "
                f"events before it lead to round {self.round}, attempt {self.attempt}"
            )
