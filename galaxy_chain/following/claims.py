"""What addresses can claim of settled rounds, and with which bytes.

Pure functions of a job's history. A claim credits whoever handed in the entries, whoever sends it: one transaction a
round serves many.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.records import client_amount, server_amount
from galaxy_chain.ledger.submissions import show

__all__ = ["Claim", "Earnings", "claims", "earnings"]


MOST_AT_ONCE = 256
"""Entries in one claim: at about 30,000 gas for an account without a balance, half of what a transaction takes."""


@dataclass(frozen=True)
class Claim:
    """What can be claimed of one round.

    Attributes:
        commit: The round's commit.
        numbers: The entries that were not credited yet, ascending.
        amount: What each of them gets, in wei.
    """

    commit: Commit
    numbers: tuple[int, ...]
    amount: int

    @property
    def total(self) -> int:
        """What all of them get, in wei."""
        return self.amount * len(self.numbers)

    def parts(self) -> list[Claim]:
        """The same in as many claims as fit a transaction each, whoever's account is new."""
        firsts = range(0, len(self.numbers), MOST_AT_ONCE)
        return [replace(self, numbers=self.numbers[first : first + MOST_AT_ONCE]) for first in firsts]

    @property
    def submissions(self) -> bytes:
        """The fewest bytes that show these entries to the ledger."""
        return show(self.commit.blocks, self.numbers)


def claims(history: JobHistory, clients: Collection[str] | None = None, through: int | None = None) -> list[Claim]:
    """What can be claimed, round by round.

    Args:
        history: The job.
        clients: Whose entries; None for everybody's.
        through: The last round to count as settled: claims settle on the way what can be. None for what is settled.
    """
    last = history.settled if through is None else through
    found = []
    for number in sorted(number for number in history.commits if number <= last):
        commit, claimed = history.commits[number], history.claimed.get(number, ())
        numbers = tuple(
            place
            for place, entry in enumerate(commit.entries)
            if place not in commit.left_out and place not in claimed and (clients is None or entry.client in clients)
        )
        amount = client_amount(commit.record)
        if numbers and amount:
            found.append(Claim(commit, numbers, amount))
    return found


@dataclass(frozen=True)
class Earnings:
    """What an address has in a job beside its bond, in wei.

    Attributes:
        balance: Can be withdrawn now.
        claimable: Is settled, and has to be claimed first.
        unsettled: Is lost if the commits that it comes from are reverted or superseded.
    """

    balance: int
    claimable: int
    unsettled: int


def earnings(history: JobHistory, address: str) -> Earnings:
    """What an address has earned, as a client and as a server."""
    mine = claims(history, (address,), through=history.round)
    shares = sum(
        server_amount(commit.record)
        for number, commit in history.commits.items()
        if number > history.settled and commit.record.server == address
    )
    return Earnings(
        balance=history.account(address).balance,
        claimable=sum(claim.total for claim in mine if claim.commit.record.round <= history.settled),
        unsettled=shares + sum(claim.total for claim in mine if claim.commit.record.round > history.settled),
    )
