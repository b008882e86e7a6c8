"""Trees of blocks from gateways: a size, then blocks, each with its length; the last one is the root."""

from __future__ import annotations

import base64
from contextlib import suppress
from hashlib import sha256

from galaxy_fl.content.content_id import BLOCK_SIZE, ContentId
from galaxy_fl.content.dag import content_of, walk
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError
from tests.fuzz.clean import refused
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

MOST = 4
"""Blocks of content; larger trees cost more and show no more."""


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    size = reader.integer(4) % (MOST * BLOCK_SIZE)
    blocks: dict[str, bytes] = {}
    children: list[ContentId] = []
    root = b""
    while reader:
        root = reader.take(min(reader.integer(2), len(data)))
        kind = reader.integer() % 4
        if kind == 0:  # a node over all that came before, as one really is
            root = b"".join(_link(content.cid) for content in children) + root
        elif kind == 1:  # a whole block of content
            root = bytes(BLOCK_SIZE)
        children.append(ContentId(sha256(root).digest(), BLOCK_SIZE + 1 if kind == 0 else 0))
        for content in (ContentId(sha256(root).digest(), 0), ContentId(sha256(root).digest(), BLOCK_SIZE + 1)):
            blocks[content.cid] = root

    def get(cid: str) -> bytes:
        if cid not in blocks:
            raise ContentMissingError(f"{cid} is not there")
        return blocks[cid]

    try:
        for cid, block in blocks.items():
            with suppress(ContentAlteredError):
                assert content_of(cid, block).cid == cid
        received = sum(map(len, walk(ContentId(sha256(root).digest(), size), get)))
    except (ContentAlteredError, ContentMissingError) as error:
        return refused(error)
    assert received == size
    return True


def _link(cid: str) -> bytes:
    binary = base64.b32decode(cid[1:].upper() + "======")
    link = bytes((0x0A, len(binary))) + binary
    return bytes((0x12, len(link))) + link
