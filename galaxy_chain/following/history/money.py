"""Rewards, bonds, and the beginning and the end of a job."""

from __future__ import annotations

from galaxy_chain.following.history.facts import Facts
from galaxy_chain.ledger.events import (
    BalanceWithdrawn,
    BondDeposited,
    BondWithdrawn,
    JobCancelled,
    JobFinalized,
    JobFunded,
    RewardsClaimed,
    RoundSettled,
)
from galaxy_chain.ledger.records import client_amount, server_amount
from galaxy_chain.ledger.structs import Status

__all__ = ["Money"]


class Money(Facts):
    """What becomes of a job's money."""

    def _on_job_funded(self, event: JobFunded) -> None:
        if self.finished or self.cancelled or self.status is not Status.RUNNING:
            raise self._contradiction(event, "the job takes no more money")
        self.pool += event.amount

    def _on_job_cancelled(self, event: JobCancelled) -> None:
        if self.cancelled:
            raise self._contradiction(event, "the job was cancelled before")
        self._same(event, "last_round", event.last_round, min(self.last_round, max(self.round, self.highest)))
        self.cancelled, self.last_round, self.active_at = True, event.last_round, event.time

    def _on_job_finalized(self, event: JobFinalized) -> None:
        if self.status is not Status.RUNNING:
            raise self._contradiction(event, "the job is final already")
        if self.settled != self.last_round and not (self.cancelled and self.settled == self.round - 1):
            raise self._contradiction(event, f"of the rounds up to {self.last_round} only {self.settled} are settled")
        self._same(event, "owner", event.owner, self.owner)
        self._same(event, "root", event.root, self.model.root)
        self._same(event, "rest", event.rest, self.pool - self.allotted)
        self.status = Status.FINAL
        self._credit(event.owner, event.rest)

    def _on_round_settled(self, event: RoundSettled) -> None:
        self._same(event, "round", event.round, self.settled + 1)
        commit = self.commits.get(event.round)
        if commit is None:
            raise self._contradiction(event, f"round {event.round} has no commit that stands")
        record = commit.record
        if commit.word in self.demands:
            raise self._contradiction(event, f"demands on round {event.round} are open")
        if event.time < record.time + self.terms.challenge_seconds:
            raise self._contradiction(event, f"the window of round {event.round} is not over at {event.time}")
        self._same(event, "server", event.server, record.server)
        self._same(event, "server_amount", event.server_amount, server_amount(record))
        self._same(event, "client_amount", event.client_amount, client_amount(record))
        self.settled, self.closes_at, self.active_at = event.round, event.closes_at, event.time
        self._credit(event.server, event.server_amount)
        account = self.account(event.server)
        if account.late and event.round >= account.late_round:
            self._change(event.server, late=False)

    def _on_rewards_claimed(self, event: RewardsClaimed) -> None:
        if event.round > self.settled:
            raise self._contradiction(event, f"the settled rounds are 1 to {self.settled}")
        commit, claimed = self.commits[event.round], self.claimed.setdefault(event.round, set())
        self._same(event, "amount", event.amount, client_amount(commit.record))
        for bit in range(256):
            if not event.entries >> bit & 1:
                continue
            number = 256 * event.word + bit
            if number >= commit.record.updates or number in commit.left_out or number in claimed:
                raise self._contradiction(event, f"entry {number} of round {event.round} has nothing to claim")
            claimed.add(number)
            self._credit(commit.entries[number].client, event.amount)

    def _on_balance_withdrawn(self, event: BalanceWithdrawn) -> None:
        self._same(event, "amount", event.amount, self.account(event.account).balance)
        self._change(event.account, balance=0)

    def _on_bond_deposited(self, event: BondDeposited) -> None:
        self._change(event.server, bond=self.account(event.server).bond + event.amount)
        self.deposits[event.server] = self.deposits.get(event.server, 0) + 1

    def _on_bond_withdrawn(self, event: BondWithdrawn) -> None:
        self._same(event, "amount", event.amount, self.account(event.server).bond)
        self._change(event.server, bond=0)
