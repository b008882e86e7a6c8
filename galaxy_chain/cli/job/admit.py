"""galaxy-chain job admit."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, AtLedger, JobNumber
from galaxy_chain.cli.values import checksum

__all__ = ["admit"]


def admit(
    job: JobNumber,
    clients: Annotated[list[str], typer.Argument(help="Addresses of the clients.")],
    sender: Account,
    at: AtLedger,
) -> None:
    """Admit clients to a job that is not open."""
    addresses = [checksum(client) for client in clients]
    receipt = at.connect(sender).admit(job, addresses).transact()
    console.print(f"admitted {len(addresses)} to job {job}, {receipt.gas_used} gas")
