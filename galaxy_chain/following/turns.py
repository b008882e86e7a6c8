"""Tells whose turn it is: from when on who may commit, reopen, supersede, settle, cancel, finalize or take a bond back.

Pure functions of a job's history and an account. Each gives a time in seconds, by the chain's clock, from which the
ledger takes the call as things stand, or None where it would refuse at any time. A bond that is missing counts for
nothing here: it can be deposited. Whatever happens meanwhile may change the answer.
"""

from __future__ import annotations

from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.structs import NEVER, ZERO_ADDRESS, Status

__all__ = [
    "bond_free_from",
    "cancel_from",
    "commit_from",
    "commits_refused",
    "exclude_any_from",
    "finalize_from",
    "idle_from",
    "most_excluded",
    "reopen_from",
    "settle_from",
    "settleable",
    "settled_through",
    "supersede_from",
]


def commits_refused(history: JobHistory) -> bool:
    """Whether neither commits nor reopenings are taken because `max_unsettled` rounds are committed and not settled."""
    return history.round - 1 - history.settled >= history.terms.max_unsettled


def _closed(history: JobHistory) -> bool:
    """Whether the round's collecting has an end, and a commit or a reopening can follow it."""
    running = history.status is Status.RUNNING and not history.finished
    return running and history.closes_at != NEVER and not commits_refused(history)


def exclude_any_from(history: JobHistory) -> int:
    """When a commit may leave out more than `max_excluded`: U of the protocol."""
    return history.closes_at + 2 * history.terms.aggregate_seconds


def most_excluded(history: JobHistory, time: int) -> int:
    """How many entries a commit at that time may leave out."""
    spare = max(0, len(history.entries) - history.terms.min_clients)
    return spare if time >= exclude_any_from(history) else min(spare, history.terms.max_excluded)


def commit_from(history: JobHistory, account: str) -> int | None:
    """When an account may commit: T of the protocol."""
    own = history.account(account)
    if own.barred or not _closed(history):
        return None
    if own.late:
        # Not to what a superseding has closed again: it would come first for ever.
        last = exclude_any_from(history) + history.terms.aggregate_seconds
        return last if history.origin == history.attempt else None
    named = history.terms.server
    absent = named == ZERO_ADDRESS or history.account(named).barred or history.account(named).late
    if account == named or absent or history.origin != history.attempt:
        return history.closes_at
    return history.closes_at + history.terms.aggregate_seconds


def reopen_from(history: JobHistory, account: str) -> int | None:
    """When an account may have the round collected again."""
    if history.account(account).barred or not _closed(history):
        return None
    return exclude_any_from(history) + 2 * history.terms.aggregate_seconds


def supersede_from(history: JobHistory, account: str) -> int | None:
    """When an account may supersede the newest commit."""
    commit = history.commits.get(history.round - 1)
    if commit is None or history.status is not Status.RUNNING or history.built:
        return None
    record = commit.record
    if record.round <= history.settled or record.round >= history.last_round:
        return None
    if account == record.server or history.account(account).barred:
        return None
    return record.time + history.terms.idle_seconds


def settle_from(history: JobHistory, round: int | None = None) -> int | None:
    """When a round can be settled, if all before it are; without a round the next one."""
    number = history.settled + 1 if round is None else round
    commit = history.commits.get(number)
    if commit is None or number <= history.settled or history.demands.get(commit.word):
        return None
    record, terms = commit.record, history.terms
    time = record.time + terms.challenge_seconds
    built = number == history.last_round or number < history.round - 1 or history.built
    return time if built else max(time, record.time + 2 * terms.idle_seconds)


def settleable(history: JobHistory, time: int) -> list[Commit]:
    """The commits that can be settled at that time, in the order in which that has to be done."""
    found = []
    number = history.settled + 1
    while (begins := settle_from(history, number)) is not None and time >= begins:
        found.append(history.commits[number])
        number += 1
    return found


def settled_through(history: JobHistory, time: int) -> int:
    """The last round that is settled, or can be at that time: up to there nothing is taken back."""
    due = settleable(history, time)
    return due[-1].record.round if due else history.settled


def idle_from(history: JobHistory) -> int:
    """When the job is idle, if nothing happens."""
    latest = history.active_at if history.closes_at == NEVER else max(history.active_at, history.closes_at)
    return latest + 2 * history.terms.idle_seconds


def cancel_from(history: JobHistory, account: str) -> int | None:
    """When an account may cancel the job; 0 for the owner."""
    if history.cancelled or history.status is not Status.RUNNING:
        return None
    if account == history.owner:
        return 0
    return None if commits_refused(history) else idle_from(history)


def finalize_from(history: JobHistory) -> int | None:
    """When anybody may finalize the job; 0 for at once."""
    if history.status is not Status.RUNNING:
        return None
    if history.settled == history.last_round:
        return 0
    return idle_from(history) if history.cancelled and history.settled == history.round - 1 else None


def bond_free_from(history: JobHistory, account: str) -> int | None:
    """When an account may take its bond back; None also where it has none."""
    own = history.account(account)
    if own.bond == 0 or own.demands or (own.late and history.status is not Status.FINAL):
        return None
    return own.locked_until
