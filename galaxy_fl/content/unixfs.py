"""The nodes above the blocks of a file: the balanced UnixFS tree that an id is the root of (protocol section 3).

Sources: the dag-pb specification (links before data; an empty name is written) and UnixFS (of a file node type, size
and the sizes of its children).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

__all__ = ["BLOCK_SIZE", "LINKS", "file_digest"]

BLOCK_SIZE = 262_144
"""Bytes in a block, the unit that is hashed; the last may be shorter."""

LINKS = 174
"""Children of a node at most."""

_DIGEST_BYTES = 32
_FILE = 2
_RAW, _DAG_PB = (bytes((1, codec, 0x12, _DIGEST_BYTES)) for codec in (0x55, 0x70))
"""What stands before a digest in a binary CID."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A block of the tree.

    `cid`: binary. `size`: bytes of the file under it. `blocks`: bytes of its block and all below it (Tsize).
    """

    cid: bytes
    size: int
    blocks: int


def file_digest(digests: bytes, size: int) -> bytes:
    """The digest of the root of a file of `size` bytes, by the digests of its blocks (32 bytes each), in order.

    Of a file of one block it is that block's.
    """
    nodes = [
        _Node(_RAW + digests[at : at + _DIGEST_BYTES], length, length)
        for at, length in zip(range(0, len(digests), _DIGEST_BYTES), _lengths(size), strict=True)
    ]
    while len(nodes) > 1:
        nodes = [_parent(nodes[at : at + LINKS]) for at in range(0, len(nodes), LINKS)]
    return nodes[0].cid[-_DIGEST_BYTES:]


def _lengths(size: int) -> list[int]:
    """The bytes in each block of a file; an empty one has an empty block."""
    return [min(BLOCK_SIZE, size - start) for start in range(0, max(size, 1), BLOCK_SIZE)]


def _parent(children: list[_Node]) -> _Node:
    size = sum(child.size for child in children)
    file = _number(1, _FILE) + _number(3, size) + b"".join(_number(4, child.size) for child in children)
    links = (_bytes(1, child.cid) + _bytes(2, b"") + _number(3, child.blocks) for child in children)
    block = b"".join(_bytes(2, link) for link in links) + _bytes(1, file)
    cid = _DAG_PB + sha256(block).digest()
    return _Node(cid, size, len(block) + sum(child.blocks for child in children))


def _number(field: int, value: int) -> bytes:
    """A field of a protocol buffer that is a number."""
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    """A field of a protocol buffer that is bytes."""
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
