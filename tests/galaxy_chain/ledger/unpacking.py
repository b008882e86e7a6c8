"""Reads what `galaxy_chain.ledger.submissions.show` writes, as the ledger does."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from eth_utils.crypto import keccak

from galaxy_chain.ledger.submissions import ENTRY_BYTES, SEGMENT_BLOCKS, Entry, unpack_entries
from galaxy_chain.ledger.words import ZERO_WORD, word

SHUT, OPEN_END = 0, 255
HASHED = 128


@dataclass(frozen=True)
class Shown:
    """What `submissions` show: the head that they lead to, and entries by their numbers."""

    head: bytes
    entries: dict[int, Entry]


def unpack_submissions(start: bytes, submissions: bytes) -> Shown:
    """Read what is shown of an attempt.

    Raises:
        ValueError: it is cut off, or malformed.
    """
    data = BytesIO(submissions)

    def take(size: int) -> bytes:
        if len(taken := data.read(size)) < size:
            raise ValueError(f"submissions of {len(submissions)} bytes are cut off")
        return taken

    def link(before: bytes, digest: bytes, entries: int) -> bytes:
        return keccak(before + digest + word(entries))

    outer, inner, count, ended = start, ZERO_WORD, 0, False
    entries: dict[int, Entry] = {}
    while data.tell() < len(submissions):
        (kind,) = take(1)
        if ended or SEGMENT_BLOCKS < kind < OPEN_END:
            raise ValueError(f"submissions of {len(submissions)} bytes are malformed at byte {data.tell() - 1}")
        if kind == SHUT:
            digest, size = take(32), int.from_bytes(take(2))
            outer = link(outer, digest, size)
            count += size
        elif kind == OPEN_END:
            inner, ended = take(32), True
        else:
            begins = count
            for _ in range(kind):
                (size,) = take(1)
                if size % HASHED == 0:
                    raise ValueError(f"a block at byte {data.tell() - 1} has no entries")
                if size > HASHED:
                    size -= HASHED
                    digest = take(32)
                else:
                    packed = take(size * ENTRY_BYTES)
                    digest = keccak(packed)
                    entries.update(enumerate(unpack_entries(packed), count))
                inner = link(inner, digest, size)
                count += size
            if kind == SEGMENT_BLOCKS:
                outer, inner = link(outer, inner, count - begins), ZERO_WORD
            else:
                ended = True
    return Shown(keccak(outer + inner), entries)
