"""Openings: all that is needed to recompute one chunk of a commit, packed as `IOpeningVerifier.sol` describes it."""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_chain.ledger.submissions import Block, show

__all__ = ["Opening", "Openings"]

_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Opening:
    """One chunk of a vector, `4 * chunk_parameters` bytes, and its path: siblings of 32 bytes, the leaf's first."""

    chunk: bytes
    path: tuple[bytes, ...]

    def pack(self) -> bytes:
        """The chunk, then its path."""
        return self.chunk + b"".join(self.path)

    @classmethod
    def unpack(cls, packed: bytes, chunk_parameters: int) -> Opening:
        """From how it is packed.

        Raises:
            ValueError: it is shorter than a chunk, or has a piece of a digest.
        """
        size = 4 * chunk_parameters
        if len(packed) < size or (len(packed) - size) % _DIGEST_BYTES:
            raise ValueError(f"{len(packed)} bytes are not a chunk of {size} bytes and digests of {_DIGEST_BYTES}")
        return cls(packed[:size], tuple(packed[at : at + 32] for at in range(size, len(packed), 32)))


@dataclass(frozen=True)
class Openings:
    """One chunk of everything that a commit is made of.

    Attributes:
        previous, next: The chunk of the round's model and of the committed one.
        included: The chunk of each included update, in the order of the entries.
        blocks: All blocks of the attempt's entries.
    """

    previous: Opening
    next: Opening
    included: tuple[Opening, ...]
    blocks: tuple[Block, ...]

    def pack(self) -> bytes:
        """The bytes that a challenge or an answer brings."""
        vectors = (self.previous, self.next, *self.included)
        return b"".join(opening.pack() for opening in vectors) + show(self.blocks)
