"""galaxy-chain account list."""

from __future__ import annotations

from galaxy_chain.cli.console import print_json, print_table
from galaxy_chain.cli.options import Home, Json
from galaxy_chain.transactions.accounts import Keystore

__all__ = ["list_accounts"]


def list_accounts(at: Home, json: Json = False) -> None:
    """List the keys on this machine."""
    known = Keystore(at.home / "keystore").list()
    if json:
        print_json([{"name": name, "address": address} for name, address in known.items()])
    else:
        shown = {name: address or "not in its file" for name, address in known.items()}
        print_table(("name", "address"), shown.items())
