"""galaxy-chain store put."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Account, Json, Where
from galaxy_chain.cli.store.contents import WrittenFor, writable

__all__ = ["put"]


def put(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="File to put.")],
    sender: Account,
    where: Where,
    job: WrittenFor = 0,
    json: Json = False,
) -> None:
    """Put a file into the store, pin it, and print its content id.

    In a store that is served it is put by the account: the owner of a job, or who takes part in it.
    """
    store = writable(where, sender, job)
    content = store.put(file)
    store.pin(content)
    if json:
        print_json({"cid": content.cid, "bytes": content.size})
    else:
        console.print(content.cid)
