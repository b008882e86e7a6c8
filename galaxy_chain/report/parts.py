"""A job's commits and participants, as a report shows them."""

from __future__ import annotations

from dataclasses import dataclass, field

from galaxy_chain.following.history import Commit
from galaxy_chain.following.turns import settle_from
from galaxy_chain.ledger.events import (
    BalanceWithdrawn,
    BondSlashed,
    ClientJoined,
    JobRegistered,
    RoundCommitted,
    RoundReverted,
    RoundSettled,
    RoundSuperseded,
    UpdatesSubmitted,
)
from galaxy_chain.ledger.records import client_amount, record_word, server_amount
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.report.facts import Facts
from galaxy_chain.report.words import moment
from galaxy_chain.seal.sealing import sealed_size
from galaxy_chain.verify.node_vectors import manifest_id
from galaxy_chain.verify.verdicts import Verdict, commits_of
from galaxy_fl.content import ContentId

__all__ = ["Contents", "Person", "Shown", "Uncommitted", "people", "shown_commits", "uncommitted", "when"]


@dataclass(frozen=True)
class Contents:
    """How contents are called in a store: by their content ids, where the job's document says how large they are."""

    facts: Facts

    def model(self, digest: bytes) -> str:
        """The content id of a model."""
        document = self.facts.document
        return self._id(digest, None if document is None else 4 * document.model_parameters)

    def update(self, digest: bytes) -> str:
        """The content id of an update."""
        return self._id(digest, 4 * self.facts.history.terms.parameters)

    def nodes(self, commit: Commit) -> str:
        """The content id of the list of a commit's partial sums; nothing where it has none."""
        return self._id(commit.nodes_content, manifest_id(commit).size) if commit.nodes else ""

    def document(self) -> str:
        """The content id of the job's document, a block of its own."""
        return ContentId(self.facts.history.terms.spec, 0).cid

    def _id(self, digest: bytes, size: int | None) -> str:
        document = self.facts.document
        if document is None or size is None:
            return f"sha2-256 {digest.hex()}"
        return ContentId(digest, size if document.seal is None else sealed_size(size)).cid


@dataclass(frozen=True)
class Shown:
    """A commit, and what became of it.

    Attributes:
        verdict: What was found; None where it was not recomputed.
        settled: The event that settled it, or None.
        ended: The event that took it back, or None.
        slashed: The punishment of this very commit, or None.
        handed_in: The events by which its entries came in.
    """

    commit: Commit
    verdict: Verdict | None
    settled: RoundSettled | None
    ended: RoundReverted | RoundSuperseded | None
    slashed: BondSlashed | None
    handed_in: tuple[UpdatesSubmitted, ...]

    @property
    def stands(self) -> bool:
        """Whether nobody took it back."""
        return self.ended is None

    def state(self, facts: Facts) -> str:
        """What may still happen to it."""
        number, history = self.commit.record.round, facts.history
        if self.settled is not None:
            return "settled"
        if isinstance(self.ended, RoundSuperseded):
            return "set aside" if self.ended.word == self.commit.word else "void with an earlier round"
        if self.ended is not None:
            return "proved wrong" if self.ended.word == self.commit.word else "void with an earlier round"
        if demands := history.open_demands(self.commit.word):
            return f"open: {len(demands)} chunks demanded, until {moment(max(each.answer_by for each in demands))}"
        until = settle_from(history, number)
        over = until is not None and until <= facts.place.block_time
        return "can be settled" if over else f"can be challenged until {moment(until)}"


def shown_commits(facts: Facts) -> list[Shown]:
    """All commits of a job, by round and attempt, with what became of each."""
    standing: dict[int, bytes] = {}
    ended: dict[bytes, RoundReverted | RoundSuperseded] = {}
    settled: dict[int, RoundSettled] = {}
    slashed: dict[bytes, BondSlashed] = {}
    handed_in = _handed_in(facts)
    for event in facts.events:
        match event:
            case RoundSettled():
                settled[event.round] = event
            case BondSlashed():
                slashed[event.word] = event
            case RoundReverted() | RoundSuperseded():
                for number in [number for number in standing if number >= event.round]:
                    ended[standing.pop(number)] = event
            case RoundCommitted():
                standing[event.record.round] = record_word(event.record)
            case _:
                pass
    return [
        Shown(
            commit,
            facts.verdicts.get(commit.word),
            settled.get(commit.record.round) if commit.word not in ended else None,
            ended.get(commit.word),
            slashed.get(commit.word),
            handed_in.get(commit.record.attempt, ()),
        )
        for commit in commits_of(facts.history)
    ]


def _handed_in(facts: Facts) -> dict[int, tuple[UpdatesSubmitted, ...]]:
    """The events by which entries came in, by their attempts."""
    found: dict[int, list[UpdatesSubmitted]] = {}
    for event in facts.events:
        if isinstance(event, UpdatesSubmitted):
            found.setdefault(event.attempt, []).append(event)
    return {attempt: tuple(events) for attempt, events in found.items()}


@dataclass(frozen=True)
class Uncommitted:
    """Updates that are in no commit: of an attempt that was given up, or of the one that runs.

    Attributes:
        given_up_by: Who had the round collected again; None for what is still collected.
    """

    round: int
    attempt: int
    entries: tuple[Entry, ...]
    handed_in: tuple[UpdatesSubmitted, ...]
    given_up_by: str | None


def uncommitted(facts: Facts) -> list[Uncommitted]:
    """All updates that are in no commit."""
    history = facts.history
    handed_in = _handed_in(facts)
    found = [
        Uncommitted(each.round, each.attempt, each.entries, handed_in.get(each.attempt, ()), each.sender)
        for each in history.reopened
    ]
    if history.attempt == history.origin and len(history.entries):
        now = handed_in.get(history.attempt, ())
        found.append(Uncommitted(history.round, history.attempt, tuple(history.entries), now, None))
    return [each for each in found if each.handed_in]  # those of a rollback are with their commit


@dataclass
class Person:
    """An address that has taken part; amounts in wei."""

    address: str
    roles: list[str] = field(default_factory=list)
    samples: int | None = None
    joined: ClientJoined | None = None
    rounds: list[int] = field(default_factory=list)
    """The rounds that stand whose model has an update of it."""
    left_out: list[int] = field(default_factory=list)
    committed: list[int] = field(default_factory=list)
    settled: int = 0
    """What the settled rounds pay it, whether it was claimed or not."""
    unsettled: int = 0
    found: int = 0
    """What it got for proving commits wrong."""
    lost: int = 0
    """The bonds that it lost."""
    paid: int = 0
    """What was paid out to it."""


def people(facts: Facts) -> list[Person]:
    """Everybody who has taken part: the owner, servers, clients, and who found a lie."""
    found: dict[str, Person] = {}

    def of(address: str, role: str) -> Person:
        person = found.setdefault(address, Person(address))
        if role not in person.roles:
            person.roles.append(role)
        return person

    history = facts.history
    for commit in history.void.values():
        of(commit.record.server, "server")
    for number, commit in sorted(history.commits.items()):
        record, is_settled = commit.record, number <= history.settled
        server = of(record.server, "server")
        server.committed.append(number)
        each, whole = client_amount(record), server_amount(record)
        server.settled += whole if is_settled else 0
        server.unsettled += 0 if is_settled else whole
        for entry in commit.included:
            client = of(entry.client, "client")
            client.rounds.append(number)
            client.settled += each if is_settled else 0
            client.unsettled += 0 if is_settled else each
        for entry in commit.excluded:
            of(entry.client, "client").left_out.append(number)
    for event in facts.events:
        match event:
            case JobRegistered():
                of(event.owner, "owner")
            case ClientJoined():
                client = of(event.client, "client")
                client.joined, client.samples = event, event.samples
            case BondSlashed():
                of(event.server, "server").lost += event.amount
                finder = of(event.finder, "found a lie")
                finder.found += event.reward
            case BalanceWithdrawn():
                if event.account in found:
                    found[event.account].paid += event.amount
            case _:
                pass
    for address in history.expelled:
        if address in found:
            found[address].roles.append("expelled")
    for address, account in history.accounts.items():
        if account.barred and address in found:
            found[address].roles.append("barred")
    order = {"owner": 0, "server": 1, "client": 2, "found a lie": 3}
    return sorted(found.values(), key=lambda person: (min(order.get(role, 9) for role in person.roles), person.address))


def when(facts: Facts, block: int) -> str:
    """The time of a block, where it is known."""
    return moment(facts.times.get(block))
