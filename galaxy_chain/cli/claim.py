"""galaxy-chain claim: credits clients with what they have earned."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Account, AtLedger, JobNumber, Json
from galaxy_chain.cli.values import checksum
from galaxy_chain.coordinators.settlement import claim_rounds
from galaxy_chain.following.claims import earnings
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.shown import ether
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["claim"]


def claim(
    job: JobNumber,
    sender: Account,
    at: AtLedger,
    round: Annotated[int | None, typer.Option(min=1, help="Claim this round alone, not all that can be.")] = None,
    client: Annotated[
        list[str] | None, typer.Option("--for", help="Address of a client to claim for. Repeatable.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="Claim for all clients of the job at once.")] = False,
    json: Json = False,
) -> None:
    """Credit clients with what their updates have earned; settles earlier rounds where that is due.

    Without --for or --everybody it claims for the account itself. `galaxy-chain withdraw` then pays out.
    """
    ledger = at.connect(sender)
    assert ledger.transactions is not None
    follower = JobFollower(ledger, job)
    history = follower.history
    if everybody and client:
        raise ConfigurationError("--everybody and --for exclude each other: name one of them")
    if round is not None and round not in history.commits:
        raise ConfigurationError(f"job {job} has no commit of round {round}: {len(history.commits)} are committed")
    clients = None if everybody else [checksum(each) for each in client or [ledger.transactions.signer.address]]
    for each in clients or ():
        if each not in history.clients:
            raise ConfigurationError(
                f"{each} has not joined job {job}, and so has nothing to claim; a server's share is credited when its "
                f"rounds are settled: `galaxy-chain job settle {job}`"
            )
    steps = claim_rounds(ledger, follower, clients, round)
    follower.poll()
    left = sum(earnings(history, each).unsettled for each in (history.clients if clients is None else clients))
    if json:
        print_json({"job": job, "rounds": [vars(step) for step in steps], "unsettled": left})
        return
    for step in steps:
        settled = ", settled" if step.settled else ""
        console.print(
            f"round {step.round}{settled}: {step.clients} clients credited with {ether(step.amount)} each, "
            f"{step.gas} gas"
        )
    total = sum(step.clients * step.amount for step in steps)
    console.print(
        f"{ether(total)} of job {job} credited; `galaxy-chain withdraw {job}` pays an account's balance out"
        if steps
        else f"nothing is left to be claimed of job {job}"
    )
    if left:
        console.print(f"{ether(left)} are not settled yet: `galaxy-chain job show {job}` says until when")
