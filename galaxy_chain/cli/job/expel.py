"""galaxy-chain job expel."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console
from galaxy_chain.cli.key.owning import owned
from galaxy_chain.cli.options import Account, AtLedger, JobNumber
from galaxy_chain.cli.values import checksum

__all__ = ["expel"]


def expel(
    job: JobNumber,
    client: Annotated[str, typer.Argument(help="Address of the client.")],
    sender: Account,
    at: AtLedger,
) -> None:
    """Accept no more updates from a client, for good. It keeps what it has earned.

    A job that is sealed gets a new key, which that client does not get: it reads what was sealed before, nothing after.
    """
    ledger = at.connect(sender)
    receipt = ledger.expel(job, checksum(client)).transact()
    console.print(f"{client} is expelled from job {job}, {receipt.gas_used} gas")
    keeper, history = owned(ledger, job, at.home)
    if history.epochs and keeper.leaks(history):
        digest = keeper.rotate(history)
        console.print(f"job {job} is in epoch {len(history.epochs) + 1}, with the key {digest.hex()}")
