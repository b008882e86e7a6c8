"""What addresses can claim of settled rounds, and with which bytes.

Pure functions of a job's history. A claim credits whoever handed in the entries, whoever sends it: one transaction a
round serves many.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.records import client_amount, server_amount
from galaxy_chain.ledger.submissions import ENTRY_BYTES, SEGMENT_BLOCKS, show

__all__ = ["Claim", "Earnings", "claims", "earnings"]


MOST_AT_ONCE = 256
"""Entries that one claim shows: at about 30,000 gas for an account without a balance, half of what a transaction
takes."""
MOST_BYTES = 100_000
"""Of what one claim shows; nodes take transactions of 131,072."""
_SEGMENT_BYTES = 1 + 33 * SEGMENT_BLOCKS
"""An open segment takes so many, beside the entries of the blocks that it shows."""


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
        """The same in as many claims as fit a transaction each, whoever's account is new.

        An entry is shown with all of its block, whose others are credited, too.
        """
        parts: list[list[int]] = []
        block_of = [place for place, block in enumerate(self.commit.blocks) for _ in block]
        shown = size = 0
        before = None
        for number in self.numbers:
            place = block_of[number]
            if place != before:
                count = len(self.commit.blocks[place])
                opens = before is None or place // SEGMENT_BLOCKS != before // SEGMENT_BLOCKS
                shown, size = shown + count, size + ENTRY_BYTES * count + opens * _SEGMENT_BYTES
                if not parts or shown > MOST_AT_ONCE or size > MOST_BYTES:
                    parts.append([])
                    shown, size = count, ENTRY_BYTES * count + _SEGMENT_BYTES
                before = place
            parts[-1].append(number)
        return [replace(self, numbers=tuple(numbers)) for numbers in parts]

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
        number_of, amount = commit.number_of, client_amount(commit.record)
        # Not all entries for one client: however many look into this, each for itself.
        whose = number_of if clients is None else {client for client in clients if client in number_of}
        places = sorted(number_of[client] for client in whose)
        numbers = tuple(place for place in places if place not in commit.left_out and place not in claimed)
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
