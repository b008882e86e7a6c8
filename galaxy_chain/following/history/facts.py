"""All that a job's events say, and what every part of the fold uses."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Self

from galaxy_chain.exceptions import AuditError
from galaxy_chain.following.history.commit import Commit, OpenDemand, Reopening, Superseding
from galaxy_chain.ledger.events import Event
from galaxy_chain.ledger.openings import Opening
from galaxy_chain.ledger.structs import NEVER, Account, Model, State, Status, Terms
from galaxy_chain.ledger.submissions import Entries, start

__all__ = ["Facts", "shown"]


@dataclass
class Facts:
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
    is_sum: bool = False
    """Whether rounds with more than `fan_in` entries have a tree of sums."""
    status: Status = Status.NONE
    cancelled: bool = False

    round: int = 0
    attempt: int = 0
    origin: int = 0
    """The attempt whose entries count: the current one, or an earlier one after a rollback."""
    model: Model = field(init=False)
    entries: Entries = field(init=False)
    blocks: int = 0
    """Blocks in the last segment of the attempt that collected last, as long as it is not full."""
    shut: int = 0
    """Entries in its full segments."""
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
    demands: dict[bytes, dict[tuple[int, int], OpenDemand]] = field(default_factory=dict)
    """The demands that are open, by the record's word, and the node and the chunk."""
    demanded: int = 0
    """How many demands there have been."""
    expired: dict[bytes, set[tuple[int, int]]] = field(default_factory=dict)
    """The nodes and chunks whose demand has ended without an answer, its deposit given back, by the record's word."""
    answers: dict[bytes, dict[tuple[int, int], Opening]] = field(default_factory=dict)
    """What was opened of nodes, and of committed models, under demand, by the record's word, and the node and the
    chunk."""
    claimed: dict[int, set[int]] = field(default_factory=dict)
    """The entries that were credited, by the round."""

    clients: dict[str, int] = field(default_factory=dict)
    """The samples that each client declared."""
    keys: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    """The public keys that each account has registered for content keys, of which the last counts."""
    first_with: dict[bytes, str] = field(default_factory=dict)
    """The account that was the first to register each of them."""
    epochs: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    """The content keys by their digests, in the order in which they were first shared, and what was wrapped of each."""
    admitted: set[str] = field(default_factory=set)
    expelled: set[str] = field(default_factory=set)
    _handed_in: set[str] = field(default_factory=set)
    """Who has an entry in the current attempt."""

    def snapshot(self) -> Self:
        """A copy that stays as it is while this history grows."""
        copied = copy(self)
        for name, value in vars(self).items():
            setattr(copied, name, _copied(value))
        return copied

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
            self.built, self.blocks, self.shut, self.reopenings, self.origin, self.highest, self.active_at,
            self.cancelled, self.keeps_model, self.is_sum, self.reopenings_before,
        )  # fmt: skip

    def has_entry(self, client: str) -> bool:
        """Whether a client has an entry in the current attempt."""
        return client in self._handed_in

    def account(self, address: str) -> Account:
        """What an address has in the job."""
        return self.accounts.get(address, Account())

    def open_demands(self, word: bytes) -> list[OpenDemand]:
        """The demands that are open on a record, in order of their nodes and chunks.

        Any number may wait at a time, one a chunk of a node: whoever counted on one being alone could be kept from it
        by another.
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

    # What they share

    def _start(self, attempt: int, model: Model) -> bytes:
        return start(self.chain_id, self.ledger, self.job, attempt, model.root)

    def _open(self, round: int, model: Model) -> None:
        self.attempt += 1
        self.round, self.origin, self.model, self.closes_at = round, self.attempt, model, NEVER
        self.entries, self.blocks, self.shut = Entries(self._start(self.attempt, model)), 0, 0
        self._handed_in = set()

    def _same(self, event: Event, name: str, found: object, expected: object) -> None:
        """Compares an argument of an event with what the events before it make it."""
        if found != expected:
            raise self._contradiction(event, f"its {name} is {shown(found)}, expected {shown(expected)}")

    def _contradiction(self, event: Event, what: str) -> AuditError:
        return AuditError(f"job {self.job}: {event.name} in block {event.block} can't be: {what}")

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


def _copied(value: Any) -> Any:
    """What can grow, copied; all else is never changed."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return copy(value) if isinstance(value, set | list | Entries) else value


def shown(value: Any) -> Any:
    """A value as a message shows it."""
    return value.hex() if isinstance(value, bytes) else value
