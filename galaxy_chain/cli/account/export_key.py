"""galaxy-chain account export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Home, accounts
from galaxy_chain.cli.secrets import secret
from galaxy_chain.exceptions import AccountError
from galaxy_chain.transactions.accounts import PASSWORD_VARIABLE, Keystore
from galaxy_fl.files import write_durably

__all__ = ["export_key"]


def export_key(
    name: Annotated[str, typer.Argument(autocompletion=accounts, help="Name of the key on this machine.")],
    at: Home,
    file: Annotated[
        Path | None, typer.Argument(help="New file to write, readable by its owner alone; by default standard output.")
    ] = None,
    private_key: Annotated[
        bool,
        typer.Option(
            "--private-key", help="Write the private key itself, unencrypted: whoever reads it has the account."
        ),
    ] = False,
) -> None:
    """Export a key as an encrypted keystore file, which `account import`, geth and MetaMask read.

    Its password, which stays the same, is asked for, or taken from GALAXY_PASSWORD, to make sure that it opens the key.
    """
    keystore = Keystore(at.home / "keystore")
    path = keystore.file(name)
    if file is not None and file.exists():
        raise AccountError(f"{file} is there already, and may be the only copy of a key: name a new file")
    signer = keystore.open(name, secret(PASSWORD_VARIABLE, f"the password of {name}"))
    content = f"0x{signer.account.key.hex()}\n" if private_key else path.read_text()
    if file is None:
        typer.echo(content, nl=not content.endswith("\n"))
        return
    try:
        write_durably(file, content, mode=0o600, exclusive=True)
    except OSError as error:
        raise AccountError(f"{file} can't be written: {error.strerror}") from error
    what = "private key, unencrypted," if private_key else "keystore file"
    console.print(f"{name}: the {what} of {signer.address} is written to {file}")
