"""The entries of an attempt: how its head binds them, and how some of them are shown.

The twin of `contracts/libraries/Submissions.sol`, which describes the form of what is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.words import ZERO_WORD, address_bytes, checksum_address, word
from galaxy_fl.keccak import keccak

__all__ = [
    "ENTRY_BYTES",
    "SEGMENT_BLOCKS",
    "Entries",
    "Entry",
    "cut",
    "pack_block",
    "show",
    "start",
    "unpack_entries",
]

ENTRY_BYTES = 88
SEGMENT_BLOCKS = 64
LARGEST_BLOCK = 127
"""Entries, as far as what is shown can say."""
_SHUT, _OPEN_END = 0, 255
_HASHED = 128


@dataclass(frozen=True)
class Entry:
    """An update and the client that answers for it."""

    client: str
    update: Update

    def __hash__(self) -> int:
        # Both keep their hashes; that of all fields would be made anew each time, a million times a round of a
        # thousand clients.
        return hash((self.client, self.update.commitment))


Block = tuple[Entry, ...]


def pack_block(entries: Iterable[Entry]) -> bytes:
    """Entries as the ledger packs them, 88 bytes each: client, weight (big-endian), commitment, content."""
    return b"".join(
        address_bytes(entry.client) + entry.update.weight.to_bytes(4) + entry.update.commitment + entry.update.content
        for entry in entries
    )


def unpack_entries(packed: bytes) -> Block:
    """Entries from how the ledger packs them.

    Raises:
        ValueError: they are not one or more times 88 bytes.
    """
    if not packed or len(packed) % ENTRY_BYTES:
        raise ValueError(f"{len(packed)} bytes are not entries, which have {ENTRY_BYTES} bytes each")
    return tuple(
        Entry(
            checksum_address(packed[at : at + 20]),
            Update(packed[at + 24 : at + 56], packed[at + 56 : at + 88], int.from_bytes(packed[at + 20 : at + 24])),
        )
        for at in range(0, len(packed), ENTRY_BYTES)
    )


def cut(entries: Block, fan_in: int) -> list[Block]:
    """The blocks in which the ledger takes entries of one call: of `fan_in`, the last of what is left."""
    return [entries[at : at + fan_in] for at in range(0, len(entries), fan_in)]


def start(chain_id: int, ledger: str, job: int, attempt: int, root: bytes) -> bytes:
    """With what an attempt on the model with that root begins: 32 bytes that bind chain, ledger, job and attempt."""
    return keccak(word(chain_id) + word(ledger) + word(job) + word(attempt) + root)


def _link(link: bytes, digest: bytes, entries: int) -> bytes:
    return keccak(link + digest + word(entries))


class Entries:
    """The entries of one attempt in the order of their numbers, and the head that binds them.

    Args:
        start: With what the attempt begins.
        blocks: What is in already.
    """

    def __init__(self, start: bytes, blocks: Iterable[Block] = ()) -> None:
        self.start = start
        self.blocks: list[Block] = []
        self._outer, self._inner = start, ZERO_WORD
        self._entries = 0
        self._in_segment = 0
        for block in blocks:
            self.append(block)

    def append(self, block: Block) -> None:
        """Takes one more block."""
        if not 1 <= len(block) <= LARGEST_BLOCK:
            raise ValueError(f"a block has 1 to {LARGEST_BLOCK} entries, not {len(block)}")
        self.blocks.append(block)
        self._inner = _link(self._inner, keccak(pack_block(block)), len(block))
        self._entries += len(block)
        self._in_segment += len(block)
        if len(self.blocks) % SEGMENT_BLOCKS == 0:
            self._outer = _link(self._outer, self._inner, self._in_segment)
            self._inner, self._in_segment = ZERO_WORD, 0

    def __copy__(self) -> Entries:
        """The same, which grows by itself."""
        copied = Entries(self.start)
        vars(copied).update(vars(self), blocks=list(self.blocks))
        return copied

    @property
    def head(self) -> bytes:
        """The head: 32 bytes."""
        return keccak(self._outer + self._inner)

    @property
    def open_blocks(self) -> int:
        """How many blocks the segment has that is not full."""
        return len(self.blocks) % SEGMENT_BLOCKS

    @property
    def shut(self) -> int:
        """How many entries are in full segments."""
        return self._entries - self._in_segment

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entries) and (self.start, self.blocks) == (other.start, other.blocks)

    # They grow.
    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return self._entries

    def __iter__(self) -> chain[Entry]:
        return chain.from_iterable(self.blocks)


def show(blocks: Sequence[Block], numbers: Collection[int] | None = None) -> bytes:
    """The fewest bytes that show some entries of an attempt and lead to its head.

    A segment without any of them is shut, and in an open segment only the blocks that have some are shown; an entry's
    neighbours in its block are shown with it.

    Args:
        blocks: All blocks of the attempt.
        numbers: The numbers of the entries to show; None for all.

    Raises:
        ValueError: there is no entry of such a number.
    """
    count = sum(map(len, blocks))
    for number in numbers or ():
        if not 0 <= number < count:
            raise ValueError(f"entry {number} can't be shown: the entries are 0 to {count - 1}")
    wanted = None if numbers is None else frozenset(numbers)
    parts: list[bytes] = []
    first = 0
    for at in range(0, len(blocks), SEGMENT_BLOCKS):
        segment = blocks[at : at + SEGMENT_BLOCKS]
        inner, opened, is_open = ZERO_WORD, [bytes((len(segment),))], False
        begins = first
        for block in segment:
            packed = pack_block(block)
            digest = keccak(packed)
            inner = _link(inner, digest, len(block))
            if wanted is None or not wanted.isdisjoint(range(first, first + len(block))):
                is_open = True
                opened.append(bytes((len(block),)) + packed)
            else:
                opened.append(bytes((len(block) + _HASHED,)) + digest)
            first += len(block)
        if is_open:
            parts += opened
        elif len(segment) == SEGMENT_BLOCKS:
            parts.append(bytes((_SHUT,)) + inner + (first - begins).to_bytes(2))
        else:
            parts.append(bytes((_OPEN_END,)) + inner)
    return b"".join(parts)
