"""galaxy-chain account: encrypted keys on this machine."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json, print_table
from galaxy_chain.cli.settings import HomeOption, JsonOption
from galaxy_chain.place import DEFAULT_HOME

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Keys: encrypted keystore files on this machine.")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What to call it here.")],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Make a key. The password is asked for, or taken from GALAXY_PASSWORD."""
    from galaxy_chain.exceptions import AccountError
    from galaxy_chain.transactions.accounts import PASSWORD_VARIABLE, Keystore, take_secret

    password = take_secret(PASSWORD_VARIABLE)
    if password is None:
        if not sys.stdin.isatty():
            raise AccountError(f"there is no terminal to ask for a password: set {PASSWORD_VARIABLE}")
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    address = Keystore(home / "keystore").create(name, password)
    if json:
        print_json({"name": name, "address": address})
    else:
        console.print(f"{name}: {address}, encrypted in {home / 'keystore'}. Back it up; nobody else can restore it.")


@app.command("list")
def list_accounts(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List the keys."""
    from galaxy_chain.transactions.accounts import Keystore

    known = Keystore(home / "keystore").list()
    if json:
        print_json([{"name": name, "address": address} for name, address in known.items()])
    else:
        shown = {name: address or "not in its file" for name, address in known.items()}
        print_table(("name", "address"), shown.items())
