"""galaxy-chain withdraw: pays out what an account was credited with."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Account, AtLedger, JobNumber, Json
from galaxy_chain.cli.values import checksum
from galaxy_chain.ledger.events import BalanceWithdrawn
from galaxy_chain.shown import ether

__all__ = ["withdraw"]


def withdraw(
    job: JobNumber,
    sender: Account,
    at: AtLedger,
    beneficiary: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="ADDRESS", help="Pay out the balance of this address, to itself, instead of the own one."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Pay out a balance in a job: what was credited by claims, shares, deposits and rewards. Anybody may pay for it."""
    ledger = at.connect(sender)
    call = ledger.withdraw(job) if beneficiary is None else ledger.withdraw_for(job, [checksum(beneficiary)])
    receipt = call.transact()
    [paid] = ledger.emitted(BalanceWithdrawn, receipt)
    if json:
        print_json({"job": job, "account": paid.account, "amount": paid.amount, "gas": receipt.gas_used})
    else:
        console.print(f"{ether(paid.amount)} of job {job} are paid out to {paid.account}, {receipt.gas_used} gas")
