"""All that a job's report is made of: read from the ledger and the store, recomputed, and noted where that failed."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eth_utils.address import to_checksum_address

import galaxy_chain
from galaxy_chain.exceptions import AuditError
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import JobHistory
from galaxy_chain.jobs.rounds import metrics_of
from galaxy_chain.ledger.artifacts import artifact, rule_of_code
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.ledger.events import ClientJoined, LedgerEvent, UpdatesSubmitted
from galaxy_chain.ledger.genuine import PARTS, created_address
from galaxy_chain.report.source import commit_of_source
from galaxy_chain.verify.audit import AuditedAttempt, Auditor
from galaxy_chain.verify.verdicts import Outcome, Verdict, commits_of, verdict_on
from galaxy_fl.content import Store
from galaxy_fl.exceptions import ConfigurationError, GalaxyError, JobDocumentError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.keccak import keccak

__all__ = ["Code", "Facts", "Place", "Trouble", "Versions", "gather", "rounds_meant"]

MOST_TIMES = 2_000
"""Blocks whose time is asked for where events do not have it: each takes a request."""
AT_ONCE = 8
"""Requests for them at a time."""


@dataclass(frozen=True)
class Code:
    """The code of a contract: what for, where, its keccak256, and whether it is the one that this version knows."""

    what: str
    address: str
    keccak: str
    known: bool


@dataclass(frozen=True)
class Place:
    """Where the job is, and up to which block it was read."""

    deployment: Deployment
    codes: tuple[Code, ...]
    block: int
    block_hash: str
    block_time: int
    final: int
    """The newest block that the chain will not take back; -1 for none."""


@dataclass(frozen=True)
class Versions:
    """What the report was made with."""

    galaxy: str
    commit: str | None
    """Of the source, where that is known."""
    python: str


@dataclass(frozen=True)
class Trouble:
    """What is not as the ledger says, or could not be checked: what, why, and which of the two."""

    what: str
    why: str
    wrong: bool


@dataclass(frozen=True)
class Facts:
    """What a report is made of.

    Attributes:
        events: All of the job's, in order.
        times: Seconds by the number of the block, as far as they are known.
        document: The job's; None where it is not at hand.
        lacking: Why nothing could be recomputed; empty where that was tried.
        verdicts: By the word of the commit's record; of some only those that were asked for.
        troubles: What else is wrong, or could not be checked: the initial model, and the contract's own state.
        asides: Attempts that were given up, and commits that were superseded.
        measured: A server's measurements on this machine, by attempt and model.
        published: What clients of a private job have published, by their address: trainings and epsilon.
    """

    job: int
    place: Place
    history: JobHistory
    events: tuple[LedgerEvent, ...]
    times: dict[int, int]
    document: JobDocument | None
    lacking: str
    verdicts: dict[bytes, Verdict]
    troubles: tuple[Trouble, ...]
    asides: tuple[AuditedAttempt, ...]
    measured: dict[tuple[int, str], dict[str, Any]]
    published: dict[str, tuple[int, float | None]]
    versions: Versions

    def count(self, outcome: Outcome) -> int:
        """How many commits that stand have that verdict."""
        return sum(
            verdict.outcome is outcome
            for commit in self.history.commits.values()
            if (verdict := self.verdicts.get(commit.word)) is not None
        )

    @property
    def lies(self) -> list[Verdict]:
        """The verdicts on commits that are wrong, those that were taken back among them."""
        return [verdict for verdict in self.verdicts.values() if verdict.outcome is Outcome.WRONG]


def rounds_meant(text: str | None, history: JobHistory) -> frozenset[int] | None:
    """The rounds that are meant by a text such as `3`, `2-5`, `1,4-6` or `last`; None for all.

    Raises:
        ConfigurationError: it is no such text, or there is no commit of a round of it.
    """
    if text is None:
        return None
    committed = {commit.record.round for commit in commits_of(history)}
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = (each.strip() for each in part.partition("-"))
        if part.strip() == "last":
            first = last = str(max(committed, default=0))
        if not all(each.isascii() and each.isdecimal() and len(each) < 10 for each in (first, last if dash else first)):
            raise ConfigurationError(
                f"{text!r:.80} are not rounds: expected numbers from 1 on, ranges, or last, such as 3, 2-5 or 1,4-6"
            )
        within = {each for each in committed if int(first) <= each <= int(last if dash else first)}
        if not within:
            raise ConfigurationError(
                f"{part.strip()!r} is not a round of job {history.job} that is committed: "
                + (f"its commits are of the rounds 1 to {max(committed)}" if committed else "none is yet")
            )
        found |= within
    return frozenset(found)


def gather(
    ledger: LedgerContract,
    deployment: Deployment,
    store: Store,
    job: int,
    home: Path,
    metrics: Path,
    rounds: str | None = None,
    folders: Mapping[str, Path] = MappingProxyType({}),
    say: Callable[[Verdict], None] = lambda verdict: None,
) -> Facts:
    """Read a job, and recompute its commits.

    Args:
        ledger: To read.
        deployment: The ledger's file.
        store: Where the content is.
        home: Where the keys of a sealed job are.
        metrics: The file of a server's measurements.
        rounds: Those to recompute, as `rounds_meant` takes them; None for all.
        folders: Of this machine, each with what stands for it in the report: who reads it need not know them.
        say: Takes each verdict.

    Raises:
        UnknownJobError: there is no such job.
        ConfigurationError: there is no such round.
        AuditError: the events contradict each other.
        RpcError: the node fails.
    """
    follower = JobFollower(ledger, job)
    history = follower.history
    meant = rounds_meant(rounds, history)
    lacking, auditor = "", None
    asides, troubles = list[AuditedAttempt](), list[Trouble]()
    verdicts: dict[bytes, Verdict] = {}
    try:
        auditor = Auditor(ledger, store, job, home, follower)
    except (GalaxyError, OSError) as error:
        if not _of_content(error):
            raise
        lacking = _without(folders, str(error))
    if auditor is not None:
        # First, because it looks at the chain again: all that follows is of one block.
        troubles += _checked("the contract's own state", auditor.check_state)
        troubles += _checked("the initial model", auditor.check_initial_model)
        history = auditor.history
        for commit in commits_of(history):
            if meant is None or commit.record.round in meant:
                verdict = verdict_on(auditor, commit)
                say(verdict)
                verdicts[commit.word] = replace(verdict, reason=_without(folders, verdict.reason))
        if meant is None:
            asides = [*auditor.reopenings(), *auditor.supersedings()]
    events = tuple(follower.events())
    document = _document(store, history) if auditor is None else auditor.document
    head = follower.window.head
    assert head is not None
    codes = tuple(_codes(ledger, history))
    place = Place(deployment, codes, head.number, head.identity, ledger.rpc.block(head.number).time, follower.final)
    return Facts(
        job=job,
        place=place,
        history=history,
        events=events,
        times=_times(ledger, events),
        document=document,
        lacking=lacking,
        verdicts=verdicts,
        troubles=tuple(replace(trouble, why=_without(folders, trouble.why)) for trouble in troubles),
        asides=tuple(asides),
        measured=metrics_of(metrics),
        published=_published(history, document),
        versions=Versions(galaxy_chain.__version__, commit_of_source(), platform.python_version()),
    )


def _without(folders: Mapping[str, Path], text: str) -> str:
    """A text that does not tell where on this machine these folders are."""
    named = {str(path): name for name, each in folders.items() for path in (each.absolute(), each.resolve())}
    for path in sorted(named, key=len, reverse=True):  # one may be in another
        text = text.replace(path, named[path]) if len(path) > 1 else text
    return text


def _of_content(error: Exception) -> bool:
    """Whether an error is about the job's content: what the ledger says of it can be filed all the same."""
    from galaxy_chain.exceptions import JobMismatchError
    from galaxy_fl.exceptions import ContentError

    return isinstance(error, ContentError | JobDocumentError | JobMismatchError | OSError)


def _checked(what: str, check: Callable[[], None]) -> Iterator[Trouble]:
    """What a check finds wrong, or can't check."""
    try:
        check()
    except (GalaxyError, OSError) as error:
        if not isinstance(error, AuditError) and not _of_content(error):
            raise
        yield Trouble(what, str(error), wrong=isinstance(error, AuditError))


def _document(store: Store, history: JobHistory) -> JobDocument | None:
    try:
        return JobDocument.from_bytes(store.block(history.terms.spec))
    except (GalaxyError, OSError):
        return None  # why, `lacking` says


def _codes(ledger: LedgerContract, history: JobHistory) -> Iterable[Code]:
    def code(what: str, address: str, name: str | None) -> Code:
        found = ledger.rpc.data("eth_getCode", address, "latest")
        known = rule_of_code(found) is not None if name is None else found == artifact(name).runtime
        return Code(what, to_checksum_address(address), keccak(found).hex(), known)

    yield code("ledger (GalaxyLedger)", ledger.address, "GalaxyLedger")
    for nonce, (name, purpose) in enumerate(PARTS, 1):
        yield code(f"{name}, which it {purpose}", created_address(ledger.address, nonce), name)
    rule = rule_of_code(ledger.rpc.data("eth_getCode", history.terms.rule, "latest"))
    yield code(f"aggregation rule ({rule or 'not known here'})", history.terms.rule, None)


def _times(ledger: LedgerContract, events: Iterable[LedgerEvent]) -> dict[int, int]:
    """The times of the events' blocks: many events have them, and the node is asked for the others."""
    events = list(events)
    times = {event.block: event.time for event in events if hasattr(event, "time")}
    times |= {event.block: event.record.time for event in events if hasattr(event, "record")}
    many = (UpdatesSubmitted, ClientJoined)
    # First those of which there are few, so that many joinings do not take the times of all else.
    ordered = sorted(events, key=lambda event: isinstance(event, many))
    unknown = [block for block in dict.fromkeys(event.block for event in ordered) if block not in times]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="times") as threads:
        for block in threads.map(ledger.rpc.block, unknown[:MOST_TIMES]):
            times[block.number] = block.time
    return times


def _published(history: JobHistory, document: JobDocument | None) -> dict[str, tuple[int, float | None]]:
    if document is None or document.privacy is None:
        return {}
    from galaxy_chain.jobs.published import published  # few jobs are private

    return {client: (each.trainings, each.epsilon) for client, each in published(history, document).items()}
