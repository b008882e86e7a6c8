"""galaxy-chain job finalize."""

from __future__ import annotations

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, AtLedger, JobNumber
from galaxy_chain.cli.timing import too_early
from galaxy_chain.coordinators.settlement import why_not_settled
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.ledger.events import JobFinalized
from galaxy_chain.shown import ether
from galaxy_fl.exceptions import RoundMovedOnError

__all__ = ["finalize"]


def finalize(job: JobNumber, sender: Account, at: AtLedger) -> None:
    """Close the books of a job whose last round is settled; anybody may.

    What no round has earned is credited to the owner.
    """
    ledger = at.connect(sender)
    try:
        with too_early():
            receipt = ledger.finalize_job(job).transact()
    except RoundMovedOnError as error:
        history = JobFollower(ledger, job).history
        if history.settled + 1 not in history.commits:
            raise
        raise RoundMovedOnError(f"{error}; {why_not_settled(history, history.settled + 1)}") from error
    [final] = ledger.emitted(JobFinalized, receipt)
    console.print(
        f"job {job} is final: {ether(final.rest)} that no round has earned are credited to its owner {final.owner}, "
        f"{receipt.gas_used} gas"
    )
