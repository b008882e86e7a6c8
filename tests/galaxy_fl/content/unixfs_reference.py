"""Content ids the slow way, from the specifications alone, to hold the fast one against.

Sources: the UnixFS specification (file nodes: type, filesize, blocksizes), the dag-pb specification (links
before data; an empty name is written), multiformats' CIDv1. Protocol buffers are written by hand.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

import numpy as np

BLOCK = 262_144
LINKS = 174


@dataclass(frozen=True)
class Node:
    cid: bytes
    file_size: int
    tree_size: int
    """Bytes of this block and of all below it, what dag-pb calls Tsize."""


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number % 128 + 128)
        number //= 128
    out.append(number)
    return bytes(out)


def number_field(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def bytes_field(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def cid_bytes(codec: int, block: bytes) -> bytes:
    return bytes([1, codec, 0x12, 32]) + hashlib.sha256(block).digest()


def leaf(block: bytes) -> Node:
    return Node(cid_bytes(0x55, block), len(block), len(block))


def parent(children: list[Node]) -> Node:
    links = b"".join(
        bytes_field(2, bytes_field(1, c.cid) + bytes_field(2, b"") + number_field(3, c.tree_size)) for c in children
    )
    file_size = sum(c.file_size for c in children)
    unixfs = number_field(1, 2) + number_field(3, file_size)
    unixfs += b"".join(number_field(4, c.file_size) for c in children)
    block = links + bytes_field(1, unixfs)
    return Node(cid_bytes(0x70, block), file_size, len(block) + sum(c.tree_size for c in children))


def root(leaves: list[Node]) -> Node:
    level = leaves
    while len(level) > 1:
        level = [parent(level[i : i + LINKS]) for i in range(0, len(level), LINKS)]
    return level[0]


def text(cid: bytes) -> str:
    return "b" + base64.b32encode(cid).decode().rstrip("=").lower()


def cid_of(data: bytes) -> str:
    starts = range(0, max(len(data), 1), BLOCK)
    return text(root([leaf(data[start : start + BLOCK]) for start in starts]).cid)


def fill(kind: str, size: int) -> bytes:
    """Contents of tests/vectors/content_ids.json: `zero`, or `count` (little-endian uint32 0, 1, 2, …)."""
    if kind == "zero":
        return bytes(size)
    return np.arange((size + 3) // 4, dtype="<u4").tobytes()[:size]
