"""galaxy-chain account import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Home, Json
from galaxy_chain.cli.secrets import new_password, secret
from galaxy_chain.transactions.accounts import KEY_VARIABLE, PASSWORD_VARIABLE, Keystore, signer_of_key

__all__ = ["import_key"]


def import_key(
    name: Annotated[str, typer.Argument(help="Name for the key on this machine.")],
    at: Home,
    file: Annotated[
        Path | None, typer.Argument(help="Keystore file to copy, as geth, MetaMask or `account export` write it.")
    ] = None,
    json: Json = False,
) -> None:
    """Import a key: from a keystore file, or else a private key, which is then encrypted.

    A keystore file keeps its password, which is asked for, or taken from GALAXY_PASSWORD. A private key is asked for,
    or taken from GALAXY_KEY; the password to encrypt it with likewise.
    """
    keystore = Keystore(at.home / "keystore")
    keystore.check_free(name)
    if file is None:
        signer = signer_of_key(secret(KEY_VARIABLE, "the private key"))
        address = keystore.add(name, signer, new_password())
    else:
        keystore.check_file(file)
        address = keystore.take_in(name, file, secret(PASSWORD_VARIABLE, f"the password of {file}"))
    if json:
        print_json({"name": name, "address": address})
    else:
        console.print(f"{name}: {address}, encrypted in {keystore.folder}")
