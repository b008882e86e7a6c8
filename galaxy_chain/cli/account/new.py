"""galaxy-chain account new."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Home, Json
from galaxy_chain.exceptions import AccountError
from galaxy_chain.transactions.accounts import PASSWORD_VARIABLE, Keystore, take_secret

__all__ = ["new"]


def new(
    name: Annotated[str, typer.Argument(help="Name of the key on this machine.")], at: Home, json: Json = False
) -> None:
    """Make a key. The password is asked for, or taken from GALAXY_PASSWORD."""
    password = take_secret(PASSWORD_VARIABLE)
    if password is None:
        if not sys.stdin.isatty():
            raise AccountError(f"there is no terminal to ask for a password: set {PASSWORD_VARIABLE}")
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    address = Keystore(at.home / "keystore").create(name, password)
    if json:
        print_json({"name": name, "address": address})
    else:
        console.print(
            f"{name}: {address}, encrypted in {at.home / 'keystore'}. Back it up; nobody else can restore it."
        )
