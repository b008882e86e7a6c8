"""galaxy-chain bond deposit."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, AtLedger, JobNumber
from galaxy_chain.cli.values import amount as wei_of
from galaxy_chain.jobs.check import rule_of
from galaxy_chain.shown import ether

__all__ = ["deposit"]


def deposit(
    job: JobNumber,
    amount: Annotated[str, typer.Argument(help='Amount like "1 ether", or a number of wei.')],
    sender: Account,
    at: AtLedger,
) -> None:
    """Add to the account's bond in a job. Servers do it by themselves when they start."""
    value = wei_of(amount)
    ledger = at.connect(sender)
    if not at.any_ledger:
        rule_of(ledger, job, ledger.job_of(job).terms)
    receipt = ledger.deposit_bond(job, value=value).transact()
    console.print(f"{ether(value)} added to the bond in job {job}, {receipt.gas_used} gas")
