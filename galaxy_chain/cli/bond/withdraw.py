"""galaxy-chain bond withdraw."""

from __future__ import annotations

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, AtLedger, JobNumber
from galaxy_chain.cli.timing import too_early

__all__ = ["withdraw"]


def withdraw(job: JobNumber, sender: Account, at: AtLedger) -> None:
    """Take the bond back, once it is free: a window after the account's last commit, with no demand open on it."""
    ledger = at.connect(sender)
    with too_early():
        receipt = ledger.withdraw_bond(job).transact()
    console.print(f"the bond in job {job} is paid out, {receipt.gas_used} gas")
