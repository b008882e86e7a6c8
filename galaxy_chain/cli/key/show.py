"""galaxy-chain key show."""

from __future__ import annotations

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Home, Json
from galaxy_chain.seal.vault import vault_of

__all__ = ["show"]


def show(at: Home, json: Json = False) -> None:
    """Show this folder's public key, for which owners wrap the keys of sealed jobs; makes it where there is none.

    Clients name it as they join. The secret key is in HOME/keys/member.key: back it up, nobody can restore it.
    """
    public = vault_of(at.home).public.hex()
    if json:
        print_json({"key": public})
    else:
        console.print(public)
