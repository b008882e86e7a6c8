"""The fold: a job's events, one after the other, and the history that they lead to."""

from __future__ import annotations

from typing import assert_never

from galaxy_chain.exceptions import AuditError
from galaxy_chain.following.history.disputes import Disputes
from galaxy_chain.following.history.money import Money
from galaxy_chain.following.history.rounds import Rounds
from galaxy_chain.ledger.events import (
    BalanceWithdrawn,
    BondDeposited,
    BondSlashed,
    BondWithdrawn,
    ChunkAnswered,
    ChunkDemanded,
    ClientAdmitted,
    ClientExpelled,
    ClientJoined,
    DemandExpired,
    JobCancelled,
    JobFinalized,
    JobFunded,
    JobRegistered,
    KeyRegistered,
    KeyShared,
    LedgerEvent,
    RewardsClaimed,
    RoundCommitted,
    RoundReopened,
    RoundReverted,
    RoundSettled,
    RoundSuperseded,
    UpdatesSubmitted,
)
from galaxy_chain.ledger.structs import Status
from galaxy_fl.aggregation.sum_tree import LARGEST_FAN_IN, SMALLEST_FAN_IN
from galaxy_fl.tables import table

__all__ = ["JobHistory"]


class JobHistory(Rounds, Money, Disputes):
    """What the events of a job say so far.

    Args:
        chain_id, ledger, job: Where the job is.
    """

    def apply(self, event: LedgerEvent) -> None:
        """Takes the next event.

        Raises:
            AuditError: it contradicts the events before.
        """
        if (self.owner is None) != isinstance(event, JobRegistered):
            stands = "has been registered before" if self.owner else "is not registered yet"
            raise AuditError(f"job {self.job}: {event.name} in block {event.block}, but the job {stands}")
        match event:
            case JobRegistered():
                self._on_job_registered(event)
            case JobFunded():
                self._on_job_funded(event)
            case JobCancelled():
                self._on_job_cancelled(event)
            case JobFinalized():
                self._on_job_finalized(event)
            case ClientAdmitted():
                self._on_client_admitted(event)
            case ClientExpelled():
                self._on_client_expelled(event)
            case ClientJoined():
                self._on_client_joined(event)
            case KeyRegistered():
                self._on_key_registered(event)
            case KeyShared():
                self._on_key_shared(event)
            case UpdatesSubmitted():
                self._on_updates_submitted(event)
            case RoundCommitted():
                self._on_round_committed(event)
            case RoundReopened():
                self._on_round_reopened(event)
            case RoundReverted():
                self._on_round_reverted(event)
            case RoundSuperseded():
                self._on_round_superseded(event)
            case RoundSettled():
                self._on_round_settled(event)
            case RewardsClaimed():
                self._on_rewards_claimed(event)
            case BalanceWithdrawn():
                self._on_balance_withdrawn(event)
            case BondDeposited():
                self._on_bond_deposited(event)
            case BondWithdrawn():
                self._on_bond_withdrawn(event)
            case ChunkDemanded():
                self._on_chunk_demanded(event)
            case ChunkAnswered():
                self._on_chunk_answered(event)
            case DemandExpired():
                self._on_demand_expired(event)
            case BondSlashed():
                self._on_bond_slashed(event)
            case _:
                assert_never(event)

    def __repr__(self) -> str:
        return f"JobHistory(job={self.job}, round={self.round}, rounds={len(self.commits)}, settled={self.settled})"

    def _repr_html_(self) -> str:
        rows = [
            (
                number,
                len(commit.included),
                len(commit.excluded) or "",
                commit.record.server,
                commit.block,
                "settled" if number <= self.settled else "open",
                commit.record.next.root.hex(),
            )
            for number, commit in sorted(self.commits.items())
        ]
        return table(("round", "updates", "excluded", "committed by", "block", "state", "model"), rows)

    # The job

    def _on_job_registered(self, event: JobRegistered) -> None:
        fan_in = event.terms.fan_in
        if not SMALLEST_FAN_IN <= fan_in <= LARGEST_FAN_IN:
            raise self._contradiction(event, f"its fan_in is {fan_in}, expected {SMALLEST_FAN_IN} to {LARGEST_FAN_IN}")
        self.owner, self.terms, self.initial = event.owner, event.terms, event.model
        self.keeps_model, self.is_sum = event.keeps_model, event.is_sum
        self.status, self.last_round, self.active_at = Status.RUNNING, event.terms.rounds, event.time
        self._open(1, event.model)
