"""galaxy-chain store unpin."""

from __future__ import annotations

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, Where
from galaxy_chain.cli.store.contents import Cid, WrittenFor, writable
from galaxy_fl.exceptions import ContentMissingError

__all__ = ["unpin"]


def unpin(cid: Cid, sender: Account, where: Where, job: WrittenFor = 0) -> None:
    """Keep content no longer: `store gc` removes what nobody has pinned."""
    store = writable(where, sender, job)
    content = store.identify(cid)
    if cid not in store.pins():
        raise ContentMissingError(f"{cid} is not pinned here: `galaxy-chain store list` shows what is")
    store.unpin(content)
    console.print(f"{cid} is no longer pinned")
