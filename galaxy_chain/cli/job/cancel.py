"""galaxy-chain job cancel."""

from __future__ import annotations

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, AtLedger, JobNumber
from galaxy_chain.cli.timing import too_early

__all__ = ["cancel"]


def cancel(job: JobNumber, sender: Account, at: AtLedger) -> None:
    """End a job with its current round. Up to there everything continues, and what was earned stays.

    The owner may at any time; anybody may once nothing has happened for twice the job's idle_seconds.
    """
    ledger = at.connect(sender)
    with too_early():
        receipt = ledger.cancel_job(job).transact()
    last = ledger.job_of(job).state.last_round
    console.print(f"job {job} is cancelled: it ends with round {last}, {receipt.gas_used} gas")
