"""What became of each attempt of a job, with times and transactions, by its events alone. Pure.

`JobHistory` says where a job stands; this is what it does not keep: when attempts began and ended, by which
transaction, what was demanded meanwhile, and who was punished.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from galaxy_chain.ledger.events import (
    BondSlashed,
    ChunkAnswered,
    ChunkDemanded,
    DemandExpired,
    JobCancelled,
    JobRegistered,
    LedgerEvent,
    RoundCommitted,
    RoundReopened,
    RoundReverted,
    RoundSettled,
    RoundSuperseded,
    UpdatesSubmitted,
)
from galaxy_chain.ledger.records import record_word
from galaxy_chain.ledger.submissions import ENTRY_BYTES

__all__ = ["Committed", "Demanded", "Ended", "HandedIn", "Punished", "Timeline", "Tried"]

MOST_CHALLENGES = 10_000
"""Demands of one attempt that are kept, the newest."""


@dataclass(frozen=True, slots=True)
class HandedIn:
    """Entries that came in by one transaction: so many from a number on."""

    transaction: bytes
    block: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The commit of an attempt."""

    word: bytes
    transaction: bytes
    block: int
    time: int
    server: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended: its commit was `settled`, or it was `reverted`, `superseded` or `reopened`. One that was
    still collecting ends with the commit that it stood on.

    Attributes:
        round: The round that the event names: an earlier one where a commit went with that before it.
        sender: Who had it reopened or superseded.
    """

    how: str
    transaction: bytes
    block: int
    time: int
    round: int
    sender: str | None = None


@dataclass(slots=True)
class Demanded:
    """A demand, and what became of it."""

    event: ChunkDemanded
    outcome: str = "open"
    by: bytes | None = None


@dataclass(frozen=True, slots=True)
class Punished:
    """A bond that was lost with a commit."""

    event: BondSlashed
    how: str


@dataclass(slots=True)
class Tried:
    """An attempt at a round.

    Attributes:
        origin: The attempt whose entries count.
        handed_in: The entries that came in during this attempt.
    """

    number: int
    round: int
    origin: int
    time: int
    block: int
    handed_in: list[HandedIn] = field(default_factory=list)
    committed: Committed | None = None
    ended: Ended | None = None
    demands: deque[Demanded] = field(default_factory=lambda: deque(maxlen=MOST_CHALLENGES))
    open: dict[tuple[int, int], Demanded] = field(default_factory=dict)


class Timeline:
    """The attempts of a job, event by event. The events have to be those of a history that has taken them."""

    def __init__(self) -> None:
        self.tried: dict[int, Tried] = {}
        """By the attempt's number."""
        self.of_round: dict[int, list[int]] = {}
        """The numbers of the attempts at each round, in order."""
        self.punished: dict[bytes, Punished] = {}
        """By the word of the record."""
        self.cancelled: JobCancelled | None = None
        self.last_round = 0
        """As the terms have it."""
        self.changed: set[int] = set()
        """The rounds that something has happened to since somebody emptied it."""
        self._current: Tried | None = None
        self._of_word: dict[bytes, Tried] = {}

    def apply(self, event: LedgerEvent) -> None:
        """Take the next event."""
        match event:
            case JobRegistered():
                self.last_round = event.terms.rounds
                self._open(1, 1, 1, event.time, event.block)
            case UpdatesSubmitted():
                count = len(event.entries) // ENTRY_BYTES
                running = self._running()
                running.handed_in.append(HandedIn(event.transaction, event.block, event.first, count))
                self.changed.add(running.round)
            case RoundCommitted():
                self._commit(event)
            case RoundReopened():
                running = self._running()
                running.ended = Ended("reopened", event.transaction, event.block, event.time, event.round, event.sender)
                self._open(event.attempt + 1, running.round, event.attempt + 1, event.time, event.block)
            case RoundReverted():
                self._take_back(event, "reverted", None)
            case RoundSuperseded():
                self._take_back(event, "superseded", event.sender)
            case RoundSettled():
                settled = self._standing(event.round)
                settled.ended = Ended("settled", event.transaction, event.block, event.time, event.round)
                self.changed.add(event.round)
            case ChunkDemanded():
                of = self._of_word[event.word]
                demanded = Demanded(event)
                of.demands.append(demanded)
                of.open[event.node, event.index] = demanded
                self.changed.add(of.round)
            case ChunkAnswered() | DemandExpired():
                of = self._of_word[event.word]
                ended = of.open.pop((event.node, event.index), None)
                if ended is not None:
                    ended.outcome = "answered" if isinstance(event, ChunkAnswered) else "expired"
                    ended.by = event.transaction
                self.changed.add(of.round)
            case BondSlashed():
                of = self._of_word[event.word]
                # The ledger ends the demand before it slashes, in one transaction.
                expired = any(each.by == event.transaction and each.outcome == "expired" for each in of.demands)
                self.punished[event.word] = Punished(event, "expired" if expired else "challenged")
                self.changed.add(of.round)
            case JobCancelled():
                self.cancelled = event
            case _:
                pass  # money and members: the history has them

    def attempts(self, round: int) -> list[Tried]:
        """The attempts at a round, in order."""
        return [self.tried[number] for number in self.of_round.get(round, ())]

    def entries_of(self, tried: Tried) -> list[HandedIn]:
        """How the entries came in that an attempt has: its own, or those of the attempt that it goes back to."""
        return self.tried[tried.origin].handed_in

    def all(self) -> Iterator[Tried]:
        """All attempts, in order."""
        yield from self.tried.values()

    @property
    def rounds(self) -> int:
        """How many rounds were begun."""
        return len(self.of_round)

    def _open(self, number: int, round: int, origin: int, time: int, block: int) -> None:
        self._current = self.tried[number] = Tried(number, round, origin, time, block)
        self.of_round.setdefault(round, []).append(number)
        self.changed.add(round)

    def _running(self) -> Tried:
        assert self._current is not None, "an event before the job's registration"
        return self._current

    def _commit(self, event: RoundCommitted) -> None:
        running, record = self._running(), event.record
        word = record_word(record)
        running.committed = Committed(word, event.transaction, event.block, record.time, event.server)
        self._of_word[word] = running
        self.changed.add(running.round)
        if record.round < self._last():
            self._open(event.attempt + 1, record.round + 1, event.attempt + 1, record.time, event.block)

    def _last(self) -> int:
        return self.last_round if self.cancelled is None else self.cancelled.last_round

    def _standing(self, round: int) -> Tried:
        return next(
            each
            for each in reversed(self.attempts(round))
            if each.committed is not None and (each.ended is None or each.ended.how == "settled")
        )

    def _take_back(self, event: RoundReverted | RoundSuperseded, how: str, sender: str | None) -> None:
        first = self._standing(event.round)
        ended = Ended(how, event.transaction, event.block, event.time, event.round, sender)
        for each in self.tried.values():
            if each.number >= first.number and each.ended is None:
                each.ended = ended
                self.changed.add(each.round)
        self._open(event.attempt, event.round, first.origin, event.time, event.block)
