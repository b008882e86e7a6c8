"""What the commands of galaxy-chain store have in common: content by its cid alone, and who may write."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.options import Account, Where
from galaxy_fl.content import Codec, ContentId, Store, parse
from galaxy_fl.exceptions import ContentMissingError

__all__ = ["Cid", "WrittenFor", "find", "writable"]

Cid = Annotated[str, typer.Argument(help="Content id.")]
WrittenFor = Annotated[
    int, typer.Option("--job", min=0, help="Job to write for where the store is served; 0 before it is registered.")
]


def find(store: Store, cid: str) -> ContentId:
    """The content of that cid, which does not say its size.

    Raises:
        ContentError: the text is not a content id.
        ContentMissingError: there is no such content, or it is elsewhere and its size is unknown.
    """
    digest, codec = parse(cid)
    if codec is Codec.RAW:
        return ContentId(digest, len(store.block(digest)))
    size = dict(store.contents()).get(cid)
    if size is None:
        raise ContentMissingError(f"{cid} is not in the store: `galaxy-chain store list` shows what is")
    return ContentId.from_cid(cid, size)


def writable(where: Where, sender: Account, job: int) -> Store:
    """The store, to write to: in a folder by anybody, at a URL by the account."""
    if where.place().store_url is None:
        return where.contents()
    return where.contents(where.connect(sender), job)
