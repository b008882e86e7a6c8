"""Getting out of a job what an account has earned there: settling on the way, claiming, withdrawing."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from galaxy_chain.exceptions import LedgerRefusedError, TransactionFailedError
from galaxy_chain.following import turns
from galaxy_chain.following.claims import claims, earnings
from galaxy_chain.following.history import JobHistory
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.events import BalanceWithdrawn
from galaxy_fl.exceptions import RoundMovedOnError

__all__ = ["Payout"]

CLAIM_GAS = 120_000
"""What a claim of one entry takes at most, its round's settlement included."""
WITHDRAW_GAS = 50_000


class Payout:
    """What one account has earned in a job, and how it gets that out.

    Args:
        ledger: With the account's transactions.
        job: Its number.
        address: The account's.
    """

    def __init__(self, ledger: LedgerContract, job: int, address: str) -> None:
        self._ledger = ledger
        self._job = job
        self._address = address

    def owed(self, history: JobHistory) -> int:
        """What is not out yet, in wei; 0 where it is worth less than the gas to get it.

        Raises:
            RpcError: no node tells the price of gas.
        """
        found = earnings(history, self._address)
        amount = found.balance + found.claimable + found.unsettled
        if amount == 0:
            return 0
        number = len(claims(history, (self._address,), through=history.round))
        assert self._ledger.transactions is not None
        price = self._ledger.transactions.gas_price()
        return amount if amount > price * (number * CLAIM_GAS + WITHDRAW_GAS) else 0

    def settles_at(self, history: JobHistory) -> int:
        """When the last round that this account earns something in can be settled, as things stand; 0 for none.

        In seconds. Open demands may put it off.
        """
        mine = [
            number
            for number, commit in history.commits.items()
            if number > history.settled and (commit.record.server == self._address or commit.includes(self._address))
        ]
        if not mine:
            return 0
        window = history.commits[max(mine)].record.time + history.terms.challenge_seconds
        return max(window, turns.settle_from(history, max(mine)) or 0)

    def can_be_claimed(self, history: JobHistory, now: int) -> bool:
        """Whether all that the account has earned as a client is settled, or can be."""
        mine = claims(history, (self._address,), through=history.round)
        return not mine or mine[-1].commit.record.round <= turns.settled_through(history, now)

    def is_settled(self, history: JobHistory) -> bool:
        """Whether all rounds that the account has earned something in are settled."""
        mine = claims(history, (self._address,), through=history.round)
        return not mine or mine[-1].commit.record.round <= history.settled

    def can_be_withdrawn(self, history: JobHistory) -> bool:
        """Whether the account has a balance, to which no settled round will add."""
        return history.account(self._address).balance > 0 and not claims(history, (self._address,))

    def claim(self, history: JobHistory, now: int, others: Collection[str] = ()) -> bool:
        """Credits the account with what its entries in settled rounds have earned, and settles before what has to be.

        Args:
            history: Of the job.
            now: The chain's time, in seconds.
            others: Accounts that are credited in the same transactions.

        Returns:
            Whether there was anything to be sent.

        Raises:
            RpcError, InsufficientFundsError, TransactionError: a transaction could not be sent.
        """
        due = turns.settleable(history, now)
        accounts = {self._address, *others}
        mine = {c.commit.record.round: c for c in claims(history, accounts, turns.settled_through(history, now))}
        # A claim settles its own round, but the rounds before it have to be settled by then.
        between = [commit for commit in due if commit.record.round < max(mine, default=0)]
        with suppress(RoundMovedOnError, TransactionFailedError, LedgerRefusedError):  # then look again
            for number in sorted({*mine, *(commit.record.round for commit in between)}):
                commit = history.commits[number]
                once = f"{self._job} {commit.word.hex()}"
                if number not in mine:
                    self._ledger.settle(self._job, commit.record).transact(once)
                    continue
                for part in mine[number].parts():
                    call = self._ledger.claim(self._job, commit.record, part.submissions)
                    call.transact(f"{once} {self._address} {part.numbers[0]} {len(part.numbers)}")
        return bool(mine or between)

    def withdraw(self, history: JobHistory) -> int:
        """Pays the account's balance out, and returns it in wei.

        Raises:
            RpcError, InsufficientFundsError, TransactionError: a transaction could not be sent.
        """
        balance = history.account(self._address).balance
        if balance == 0:
            return 0
        with suppress(TransactionFailedError, LedgerRefusedError):
            receipt = self._ledger.withdraw(self._job).transact()
            # Somebody may have had more credited since.
            return sum(paid.amount for paid in self._ledger.emitted(BalanceWithdrawn, receipt))
        return 0
