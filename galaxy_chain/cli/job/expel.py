"""galaxy-chain job expel."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, AtLedger, JobNumber
from galaxy_chain.cli.values import checksum

__all__ = ["expel"]


def expel(
    job: JobNumber,
    client: Annotated[str, typer.Argument(help="Address of the client.")],
    sender: Account,
    at: AtLedger,
) -> None:
    """Accept no more updates from a client, for good. It keeps what it has earned."""
    receipt = at.connect(sender).expel(job, checksum(client)).transact()
    console.print(f"{client} is expelled from job {job}, {receipt.gas_used} gas")
