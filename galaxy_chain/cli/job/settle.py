"""galaxy-chain job settle."""

from __future__ import annotations

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Account, AtLedger, JobNumber, Json
from galaxy_chain.coordinators.settlement import settle_rounds, why_not_settled
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.shown import ether

__all__ = ["settle"]


def settle(job: JobNumber, sender: Account, at: AtLedger, json: Json = False) -> None:
    """Settle the rounds whose windows are over, in order; anybody may.

    Credits their servers, and lets clients claim.
    """
    ledger = at.connect(sender)
    follower = JobFollower(ledger, job)
    steps = settle_rounds(ledger, follower)
    follower.poll()
    history = follower.history
    if json:
        print_json({"job": job, "settled": history.settled, "rounds": [vars(step) for step in steps]})
        return
    for step in steps:
        console.print(
            f"round {step.round} settled: its server credited with {ether(step.server_amount)}, {step.gas} gas"
        )
    if history.settled < max(history.commits):
        console.print(why_not_settled(history, history.settled + 1))
