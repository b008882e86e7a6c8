"""galaxy-chain withdraw: pays out what an account was credited with."""

from __future__ import annotations

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Account, AtLedger, JobNumber, Json
from galaxy_chain.ledger.events import BalanceWithdrawn
from galaxy_chain.shown import ether

__all__ = ["withdraw"]


def withdraw(job: JobNumber, sender: Account, at: AtLedger, json: Json = False) -> None:
    """Pay out the account's balance in a job: what it was credited with by claims, shares, deposits and rewards."""
    ledger = at.connect(sender)
    receipt = ledger.withdraw(job).transact()
    [paid] = ledger.emitted(BalanceWithdrawn, receipt)
    if json:
        print_json({"job": job, "account": paid.account, "amount": paid.amount, "gas": receipt.gas_used})
    else:
        console.print(f"{ether(paid.amount)} of job {job} are paid out to {paid.account}, {receipt.gas_used} gas")
