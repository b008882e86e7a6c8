"""The store that a participant's settings describe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from galaxy_fl.content.local import LocalStore
from galaxy_fl.content.store import Store

__all__ = ["AUTHORIZATION_VARIABLE", "open_store"]

AUTHORIZATION_VARIABLE = "GALAXY_IPFS_AUTH"
"""What the Authorization header of an IPFS node's RPC is to say: `Bearer …` or `Basic …`."""


def open_store(folder: Path, ipfs: str | None = None, gateways: Sequence[str] = ()) -> Store:
    """The store in `folder`, with an IPFS node (its RPC's URL) and gateways (URLs) behind it where there are any.

    The credentials of the RPC, where it wants some, are in GALAXY_IPFS_AUTH, which is taken out of the environment.

    Raises:
        ConfigurationError: a URL is none.
        ContentError: the folder can't be used.
    """
    local = LocalStore(folder)
    if ipfs is None and not gateways:
        return local
    from .gateway import Gateway  # the HTTP libraries take a quarter of a second
    from .ipfs_node import IpfsNode
    from .tiered import TieredStore

    node = None if ipfs is None else IpfsNode(ipfs, authorization=_authorization())
    return TieredStore(local, node, [Gateway(url) for url in gateways])


@cache
def _authorization() -> str | None:
    """Read once: processes that are started later do not inherit it."""
    return os.environ.pop(AUTHORIZATION_VARIABLE, None)
