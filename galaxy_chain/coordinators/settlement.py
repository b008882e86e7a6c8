"""Settling a job's rounds and claiming what they earned, one after the other as the ledger takes them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from galaxy_chain.following.claims import Claim, claims
from galaxy_chain.following.history import JobHistory
from galaxy_chain.following.turns import settle_from
from galaxy_chain.following.view import JobView
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.records import server_amount
from galaxy_chain.shown import date
from galaxy_fl.exceptions import RoundMovedOnError

__all__ = ["Step", "claim_rounds", "settle_rounds", "why_not_settled"]


@dataclass(frozen=True)
class Step:
    """What one transaction did.

    Attributes:
        round: Which round.
        settled: Whether it settled the round.
        server_amount: What the round's committer was credited with, in wei; 0 if it was settled before.
        clients: How many entries were credited.
        amount: What each of them was credited with, in wei.
        gas: What the transaction took.
    """

    round: int
    settled: bool
    server_amount: int
    clients: int
    amount: int
    gas: int


def why_not_settled(history: JobHistory, round: int) -> str:
    """Why a round of a job can't be settled yet, and from when on it can."""
    commit = history.commits.get(round)
    if commit is None:
        return f"round {round} is not committed"
    if demands := history.demands.get(commit.word):
        until = max(demand.answer_by for demand in demands.values())
        return (
            f"{len(demands)} demands on round {round} wait for an answer until {date(until)}; once one has expired, "
            "`galaxy-chain watch` takes the round back"
        )
    begins = settle_from(history, round) or 0
    if begins > commit.record.time + history.terms.challenge_seconds:
        return f"nobody has built upon round {round} yet; it can be settled at {date(begins)} in any case"
    return f"round {round} can be challenged until {date(begins)}"


def settle_rounds(ledger: LedgerContract, follower: JobView) -> list[Step]:
    """Settles all rounds that can be, in order; anybody may.

    Raises:
        RoundMovedOnError: the next one can't be settled yet, or there is none.
        GalaxyError: a transaction does not get in.
    """
    follower.poll()
    history = follower.history
    unsettled = [number for number in sorted(history.commits) if number > history.settled]
    if not unsettled:
        none = (
            f"all {history.settled} rounds that are committed are settled"
            if history.settled
            else "no round is committed"
        )
        raise RoundMovedOnError(f"job {history.job}: {none}")
    return _steps(ledger, history, unsettled, {})


def claim_rounds(
    ledger: LedgerContract, follower: JobView, clients: Collection[str] | None, round: int | None = None
) -> list[Step]:
    """Claims what entries have earned that were not credited yet, and settles before what has to be.

    Args:
        ledger: Of whoever pays for the transactions.
        follower: Of the job.
        clients: Whose entries; None for everybody's.
        round: The only round to claim; None for all.

    Returns:
        What was done; empty where nothing is left to be claimed.

    Raises:
        RoundMovedOnError: the first round in question can't be settled yet.
        GalaxyError: a transaction does not get in.
    """
    follower.poll()
    history = follower.history
    wanted = {
        claim.commit.record.round: claim
        for claim in claims(history, clients, through=history.last_round)
        if round is None or claim.commit.record.round == round
    }
    last = max(wanted, default=0)
    unsettled = [number for number in history.commits if history.settled < number <= last]
    return _steps(ledger, history, sorted({*wanted, *unsettled}), wanted)


def _steps(ledger: LedgerContract, history: JobHistory, rounds: list[int], wanted: dict[int, Claim]) -> list[Step]:
    done: list[Step] = []
    for number in rounds:
        commit, settles = history.commits[number], number > history.settled
        share = server_amount(commit.record) if settles else 0
        try:
            if (claim := wanted.get(number)) is not None:
                for part in claim.parts():
                    receipt = ledger.claim(history.job, commit.record, part.submissions).transact()
                    done.append(Step(number, settles, share, len(part.numbers), part.amount, receipt.gas_used))
                    settles, share = False, 0
            else:
                receipt = ledger.settle(history.job, commit.record).transact()
                done.append(Step(number, settles, share, 0, 0, receipt.gas_used))
        except RoundMovedOnError as error:
            if not done:
                raise RoundMovedOnError(f"job {history.job}: {why_not_settled(history, number)}") from error
            break
    return done
