"""What the commands of galaxy-chain store have in common: content ids, and who may write."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.options import Account, Where
from galaxy_fl.content import Store

__all__ = ["Cid", "WrittenFor", "writable"]

Cid = Annotated[str, typer.Argument(help="Content id.")]
WrittenFor = Annotated[
    int, typer.Option("--job", min=0, help="Job to write for where the store is served; 0 before it is registered.")
]


def writable(where: Where, sender: Account, job: int) -> Store:
    """The store, to write to: in a folder by anybody, at a URL by the account."""
    if where.at().store_url is None:
        return where.contents()
    return where.contents(where.connect(sender), job)
