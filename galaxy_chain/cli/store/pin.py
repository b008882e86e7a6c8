"""galaxy-chain store pin."""

from __future__ import annotations

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, Where
from galaxy_chain.cli.store.contents import Cid, WrittenFor, writable

__all__ = ["pin"]


def pin(cid: Cid, sender: Account, where: Where, job: WrittenFor = 0) -> None:
    """Keep content: `store gc` leaves what is pinned. Content that is elsewhere is fetched first."""
    store = writable(where, sender, job)
    store.pin(store.identify(cid))
    console.print(f"{cid} is pinned")
