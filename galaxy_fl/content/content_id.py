"""Content ids: what content is called, in every store and on the ledger (protocol section 3).

An id is the CIDv1 that `ipfs add --cid-version=1 --raw-leaves --chunker=size-262144` gives: up to one block
of 262,144 bytes the digest of the bytes themselves (codec raw), above that the digest of the root of a
balanced UnixFS tree with at most 174 links a node (codec dag-pb). The ledger keeps the 32-byte digest
alone; the codec follows from the size.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from galaxy_fl.exceptions import ContentError

from .unixfs import BLOCK_SIZE, file_digest

__all__ = ["BLOCK_SIZE", "CID_PATTERN", "Codec", "ContentId", "Hasher", "blocks", "parse", "spelled"]

CID_PATTERN = r"^baf(krei|ybei)[a-h][a-z2-7]{50}[aeimquy4]$"
"""CIDv1, base32, sha2-256, codec raw or dag-pb; the last character has two bits that are zero."""

_READ_SIZE = 4 * BLOCK_SIZE
_PAIR = 2 * BLOCK_SIZE


class Codec(IntEnum):
    """How the bytes under a digest are to be read: the multicodec numbers of the two that occur."""

    RAW = 0x55
    DAG_PB = 0x70


@dataclass(frozen=True, slots=True)
class ContentId:
    """Names content by what it is.

    `digest`: 32 bytes, sha2-256, as on the ledger. `size`: bytes of the content itself.
    """

    digest: bytes
    size: int

    def __post_init__(self) -> None:
        if len(self.digest) != 32:
            raise ContentError(
                f"a content digest has 32 bytes, not {len(self.digest)} ({self.digest.hex()}): take it"
                " whole from the ledger's event or from a cid"
            )
        if self.size < 0:
            raise ContentError(f"content can't have {self.size} bytes: give its size, 0 or more")

    @property
    def codec(self) -> Codec:
        return Codec.RAW if self.size <= BLOCK_SIZE else Codec.DAG_PB

    @property
    def cid(self) -> str:
        """CIDv1 in base32, 59 characters: `bafkrei…` (raw) or `bafybei…` (dag-pb)."""
        return _encode(self.digest, self.codec)

    def __str__(self) -> str:
        return self.cid

    @classmethod
    def from_cid(cls, cid: str, size: int) -> ContentId:
        """The content of `size` bytes called `cid`.

        Raises ContentError if `cid` is malformed or can't be that of content of this size.
        """
        digest, codec = parse(cid)
        content = cls(digest, size)
        if codec is not content.codec:
            raise ContentError(
                f"{cid} is a {_name(codec)} id, but content of {size} bytes has a {_name(content.codec)} one:"
                f" check the size, and that it was added in blocks of {BLOCK_SIZE} bytes"
            )
        return content

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> ContentId:
        hasher = Hasher()
        hasher.update(data)
        return hasher.finish()

    @classmethod
    def of_file(cls, path: Path) -> ContentId:
        """Streams the file. Raises OSError if it can't be read."""
        hasher = Hasher()
        with path.open("rb") as file:
            for block in blocks(file):
                hasher.update(block)
        return hasher.finish()


class Hasher:
    """Computes the id of a stream. Its memory is two blocks, and 32 bytes for each before them."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._rest = bytearray()
        self._size = 0
        self._finished = False

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """The stream continues with `data`, of any length and, in a memoryview, of any contiguous item type."""
        self._check_open()
        flat = _flat(data)
        self._size += len(flat)
        # Two blocks at a time, which the kernels hash side by side.
        while len(flat):
            if self._rest or len(flat) < _PAIR:
                piece, flat = flat[: _PAIR - len(self._rest)], flat[_PAIR - len(self._rest) :]
                self._rest += piece
                if len(self._rest) == _PAIR:
                    self._hash(memoryview(self._rest))
                    self._rest = bytearray()
            else:
                whole = len(flat) // _PAIR * _PAIR
                self._hash(flat[:whole])
                flat = flat[whole:]

    def finish(self) -> ContentId:
        """The id of all that was given. Afterwards the hasher is spent: ValueError."""
        self._check_open()
        self._finished = True
        starts = range(0, len(self._rest), BLOCK_SIZE) if self._size else (0,)
        for start in starts:
            self._digests += sha256(self._rest[start : start + BLOCK_SIZE]).digest()
        return ContentId(file_digest(bytes(self._digests), self._size), self._size)

    def _hash(self, blocks: memoryview) -> None:
        # Imported here: numpy takes a tenth of a second, and small content needs none.
        from galaxy_fl.vectors.kernels import kernels

        self._digests += kernels().digests(blocks, BLOCK_SIZE)

    def _check_open(self) -> None:
        if self._finished:
            raise ValueError("this hasher is finalized: make another for other content")


def blocks(source: bytes | bytearray | memoryview | BinaryIO) -> Iterator[bytes]:
    """The bytes of `source` in pieces of at most 1 MiB; a stream is read from where it stands."""
    if isinstance(source, bytes) and len(source) <= _READ_SIZE:
        yield source
    elif isinstance(source, bytes | bytearray | memoryview):
        flat = _flat(source)
        for start in range(0, len(flat), _READ_SIZE):
            yield bytes(flat[start : start + _READ_SIZE])
    else:
        while block := source.read(_READ_SIZE):
            yield block


def _flat(data: bytes | bytearray | memoryview) -> memoryview:
    """The bytes of `data`, not copied."""
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")  # an empty view can't be cast


def parse(cid: str) -> tuple[bytes, Codec]:
    """The 32-byte digest and the codec of a CIDv1 as Galaxy writes it.

    Raises ContentError for any other text, and for another spelling of the same id: ids are compared as
    text.
    """
    try:
        binary = base64.b32decode(cid[1:].upper() + "======")
        digest, codec = binary[4:], Codec(binary[1])
        if len(digest) == 32 and _encode(digest, codec) == cid:
            return digest, codec
    except (ValueError, IndexError):  # not base32; another codec; too short
        pass
    raise ContentError(
        f"{cid!r} is not a content id: expected CIDv1 in lower-case base32 with a sha2-256 digest, codec raw"
        " or dag-pb (59 characters from bafkrei… or bafybei…); `ipfs cid base32` converts other spellings"
    )


@lru_cache(10_000)  # base32 is Python, and all contents of a round are asked for again and again
def spelled(cid: bytes) -> str:
    """A binary CID in lower-case base32."""
    return "b" + base64.b32encode(cid).decode().rstrip("=").lower()


def _encode(digest: bytes, codec: Codec) -> str:
    return spelled(bytes((1, codec, 0x12, 32)) + digest)


def _name(codec: Codec) -> str:
    return codec.name.lower().replace("_", "-")
