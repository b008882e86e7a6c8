"""The books of a job: where the money of its pool is."""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_chain.following.claims import claims
from galaxy_chain.following.history import JobHistory
from galaxy_chain.ledger.records import client_amount, server_amount
from galaxy_chain.ledger.structs import Status

__all__ = ["Books", "books"]


@dataclass(frozen=True)
class Books:
    """Where the pool of a job is, in wei; the pool is the sum of the others.

    Attributes:
        pool: What was paid in.
        paid: Credited to servers and clients by settled rounds; each can withdraw it.
        claimable: Earned by entries of settled rounds that nobody has claimed yet.
        open: Allotted by rounds that are not settled: it is lost to them if they are taken back.
        dust: What rounding leaves of settled rounds, which stays in the ledger.
        rest: Allotted by no round: later rounds' or, once the job is final, the owner's.
        final: Whether the rest was credited to the owner.
    """

    pool: int
    paid: int
    claimable: int
    open: int
    dust: int
    rest: int
    final: bool


def books(history: JobHistory) -> Books:
    """The books of a job."""
    settled = [commit for number, commit in history.commits.items() if number <= history.settled]
    claimable = sum(claim.total for claim in claims(history))
    earned = sum(
        server_amount(commit.record) + len(commit.included) * client_amount(commit.record) for commit in settled
    )
    worth = sum(commit.record.reward for commit in settled)
    return Books(
        pool=history.pool,
        paid=earned - claimable,
        claimable=claimable,
        open=history.allotted - worth,
        dust=worth - earned,
        rest=history.pool - history.allotted,
        final=history.status is Status.FINAL,
    )
