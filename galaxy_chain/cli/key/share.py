"""galaxy-chain key share."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console
from galaxy_chain.cli.key.owning import owned
from galaxy_chain.cli.options import Account, AtLedger, JobNumber
from galaxy_chain.cli.values import checksum

__all__ = ["share"]


def share(
    job: JobNumber,
    accounts: Annotated[list[str], typer.Argument(help="Addresses that have registered a key.")],
    sender: Account,
    at: AtLedger,
) -> None:
    """Share all keys of a sealed job with accounts, as its owner: with a watchtower, or with a server that it does not
    name. They get those of later epochs, too, until `galaxy-chain key rotate --without`."""
    keeper, history = owned(at.connect(sender), job, at.home)
    keeper.share(history, [checksum(account) for account in accounts])
    console.print(f"the {len(history.epochs)} keys of job {job} are shared with {', '.join(accounts)}")
