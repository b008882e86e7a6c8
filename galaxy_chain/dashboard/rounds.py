"""Rounds and attempts as the page shows them, of a job that is read under its lock."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from galaxy_chain.dashboard.job import FollowedJob
from galaxy_chain.dashboard.ledger import WatchedLedger
from galaxy_chain.dashboard.receipts import Place
from galaxy_chain.dashboard.schema import (
    Attempt,
    Challenge,
    Entries,
    EntryShown,
    Gas,
    Judgement,
    Lane,
    Measured,
    Nodes,
    NodeShown,
    NodeState,
    Phase,
    Punishment,
    RoundDetail,
    RoundRow,
    Rounds,
    Verdict,
)
from galaxy_chain.dashboard.timeline import Tried
from galaxy_chain.dashboard.verdicts import Found
from galaxy_chain.dashboard.words import money
from galaxy_chain.following.history import Commit
from galaxy_chain.following.turns import settle_from
from galaxy_chain.ledger.records import client_amount, server_amount
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.verify.node_vectors import manifest_id
from galaxy_fl.aggregation.sum_tree import levels, locate
from galaxy_fl.content import ContentId
from galaxy_fl.content.problems import Refused
from galaxy_fl.exceptions import GalaxyError

__all__ = ["attempt_of", "entries_of", "nodes_of", "round_of", "rounds_of", "verdict_of"]

Measurements = Mapping[tuple[int, str], dict[str, Any]]
"""What a server of this machine has measured, by attempt and model root."""
MOST_ATTEMPTS = 8
"""Attempts of a round that its row lists."""
MOST_CHALLENGES = 1_000
FEW_TRANSACTIONS = 40
"""Transactions of a round that are looked up though nobody has opened it."""
MOST_TRANSACTIONS = 1_200


def rounds_of(watched: WatchedLedger, job: FollowedJob, first: int | None, count: int) -> Rounds:
    """A page of the timeline; without a first round the newest ones."""
    total = job.timeline.rounds
    begin = max(1, total - count + 1) if first is None else first
    measured = job.measurements.by_commit()
    job.tally.count(job.history)
    rows = [_row(watched, job, number, measured) for number in range(begin, min(total, begin + count - 1) + 1)]
    return Rounds(total=total, planned=job.history.last_round, first=begin, rounds=rows)


def _row(watched: WatchedLedger, job: FollowedJob, number: int, measured: Measurements) -> RoundRow:
    tried = job.timeline.attempts(number)
    shown = [attempt_of(watched, job, each, measured) for each in tried[-MOST_ATTEMPTS:]]
    return RoundRow(
        round=number, phase=shown[-1].phase, attempts=shown, more=max(0, len(tried) - MOST_ATTEMPTS)
    )  # fmt: skip


def phase_of(job: FollowedJob, tried: Tried) -> Phase:
    """Where an attempt is."""
    if tried.ended is not None:
        return Phase(tried.ended.how)
    if tried.committed is not None:
        return Phase.CHALLENGED if tried.open else Phase.COMMITTED
    return Phase.CLOSED if tried.origin != tried.number or job.is_closed else Phase.COLLECTING


def commit_of(job: FollowedJob, tried: Tried) -> Commit | None:
    """An attempt's commit."""
    return None if tried.committed is None else job.commit(tried.committed.word, tried.round)


def attempt_of(
    watched: WatchedLedger,
    job: FollowedJob,
    tried: Tried,
    measured: Measurements,
    *,
    opened: bool = False,
) -> Attempt:
    """An attempt.

    Args:
        measured: What a server of this machine has measured.
        opened: Whether somebody has opened it, and wants to know all.
    """
    history, committed, ended = job.history, tried.committed, tried.ended
    commit = commit_of(job, tried)
    record = None if commit is None else commit.record
    stands = commit is not None and history.commits.get(tried.round) is commit
    updates = sum(each.count for each in job.timeline.entries_of(tried))
    found = None if commit is None else watched.judge.found(job.number, commit, asked=opened)
    values = {} if record is None else measured.get((tried.number, record.next.root.hex()), {})
    return Attempt(
        attempt=tried.number,
        phase=phase_of(job, tried),
        origin=tried.origin,
        opened_at=tried.time,
        opened_block=tried.block,
        committed_at=None if committed is None else committed.time,
        commit_block=None if committed is None else committed.block,
        transaction=None if committed is None else _hex(committed.transaction),
        record=None if committed is None else _hex(committed.word),
        server=None if committed is None else committed.server,
        ended_at=None if ended is None else ended.time,
        ended_by=None if ended is None else _hex(ended.transaction),
        ended_round=None if ended is None or ended.round == tried.round else ended.round,
        sender=None if ended is None else ended.sender,
        updates=updates,
        excluded=0 if commit is None else len(commit.left_out),
        samples=_samples(job, tried, commit),
        model=None if record is None else record.next.root.hex(),
        reward=money(0 if record is None else record.reward),
        server_amount=money(0 if record is None else server_amount(record)),
        client_amount=money(0 if record is None else client_amount(record)),
        challengeable_until=record.time + history.terms.challenge_seconds
        if record is not None and (stands or record_is_open(job, commit))
        else None,
        settles_from=settle_from(history, tried.round) if stands else None,
        demands=len(tried.open),
        gas=_gas(watched, job, tried, opened=opened),
        measured=None
        if not values
        else Measured(
            loss=_finite(values.get("loss")),
            accuracy=_finite(values.get("accuracy")),
            seconds=_finite(values.get("seconds")),
            metrics={name: _finite(value) for name, value in islice(values.get("metrics", {}).items(), 50)},
        ),
        verdict=None if found is None else verdict_of(job, tried, found),
    )


def record_is_open(job: FollowedJob, commit: Commit | None) -> bool:
    """Whether a commit that does not stand can still be challenged."""
    return commit is not None and commit.word in job.history.superseded


def _samples(job: FollowedJob, tried: Tried, commit: Commit | None) -> int:
    if commit is not None:
        return job.tally.samples_of(commit)
    if tried.ended is None and tried.number == job.history.attempt:
        return sum(entry.update.weight for entry in job.history.entries)
    return 0


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _places(job: FollowedJob, tried: Tried) -> list[Place]:
    return [(each.transaction, each.block) for each in tried.handed_in]


def _gas(watched: WatchedLedger, job: FollowedJob, tried: Tried, *, opened: bool) -> Gas:
    receipts = watched.receipts
    updates = _places(job, tried)
    committed = None if tried.committed is None else (tried.committed.transaction, tried.committed.block)
    wanted = [*([] if committed is None else [committed]), *updates]
    if len(wanted) <= (MOST_TRANSACTIONS if opened else FEW_TRANSACTIONS):
        receipts.want(job.number, tried.round, wanted)
    elif committed is not None:
        receipts.want(job.number, tried.round, [committed])
    known = [receipts.gas(place) for place in updates]
    of_updates = sum(each or 0 for each in known) if None not in known else None
    of_commit = None if committed is None else receipts.gas(committed)
    both = of_updates is not None and of_commit is not None
    return Gas(
        commit=of_commit,
        updates=of_updates,
        total=(of_updates or 0) + (of_commit or 0) if both else None,
        transactions=len(wanted),
    )


def verdict_of(job: FollowedJob, tried: Tried, found: Found) -> Verdict:
    """What was found of an attempt's commit, and what the ledger has done about it."""
    assert tried.committed is not None
    retry = found.retry_at
    return Verdict(
        judgement=found.judgement,
        progress=found.progress if found.judgement is Judgement.COMPUTING else None,
        missing=found.missing if found.judgement is Judgement.UNCHECKED else None,
        retry_in=max(0.0, retry - time.monotonic())
        if found.judgement is Judgement.UNCHECKED and retry is not None
        else None,
        lie=found.lie if found.judgement is Judgement.WRONG else None,
        punishment=_punishment(job, tried),
        objections=list(found.objections),
        seconds=found.seconds,
    )


def _punishment(job: FollowedJob, tried: Tried) -> Punishment | None:
    assert tried.committed is not None
    punished = job.timeline.punished.get(tried.committed.word)
    if punished is None:
        return None
    event, ended = punished.event, tried.ended
    same = ended is not None and ended.transaction == event.transaction
    return Punishment(
        transaction=_hex(event.transaction),
        block=event.block,
        time=ended.time if ended is not None and same else None,
        how="expired" if punished.how == "expired" else "challenged",
        finder=event.finder,
        server=event.server,
        lost=money(event.amount),
        reward=money(event.reward),
    )


# A round opened


def chosen(job: FollowedJob, round: int, attempt: int | None) -> Tried:
    """The attempt that is meant: the last one at the round, or the one of that number.

    Raises:
        Refused: there is none.
    """
    tried = job.timeline.attempts(round)
    if not tried:
        raise Refused(
            404,
            "not_found",
            f"round {round} of job {job.number} has not begun: the newest is round {job.timeline.rounds}",
        )
    if attempt is None:
        return tried[-1]
    for each in tried:
        if each.number == attempt:
            return each
    raise Refused(404, "not_found", f"attempt {attempt} is not one at round {round} of job {job.number}")


def _entries(job: FollowedJob, tried: Tried, commit: Commit | None) -> Sequence[Entry]:
    """The entries of an attempt; those of one that was collecting when it was taken back are kept nowhere."""
    history = job.history
    if commit is not None:
        return commit.entries
    if tried.number == history.attempt:
        return tuple(history.entries)
    for reopening in history.reopened:
        if reopening.attempt == tried.number:
            return reopening.entries
    return ()


def round_of(watched: WatchedLedger, job: FollowedJob, round: int, attempt: int | None) -> RoundDetail:
    """A round opened, at an attempt."""
    tried = chosen(job, round, attempt)
    commit, terms = commit_of(job, tried), job.history.terms
    lanes = _lanes(watched, job)
    previous = commit.previous if commit is not None else None
    if previous is None and tried.number == job.history.attempt:
        previous = job.history.model
    entries = len(_entries(job, tried, commit))
    challenges = [
        Challenge(
            node=each.event.node,
            chunk=each.event.index,
            demander=each.event.demander,
            transaction=_hex(each.event.transaction),
            block=each.event.block,
            answer_by=each.event.answer_by,
            outcome=each.outcome,  # type: ignore[arg-type]
            outcome_transaction=None if each.by is None else _hex(each.by),
        )
        for each in islice(reversed(tried.demands), MOST_CHALLENGES)
    ]
    attempts = [each.number for each in job.timeline.attempts(round)]
    return RoundDetail(
        job=job.number,
        round=round,
        attempts=attempts[-1_000:],
        attempt=attempt_of(watched, job, tried, job.measurements.by_commit(), opened=True),
        head=None if commit is None else commit.record.head.hex(),
        previous=None if previous is None else previous.root.hex(),
        previous_id=None if previous is None or lanes is None else _model_id(job, previous.content, lanes),
        model=None if commit is None else commit.record.next.root.hex(),
        model_id=None if commit is None or lanes is None else _model_id(job, commit.record.next.content, lanes),
        nodes=0 if commit is None else len(commit.nodes),
        nodes_id=None if commit is None or not commit.nodes else manifest_id(commit).cid,
        levels=[] if commit is None or not commit.nodes else levels(commit.record.updates, terms.fan_in),
        fan_in=terms.fan_in,
        entries=entries,
        challenges=challenges,
        content=watched.source.content,
        check=f"galaxy-chain audit {job.number}{watched.source.options}",
    )


def _lanes(watched: WatchedLedger, job: FollowedJob) -> int | None:
    """How many values a model has for each parameter; only the document says."""
    document, _ = watched.documents.get(job.history.terms.spec, wait=0.05)
    return None if document is None else document.lanes


def _model_id(job: FollowedJob, digest: bytes, lanes: int) -> str:
    return ContentId(digest, 4 * lanes * job.history.terms.parameters).cid


def entries_of(
    watched: WatchedLedger, job: FollowedJob, round: int, attempt: int | None, first: int, count: int
) -> Entries:
    """A page of an attempt's entries."""
    tried = chosen(job, round, attempt)
    commit, terms = commit_of(job, tried), job.history.terms
    entries = _entries(job, tried, commit)
    handed_in = job.timeline.entries_of(tried)
    places = [(each.transaction, each.block) for each in handed_in]
    if len(places) <= MOST_TRANSACTIONS:
        watched.receipts.want(job.number, round, places, lanes=True)
    shown = []
    has_tree = commit is not None and bool(commit.nodes)
    for number in range(first, min(len(entries), first + count)):
        entry = entries[number]
        by = next((each for each in handed_in if each.first <= number < each.first + each.count), None)
        sent = None if by is None else watched.receipts.sent((by.transaction, by.block))
        content = ContentId(entry.update.content, 4 * terms.parameters)
        shown.append(
            EntryShown(
                number=number,
                client=entry.client,
                weight=entry.update.weight,
                included=commit is None or number not in commit.left_out,
                content_id=content.cid,
                commitment=entry.update.commitment.hex(),
                here=_here(watched, content),
                node=1 + number // terms.fan_in if has_tree else None,
                lane=None if sent is None else Lane(sent.lane),
                by=None if sent is None else sent.by,
                transaction="" if by is None else _hex(by.transaction),
                block=0 if by is None else by.block,
            )
        )
    return Entries(total=len(entries), first=first, entries=shown)


def _here(watched: WatchedLedger, content: ContentId) -> bool | None:
    try:
        return watched.source.store.has(content)
    except GalaxyError:
        return None


def nodes_of(
    watched: WatchedLedger, job: FollowedJob, round: int, attempt: int | None, first: int, count: int
) -> Nodes:
    """A page of an attempt's tree of sums, with the step to the next model at its end."""
    tried = chosen(job, round, attempt)
    commit, terms = commit_of(job, tried), job.history.terms
    if commit is None:
        return Nodes(total=0, first=first, levels=[], nodes=[])
    found = watched.judge.found(job.number, commit, asked=True)
    total = len(commit.nodes) + 1
    contents = _contents(watched, job, commit)
    shown = []
    for place in range(first, min(total, first + count)):
        if place == len(commit.nodes):
            shown.append(_last_step(commit, found))
            continue
        node = place + 1
        where, of = locate(commit.record.updates, terms.fan_in, node), commit.nodes[place]
        children = where.children if where.level == 1 else where.child_nodes
        state, reason = _state(found, node, len(commit.nodes))
        shown.append(
            NodeShown(
                node=node,
                level=where.level,
                first_child=children.start,
                last_child=children.stop - 1,
                weight=of.weight,
                root=of.root.hex(),
                content_id=None if contents is None else contents[place],
                state=state,
                reason=reason,
            )
        )
    sizes = levels(commit.record.updates, terms.fan_in) if commit.nodes else []
    return Nodes(total=total, first=first, levels=sizes, nodes=shown)


def _contents(watched: WatchedLedger, job: FollowedJob, commit: Commit) -> list[str] | None:
    """The content ids of the partial sums, where their list is here: nothing is fetched for it."""
    manifest = manifest_id(commit)
    try:
        if not commit.nodes or not watched.source.store.has(manifest):
            return None
        packed = watched.source.store.get(manifest)
    except GalaxyError:
        return None
    size = 8 * job.history.terms.parameters
    return [ContentId(packed[at : at + 32], size).cid for at in range(0, len(packed), 32)]


def _last_step(commit: Commit, found: Found | None) -> NodeShown:
    state, reason = _state(found, 0, len(commit.nodes))
    last = len(commit.nodes)
    # Few updates have no partial sums: the step is made of them at once.
    first, end = (last, last) if last else (0, commit.record.updates - 1)
    weight = commit.nodes[-1].weight if last else sum(entry.update.weight for entry in commit.included)
    return NodeShown(
        node=0, level=0, first_child=first, last_child=end, weight=weight,
        root=commit.record.next.root.hex(), content_id=None, state=state, reason=reason,
    )  # fmt: skip


def _state(found: Found | None, node: int, nodes: int) -> tuple[NodeState, str | None]:
    """What was found of a node; 0 for the step to the next model."""
    if found is None:
        return NodeState.WAITING, None
    if node in found.view.nodes:
        return found.view.nodes[node]
    if found.judgement is Judgement.RIGHT:
        return NodeState.RIGHT, None
    looked = found.view.looked >= (node or nodes + 1) if nodes else False
    return (NodeState.RIGHT, None) if looked else (NodeState.WAITING, None)
