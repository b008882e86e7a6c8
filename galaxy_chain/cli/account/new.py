"""galaxy-chain account new."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Home, Json
from galaxy_chain.cli.secrets import new_password
from galaxy_chain.transactions.accounts import Keystore

__all__ = ["new"]


def new(
    name: Annotated[str, typer.Argument(help="Name for the key on this machine.")], at: Home, json: Json = False
) -> None:
    """Make a key. The password is asked for, or taken from GALAXY_PASSWORD."""
    keystore = Keystore(at.home / "keystore")
    keystore.check_free(name)
    address = keystore.create(name, new_password())
    if json:
        print_json({"name": name, "address": address})
    else:
        console.print(f"{name}: {address}, encrypted in {keystore.folder}. Back it up; nobody else can restore it.")
