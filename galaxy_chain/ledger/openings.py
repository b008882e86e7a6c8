"""Openings: all that is needed to recompute one chunk of a node of a commit, packed as `IOpeningVerifier.sol` says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from galaxy_chain.ledger.submissions import Block, show
from galaxy_fl.aggregation.sum_tree import Node, locate, show_nodes

__all__ = ["Opening", "Openings", "chunk_bytes"]

_DIGEST_BYTES = 32


def chunk_bytes(node: int, chunk_parameters: int) -> int:
    """How many bytes an opened chunk of a node has: int32 of the next model for node 0, for each of its lanes; else
    int64 of a sum."""
    return (8 if node else 4) * chunk_parameters


@dataclass(frozen=True)
class Opening:
    """One chunk of a vector, and its path: siblings of 32 bytes, the leaf's first."""

    chunk: bytes
    path: tuple[bytes, ...]

    def pack(self) -> bytes:
        """The chunk, then its path."""
        return self.chunk + b"".join(self.path)

    @classmethod
    def unpack(cls, packed: bytes, size: int) -> Opening:
        """From how it is packed.

        Args:
            packed: The chunk, then its path.
            size: Bytes of the chunk.

        Raises:
            ValueError: it is shorter than a chunk, or has a piece of a digest.
        """
        if len(packed) < size or (len(packed) - size) % _DIGEST_BYTES:
            raise ValueError(f"{len(packed)} bytes are not a chunk of {size} bytes and digests of {_DIGEST_BYTES}")
        return cls(packed[:size], tuple(packed[at : at + 32] for at in range(size, len(packed), 32)))


@dataclass(frozen=True)
class Openings:
    """One chunk of a node, and of everything that it is made of.

    Attributes:
        opened: The chunk of the node itself first. Then, for node 0 of a flat round, those of the round's model and of
            each included update in the order of the entries; for node 0 of others, of the round's model and of the
            root; for a node of level 1, of each included update that it stands for; for a higher one, of its children.
        submissions: What shows the entries that the node stands for, where it stands for entries.
        nodes: What shows the node, and its children where they are nodes.
    """

    opened: tuple[Opening, ...]
    submissions: bytes = b""
    nodes: bytes = b""

    @classmethod
    def of_node(
        cls, blocks: Sequence[Block], nodes: Sequence[Node], fan_in: int, node: int, opened: Iterable[Opening]
    ) -> Openings:
        """The openings of a node, with what shows it.

        Args:
            blocks: All blocks of the attempt's entries.
            nodes: All nodes of the commit, none where the round is flat.
            fan_in: The job's.
            node: The node's number; 0 for the step to the next model.
            opened: The chunks, in order; none are needed where the weight of a node of level 1 is wrong.

        Raises:
            AggregationError: there is no such node.
        """
        if not nodes and node == 0:
            return cls(tuple(opened), show(blocks))
        entries = sum(map(len, blocks))
        shown = show_nodes(nodes, entries, fan_in, node)
        if node == 0 or (place := locate(entries, fan_in, node)).level > 1:
            return cls(tuple(opened), nodes=shown)
        return cls(tuple(opened), show(blocks, place.children), shown)

    def pack(self) -> bytes:
        """The bytes that a challenge or an answer brings."""
        return b"".join(
            (
                len(self.nodes).to_bytes(4),
                len(self.submissions).to_bytes(4),
                self.nodes,
                self.submissions,
                *(opening.pack() for opening in self.opened),
            )
        )
