"""A job's history, rebuilt from its events alone.

The fold is pure, and mirrors the contract: whatever the events make of it has to agree with every head, record and
amount that they name, or somebody lies. It needs no block's header and no view of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, assert_never

from galaxy_chain.exceptions import AuditError
from galaxy_chain.ledger.events import (
    BalanceWithdrawn,
    BondDeposited,
    BondSlashed,
    BondWithdrawn,
    ChunkAnswered,
    ChunkDemanded,
    ClientAdmitted,
    ClientExpelled,
    ClientJoined,
    DemandExpired,
    Event,
    JobCancelled,
    JobFinalized,
    JobFunded,
    JobRegistered,
    LedgerEvent,
    RewardsClaimed,
    RoundCommitted,
    RoundReopened,
    RoundReverted,
    RoundSettled,
    RoundSuperseded,
    UpdatesSubmitted,
)
from galaxy_chain.ledger.excluded import excluded_numbers
from galaxy_chain.ledger.openings import Opening
from galaxy_chain.ledger.records import client_amount, record_word, round_reward, server_amount
from galaxy_chain.ledger.structs import NEVER, Account, Model, Record, State, Status, Terms
from galaxy_chain.ledger.submissions import Block, Entries, Entry, start, unpack_block

__all__ = ["Commit", "JobHistory", "OpenDemand", "Reopening", "Superseding"]

_MOST_REOPENINGS = 10
"""What the ledger counts to."""
_FINDERS_PART = 4
"""The finder of a wrong commit has this part of the bond, rounded down."""


@dataclass(frozen=True)
class Commit:
    """A committed round: from which model, over which entries, to which model, and where on the chain.

    Attributes:
        attempt: The attempt that ended with it; the record's own is an earlier one after a rollback.
        blocks: The entries of the record's attempt, in the blocks in which they were taken.
        block: The number of the chain's block.
    """

    attempt: int
    record: Record
    previous: Model
    blocks: tuple[Block, ...]
    block: int
    transaction: bytes

    @cached_property
    def word(self) -> bytes:
        """The word that the ledger keeps of the record."""
        return record_word(self.record)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All entries in the order of their numbers."""
        return tuple(entry for block in self.blocks for entry in block)

    @cached_property
    def left_out(self) -> frozenset[int]:
        """The numbers of the excluded entries."""
        return excluded_numbers(self.record.excluded, self.record.updates)

    @property
    def included(self) -> tuple[Entry, ...]:
        """The entries that were not excluded, in order."""
        return tuple(entry for number, entry in enumerate(self.entries) if number not in self.left_out)

    @property
    def excluded(self) -> tuple[Entry, ...]:
        """The entries that were excluded, in order."""
        return tuple(self.entries[number] for number in sorted(self.left_out))


@dataclass(frozen=True)
class Reopening:
    """A round that was collected again: by whom, and what was in until then."""

    attempt: int
    round: int
    sender: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Superseding:
    """A commit that was set aside because nobody built upon it, and by whom."""

    commit: Commit
    sender: str
    time: int


@dataclass(frozen=True)
class OpenDemand:
    """A demand that waits for an answer.

    Attributes:
        index: The number of the chunk.
        answer_by: In seconds, by the chain's time.
        deposits: How many times the demand deposit it cost.
        announced: Whether its expiry is rewarded.
    """

    demander: str
    index: int
    answer_by: int
    deposits: int
    announced: bool


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
    keeps_model: bool = False
    status: Status = Status.NONE
    cancelled: bool = False

    round: int = 0
    attempt: int = 0
    origin: int = 0
    """The attempt whose entries count: the current one, or an earlier one after a rollback."""
    model: Model = field(init=False)
    entries: Entries = field(init=False)
    closes_at: int = NEVER
    built: bool = False
    reopenings: int = 0
    reopenings_before: int = 0
    """Those of the round that was committed last: it has them again if its commit is superseded."""
    settled: int = 0
    last_round: int = 0
    highest: int = 0
    active_at: int = 0

    pool: int = 0
    allotted: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)
    """What addresses have in the job, as far as events tell; `account` has the others."""
    deposits: dict[str, int] = field(default_factory=dict)
    """How often each address has added to its bond."""

    commits: dict[int, Commit] = field(default_factory=dict)
    """The commits that stand, by round."""
    void: dict[bytes, Commit] = field(default_factory=dict)
    """The commits that were reverted or superseded, by the record's word."""
    superseded: set[bytes] = field(default_factory=set)
    """The words of those that were superseded and not proved wrong since: they can still be challenged."""
    reopened: list[Reopening] = field(default_factory=list)
    """The attempts that were given up for another one."""
    supersedings: list[Superseding] = field(default_factory=list)
    """All that were superseded, in order, those that were proved wrong since among them."""
    demands: dict[bytes, dict[int, OpenDemand]] = field(default_factory=dict)
    """The demands that are open, by the record's word and the chunk."""
    expired: dict[bytes, set[int]] = field(default_factory=dict)
    """The chunks whose demand has ended without an answer, its deposit given back, by the word of the record."""
    answers: dict[bytes, dict[int, Opening]] = field(default_factory=dict)
    """What was opened of committed models under demand, by the record's word and the chunk."""
    claimed: dict[int, set[int]] = field(default_factory=dict)
    """The entries that were credited, by the round."""

    clients: dict[str, int] = field(default_factory=dict)
    """The samples that each client declared."""
    admitted: set[str] = field(default_factory=set)
    expelled: set[str] = field(default_factory=set)
    _handed_in: set[str] = field(default_factory=set)
    """Who has an entry in the current attempt."""

    @property
    def head(self) -> bytes:
        """The head of the entries: 32 bytes."""
        return self.entries.head

    @property
    def finished(self) -> bool:
        """Whether all rounds are committed."""
        return self.owner is not None and self.round > self.last_round

    @property
    def state(self) -> State:
        """What the ledger says of the job, if the events are all that happened."""
        return State(
            self.round, self.attempt, self.settled, self.last_round, self.closes_at, len(self.entries), self.status,
            self.built, self.reopenings, self.origin, self.highest, self.active_at, self.cancelled, self.keeps_model,
            self.reopenings_before,
        )  # fmt: skip

    def account(self, address: str) -> Account:
        """What an address has in the job."""
        return self.accounts.get(address, Account())

    def open_demands(self, word: bytes) -> list[OpenDemand]:
        """The demands that are open on a record, in order of their chunks.

        Any number may wait at a time, one a chunk: whoever counted on one being alone could be kept from it by another.
        """
        return [demand for _, demand in sorted(self.demands.get(word, {}).items())]

    def challengeable(self) -> Iterator[Commit]:
        """The commits that can be proved wrong if their windows are not over: unsettled and superseded ones."""
        yield from (commit for round, commit in sorted(self.commits.items()) if round > self.settled)
        yield from (commit for word, commit in self.void.items() if word in self.superseded)

    def lineage(self, commit: Commit) -> list[Commit]:
        """The commits of the rounds before a commit, from the first on, that led to the model that it began with.

        Those that stand, but for a commit that does not stand itself: its round may have another past by now.
        """
        line: list[Commit] = []
        model = commit.previous
        for number in range(commit.record.round - 1, 0, -1):
            standing = self.commits.get(number)
            candidates = [*([] if standing is None else [standing]), *reversed(self.void.values())]
            before = next(c for c in candidates if c.record.round == number and c.record.next == model)
            line.append(before)
            model = before.previous
        return line[::-1]

    def apply(self, event: LedgerEvent) -> None:
        """Takes the next event.

        Raises:
            AuditError: it contradicts the events before.
        """
        if (self.owner is None) != isinstance(event, JobRegistered):
            stands = "has been registered before" if self.owner else "is not registered yet"
            raise AuditError(f"job {self.job}: {event.name} in block {event.block}, but the job {stands}")
        match event:
            case JobRegistered():
                self._on_job_registered(event)
            case JobFunded():
                self._on_job_funded(event)
            case JobCancelled():
                self._on_job_cancelled(event)
            case JobFinalized():
                self._on_job_finalized(event)
            case ClientAdmitted():
                self._on_client_admitted(event)
            case ClientExpelled():
                self._on_client_expelled(event)
            case ClientJoined():
                self._on_client_joined(event)
            case UpdatesSubmitted():
                self._on_updates_submitted(event)
            case RoundCommitted():
                self._on_round_committed(event)
            case RoundReopened():
                self._on_round_reopened(event)
            case RoundReverted():
                self._on_round_reverted(event)
            case RoundSuperseded():
                self._on_round_superseded(event)
            case RoundSettled():
                self._on_round_settled(event)
            case RewardsClaimed():
                self._on_rewards_claimed(event)
            case BalanceWithdrawn():
                self._on_balance_withdrawn(event)
            case BondDeposited():
                self._on_bond_deposited(event)
            case BondWithdrawn():
                self._on_bond_withdrawn(event)
            case ChunkDemanded():
                self._on_chunk_demanded(event)
            case ChunkAnswered():
                self._on_chunk_answered(event)
            case DemandExpired():
                self._on_demand_expired(event)
            case BondSlashed():
                self._on_bond_slashed(event)
            case _:
                assert_never(event)

    # The job

    def _on_job_registered(self, event: JobRegistered) -> None:
        self.owner, self.terms, self.initial, self.keeps_model = (
            event.owner,
            event.terms,
            event.model,
            event.keeps_model,
        )
        self.status, self.last_round, self.active_at = Status.RUNNING, event.terms.rounds, event.time
        self._open(1, event.model)

    def _on_job_funded(self, event: JobFunded) -> None:
        if self.finished or self.cancelled or self.status is not Status.RUNNING:
            raise self._contradiction(event, "the job takes no more money")
        self.pool += event.amount

    def _on_job_cancelled(self, event: JobCancelled) -> None:
        if self.cancelled:
            raise self._contradiction(event, "the job was cancelled before")
        self._same(event, "last_round", event.last_round, min(self.last_round, max(self.round, self.highest)))
        self.cancelled, self.last_round, self.active_at = True, event.last_round, event.time

    def _on_job_finalized(self, event: JobFinalized) -> None:
        if self.status is not Status.RUNNING:
            raise self._contradiction(event, "the job is final already")
        if self.settled != self.last_round and not (self.cancelled and self.settled == self.round - 1):
            raise self._contradiction(event, f"of the rounds up to {self.last_round} only {self.settled} are settled")
        self._same(event, "owner", event.owner, self.owner)
        self._same(event, "root", event.root, self.model.root)
        self._same(event, "rest", event.rest, self.pool - self.allotted)
        self.status = Status.FINAL
        self._credit(event.owner, event.rest)

    # Clients and their entries

    def _on_client_admitted(self, event: ClientAdmitted) -> None:
        self.admitted.add(event.client)

    def _on_client_expelled(self, event: ClientExpelled) -> None:
        self.expelled.add(event.client)

    def _on_client_joined(self, event: ClientJoined) -> None:
        if event.client in self.clients:
            raise self._contradiction(event, f"{event.client} has joined before")
        self.clients[event.client] = event.samples

    def _on_updates_submitted(self, event: UpdatesSubmitted) -> None:
        self._same(event, "attempt", event.attempt, self.attempt)
        self._same(event, "first", event.first, len(self.entries))
        if self.origin != self.attempt:
            raise self._contradiction(event, "after a rollback the entries of the round are complete")
        before = len(self.entries)
        try:
            block = unpack_block(event.entries)
            self.entries.append(block)
        except ValueError as error:
            raise self._contradiction(event, str(error)) from error
        for entry in block:
            client, weight, declared = entry.client, entry.update.weight, self.clients.get(entry.client, 0)
            if client in self._handed_in:
                raise self._contradiction(event, f"{client} has an entry in this attempt")
            if client in self.expelled:
                raise self._contradiction(event, f"{client} was expelled")
            if not 1 <= weight <= declared:
                raise self._contradiction(event, f"{client} hands in a weight of {weight}, but declared {declared}")
            self._handed_in.add(client)
        terms, count = self.terms, len(self.entries)
        if count > terms.max_clients:
            raise self._contradiction(event, f"{count} entries are in, but the job takes {terms.max_clients}")
        if (count < terms.min_clients) != (event.closes_at == NEVER):
            raise self._contradiction(event, f"collecting ends at {event.closes_at} with {count} entries")
        if terms.min_clients <= before and count < terms.max_clients:
            self._same(event, "closes_at", event.closes_at, self.closes_at)
        self.closes_at = event.closes_at
        self.built = self.built or count >= terms.min_clients

    # Rounds

    def _on_round_committed(self, event: RoundCommitted) -> None:
        record: Record = event.record
        self._expect_attempt(event, record.round)
        if record.head != self.head:
            raise AuditError(
                f"round {record.round}: the commit names the head {record.head.hex()}, but the entries of attempt "
                f"{self.origin} lead to {self.head.hex()}"
            )
        if self.finished or self.status is not Status.RUNNING:
            raise self._contradiction(event, "the job takes no more commits")
        if record.round - 1 - self.settled >= self.terms.max_unsettled:
            raise self._contradiction(event, f"the rounds after {self.settled} are not settled")
        expected = {
            "attempt": self.origin,
            "updates": len(self.entries),
            "previous_root": self.model.root,
            "reward": round_reward(self.pool, self.allotted, self.terms.rounds, record.round),
            "allotted_before": self.allotted,
            "server": event.server,
        }
        for name, value in expected.items():
            if getattr(record, name) != value:
                raise self._contradiction(
                    event, f"the record's {name} is {_shown(getattr(record, name))}, expected {_shown(value)}"
                )
        if record.share != self.terms.server_share and (record.share or record.server == self.terms.server):
            raise self._contradiction(event, f"the record's share is {record.share}")
        if self.keeps_model and record.next.root != self.model.root:
            raise self._contradiction(event, "the rule keeps the model, but the root is another")
        if record.time < self.closes_at:
            raise self._contradiction(event, f"it came at {record.time}, but collecting ends at {self.closes_at}")
        commit = Commit(event.attempt, record, self.model, tuple(self.entries.blocks), event.block, event.transaction)
        try:
            left = record.updates - len(commit.left_out)
        except ValueError as error:
            raise self._contradiction(event, str(error)) from error
        if left < max(1, self.terms.min_clients):
            raise self._contradiction(event, f"{left} updates are included, expected {self.terms.min_clients} at least")
        self._lock(event, record.server, record.time)
        self.commits[record.round] = commit
        self.allotted += record.reward
        self.highest = max(self.highest, record.round)
        self.reopenings_before, self.reopenings = self.reopenings, 0
        self.built, self.active_at = False, record.time
        self._open(record.round + 1, record.next)

    def _on_round_reopened(self, event: RoundReopened) -> None:
        self._expect_attempt(event, event.round)
        self._lock(event, event.sender, event.time)
        self.reopened.append(Reopening(event.attempt, event.round, event.sender, tuple(self.entries)))
        self.reopenings = min(self.reopenings + 1, _MOST_REOPENINGS)
        self._open(event.round, self.model)

    def _on_round_reverted(self, event: RoundReverted) -> None:
        self._roll_back(event)

    def _on_round_superseded(self, event: RoundSuperseded) -> None:
        round_: int = event.round
        if round_ != self.round - 1 or round_ >= self.last_round or self.built:
            raise self._contradiction(event, f"round {round_} can't be superseded")
        commit = self._roll_back(event)
        if event.server != commit.record.server or event.sender == event.server:
            raise self._contradiction(event, f"{commit.record.server} committed it, and can't do this")
        self.reopenings = self.reopenings_before
        self.superseded.add(commit.word)
        self.supersedings.append(Superseding(commit, event.sender, event.time))
        self._change(event.server, late=True, late_round=round_)
        self._lock(event, event.sender, event.time)

    def _roll_back(self, event: RoundReverted | RoundSuperseded) -> Commit:
        commit = self.commits.get(event.round)
        if commit is None or commit.word != event.word:
            raise self._contradiction(
                event, f"the record {event.word.hex()} of round {event.round} is none that stands"
            )
        if event.round <= self.settled:
            raise self._contradiction(event, f"round {event.round} is settled")
        self._same(event, "attempt", event.attempt, self.attempt + 1)
        for number in sorted(number for number in self.commits if number >= event.round):
            gone = self.commits.pop(number)
            self.void[gone.word] = gone
        record = commit.record
        self.round, self.attempt, self.origin, self.model = record.round, event.attempt, record.attempt, commit.previous
        self.entries = Entries(self._start(record.attempt, commit.previous), commit.blocks)
        self.allotted = record.allotted_before
        self.closes_at = self.active_at = event.time
        self.built, self.reopenings = True, 0
        return commit

    # Money

    def _on_round_settled(self, event: RoundSettled) -> None:
        self._same(event, "round", event.round, self.settled + 1)
        commit = self.commits.get(event.round)
        if commit is None:
            raise self._contradiction(event, f"round {event.round} has no commit that stands")
        record = commit.record
        if commit.word in self.demands:
            raise self._contradiction(event, f"demands on round {event.round} are open")
        if event.time < record.time + self.terms.challenge_seconds:
            raise self._contradiction(event, f"the window of round {event.round} is not over at {event.time}")
        self._same(event, "server", event.server, record.server)
        self._same(event, "server_amount", event.server_amount, server_amount(record))
        self._same(event, "client_amount", event.client_amount, client_amount(record))
        self.settled, self.closes_at, self.active_at = event.round, event.closes_at, event.time
        self._credit(event.server, event.server_amount)
        account = self.account(event.server)
        if account.late and event.round >= account.late_round:
            self._change(event.server, late=False)

    def _on_rewards_claimed(self, event: RewardsClaimed) -> None:
        if event.round > self.settled:
            raise self._contradiction(event, f"the settled rounds are 1 to {self.settled}")
        commit, claimed = self.commits[event.round], self.claimed.setdefault(event.round, set())
        self._same(event, "amount", event.amount, client_amount(commit.record))
        for bit in range(256):
            if not event.entries >> bit & 1:
                continue
            number = 256 * event.word + bit
            if number >= commit.record.updates or number in commit.left_out or number in claimed:
                raise self._contradiction(event, f"entry {number} of round {event.round} has nothing to claim")
            claimed.add(number)
            self._credit(commit.entries[number].client, event.amount)

    def _on_balance_withdrawn(self, event: BalanceWithdrawn) -> None:
        self._same(event, "amount", event.amount, self.account(event.account).balance)
        self._change(event.account, balance=0)

    def _on_bond_deposited(self, event: BondDeposited) -> None:
        self._change(event.server, bond=self.account(event.server).bond + event.amount)
        self.deposits[event.server] = self.deposits.get(event.server, 0) + 1

    def _on_bond_withdrawn(self, event: BondWithdrawn) -> None:
        self._same(event, "amount", event.amount, self.account(event.server).bond)
        self._change(event.server, bond=0)

    # Challenges

    def _on_chunk_demanded(self, event: ChunkDemanded) -> None:
        commit = self._known(event)
        if not self._can_be_challenged(commit):
            raise self._contradiction(event, f"the record of round {event.round} is void or settled")
        waiting = self.demands.setdefault(event.word, {})
        if event.index in waiting:
            raise self._contradiction(event, f"chunk {event.index} of round {event.round} is demanded already")
        server = commit.record.server
        deposits = 1 + self.account(server).demands
        self._same(event, "deposit", event.deposit, deposits * self.terms.demand_deposit)
        waiting[event.index] = OpenDemand(event.demander, event.index, event.answer_by, deposits, event.announced)
        self._change(server, demands=deposits)
        self._credit(event.demander, event.excess)

    def _on_chunk_answered(self, event: ChunkAnswered) -> None:
        commit = self._known(event)
        if not self._can_be_challenged(commit):
            raise self._contradiction(event, f"the record of round {event.round} is void or settled")
        if event.paid not in (commit.record.server, event.sender):
            raise self._contradiction(event, f"{event.paid} has neither committed nor answered")
        self._end_demand(event, commit, event.paid)
        try:
            opening = Opening.unpack(event.next, self.terms.chunk_parameters)
        except ValueError as error:
            raise self._contradiction(event, str(error)) from error
        self.answers.setdefault(event.word, {})[event.index] = opening

    def _on_demand_expired(self, event: DemandExpired) -> None:
        demand = self._end_demand(event, self._known(event), event.demander)
        self._same(event, "demander", event.demander, demand.demander)
        self.expired.setdefault(event.word, set()).add(event.index)

    def _on_bond_slashed(self, event: BondSlashed) -> None:
        commit = self._known(event)
        self._same(event, "server", event.server, commit.record.server)
        self._same(event, "amount", event.amount, self.account(event.server).bond)
        if event.reward not in (0, event.amount // _FINDERS_PART):
            raise self._contradiction(event, f"the finder has {event.reward} of a bond of {event.amount} wei")
        self._change(event.server, bond=0, barred=True)
        self._credit(event.finder, event.reward)
        self.superseded.discard(event.word)

    # What they share

    def _start(self, attempt: int, model: Model) -> bytes:
        return start(self.chain_id, self.ledger, self.job, attempt, model.root)

    def _open(self, round: int, model: Model) -> None:
        self.attempt += 1
        self.round, self.origin, self.model, self.closes_at = round, self.attempt, model, NEVER
        self.entries = Entries(self._start(self.attempt, model))
        self._handed_in = set()

    def _expect_attempt(self, event: RoundCommitted | RoundReopened, round: int) -> None:
        if (round, event.attempt) != (self.round, self.attempt):
            raise AuditError(
                f"{event.name} in block {event.block} is of round {round}, attempt {event.attempt}, but the "
                f"events before it lead to round {self.round}, attempt {self.attempt}"
            )

    def _same(self, event: Event, name: str, found: object, expected: object) -> None:
        """Compares an argument of an event with what the events before it make it."""
        if found != expected:
            raise self._contradiction(event, f"its {name} is {_shown(found)}, expected {_shown(expected)}")

    def _contradiction(self, event: Event, what: str) -> AuditError:
        return AuditError(f"job {self.job}: {event.name} in block {event.block} can't be: {what}")

    def _known(self, event: ChunkDemanded | ChunkAnswered | DemandExpired | BondSlashed) -> Commit:
        """The commit with the word that an event names."""
        round_ = None if isinstance(event, BondSlashed) else event.round
        standing = None if round_ is None else self.commits.get(round_)
        if standing is not None and standing.word == event.word:
            return standing
        for commit in (*self.void.values(), *self.commits.values()):
            if commit.word == event.word and round_ in (None, commit.record.round):
                return commit
        raise self._contradiction(event, f"there is no record {event.word.hex()}")

    def _can_be_challenged(self, commit: Commit) -> bool:
        if commit.word in self.superseded:
            return True
        return commit.record.round > self.settled and self.commits.get(commit.record.round) is commit

    def _end_demand(self, event: ChunkAnswered | DemandExpired, commit: Commit, paid: str) -> OpenDemand:
        """Ends the demand that an event names, its deposit going to somebody."""
        waiting = self.demands.get(event.word, {})
        demand = waiting.pop(event.index, None)
        if demand is None:
            raise self._contradiction(event, f"chunk {event.index} of round {event.round} is not demanded")
        self._same(event, "deposit", event.deposit, demand.deposits * self.terms.demand_deposit)
        if not waiting:
            del self.demands[event.word]
        self._change(commit.record.server, demands=self.account(commit.record.server).demands - 1)
        self._credit(paid, event.deposit)
        return demand

    def _lock(self, event: Event, address: str, time: int) -> None:
        """Locks the bond of an account that acted."""
        account = self.account(address)
        if account.barred or account.bond < self.terms.bond:
            raise self._contradiction(
                event, f"{address} is barred" if account.barred else f"{address} has a bond of {account.bond} wei"
            )
        self._change(address, locked_until=time + self.terms.challenge_seconds)

    def _credit(self, address: str, amount: int) -> None:
        if amount:
            self._change(address, balance=self.account(address).balance + amount)

    def _change(self, address: str, **values: Any) -> None:
        self.accounts[address] = replace(self.account(address), **values)


def _shown(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
