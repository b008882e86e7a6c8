"""galaxy-chain key rotate."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console
from galaxy_chain.cli.key.owning import owned
from galaxy_chain.cli.options import Account, AtLedger, JobNumber
from galaxy_chain.cli.values import checksum
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["rotate"]


def rotate(
    job: JobNumber,
    sender: Account,
    at: AtLedger,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Address with which keys were shared by hand, and that has to go. Repeatable."),
    ] = None,
) -> None:
    """Begin a new epoch of a sealed job, as its owner: what is put from now on is sealed with a new key.

    Expelling a client does it by itself. What was readable stays so.
    """
    keeper, history = owned(at.connect(sender), job, at.home)
    if not history.epochs:
        raise ConfigurationError(
            f"no key of job {job} was shared yet: it is not sealed, or `galaxy-chain key serve {job}` has to run first"
        )
    digest = keeper.rotate(history, [checksum(address) for address in without or ()])
    console.print(f"job {job} is in epoch {len(history.epochs) + 1}, with the key {digest.hex()}")
