"""Content block by block, each checked as it comes: the balanced UnixFS tree from its root (protocol section 3).

Sources: the dag-pb specification (`PBNode`: links are field 2, a link's CID is its field 1) and UnixFS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError

from .content_id import BLOCK_SIZE, Codec, ContentId, parse, spelled
from .unixfs import LINKS

__all__ = ["LARGEST_NODE", "LINKS", "content_of", "walk"]

LARGEST_NODE = BLOCK_SIZE
"""Bytes of a block at most; a node with 174 links has some ten thousand."""


def walk(content: ContentId, get: Callable[[str], bytes]) -> Iterator[bytes]:
    """The bytes of `content` in order, a block at a time.

    `get` gives the block of a cid, its digest checked, at most `LARGEST_NODE` bytes. The shape of the tree follows from
    the size, and a node of another shape is refused; so no tree, however it was made, costs more than content of this
    size. That it is the canonical one, to the bit, is for the caller to see from the id of all that came.

    Raises ContentMissingError or ContentAlteredError where `get` does, and ContentAlteredError for another tree.
    """
    span = BLOCK_SIZE
    while span < content.size:
        span *= LINKS
    try:
        yield from _walk(content.cid, content.size, span, get)
    except (ContentMissingError, ContentAlteredError) as error:
        raise type(error)(f"{content.cid} ({content.size} bytes) is unavailable: {error}") from error


def _walk(cid: str, size: int, span: int, get: Callable[[str], bytes]) -> Iterator[bytes]:
    """The `size` bytes under `cid`, whose node can have `span` of them."""
    block, codec = get(cid), parse(cid)[1]
    if codec is Codec.RAW and span == BLOCK_SIZE and len(block) == size:
        yield block
        return
    below = span // LINKS
    sizes = [min(below, size - start) for start in range(0, size, below)] if span > BLOCK_SIZE else []
    children = _children(block) if codec is Codec.DAG_PB else []
    if not sizes or len(children) != len(sizes):
        raise ContentAlteredError(
            f"the block {cid} is not the one of {size} bytes at this place of a tree of blocks of {BLOCK_SIZE} bytes:"
            f" the content was not added as Galaxy adds it (--chunker=size-{BLOCK_SIZE} --raw-leaves"
            f" --max-file-links={LINKS}), or its size is another"
        )
    for child, part in zip(children, sizes, strict=True):
        yield from _walk(child, part, below, get)


def content_of(cid: str, root: bytes) -> ContentId:
    """The content of `cid` by its root block: of the size that the block says, which whoever made it may have made up.

    Raises ContentAlteredError if the block is not the root of such a tree.
    """
    try:
        if parse(cid)[1] is Codec.RAW:
            return ContentId.from_cid(cid, len(root))
        [data] = _parts(root, 1)
        [size] = (value for field, value in _fields(data) if field == 3 and isinstance(value, int))
        return ContentId.from_cid(cid, size)
    except (ValueError, IndexError, ContentError) as error:
        raise ContentAlteredError(f"the block {cid} is not the root of a file: {error}") from error


def _children(node: bytes) -> list[str]:
    try:
        ids = [cid for link in _parts(node, 2) for cid in _parts(link, 1)]
        cids = list(map(spelled, ids))
        for cid in cids:
            parse(cid)
    except (ValueError, IndexError, ContentError) as error:
        raise ContentAlteredError(f"a block of a tree is not a dag-pb node: {error}") from error
    return cids


def _parts(message: bytes, number: int) -> list[bytes]:
    """The length-delimited fields of that number."""
    return [value for field, value in _fields(message) if field == number and isinstance(value, bytes)]


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a protocol buffer: length-delimited ones and numbers, which is all that a node has."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        value, position = _varint(message, position)
        if key & 7 == 2:
            if position + value > len(message):
                raise ValueError("a field is longer than the message")
            yield key >> 3, message[position : position + value]
            position += value
        elif key & 7 == 0:
            yield key >> 3, value
        else:
            raise ValueError(f"wire type {key & 7}")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise ValueError("a number has more than 64 bits")
