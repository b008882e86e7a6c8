"""Commits of rounds, and what became of rounds without one or with one that did not last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from galaxy_chain.ledger.excluded import excluded_numbers
from galaxy_chain.ledger.records import record_word
from galaxy_chain.ledger.structs import Model, Record
from galaxy_chain.ledger.submissions import Block, Entry
from galaxy_fl.aggregation.sum_tree import Node
from galaxy_fl.tables import table

__all__ = ["Commit", "OpenDemand", "Reopening", "Superseding"]


@dataclass(frozen=True)
class Commit:
    """A committed round: from which model, over which entries, to which model, and where on the chain.

    Attributes:
        attempt: The attempt that ended with it; the record's own is an earlier one after a rollback.
        blocks: The entries of the record's attempt, in the blocks in which they were taken.
        block: The number of the chain's block.
        nodes: The nodes of the tree of sums, node 1 first; none where the round is flat.
        nodes_content: The digest of the content id of a manifest of the nodes' vectors, 32 bytes.
    """

    attempt: int
    record: Record
    previous: Model
    blocks: tuple[Block, ...]
    block: int
    transaction: bytes
    nodes: tuple[Node, ...] = ()
    nodes_content: bytes = bytes(32)

    def __repr__(self) -> str:
        return f"Commit(round={self.record.round}, attempt={self.attempt}, word={self.word.hex()})"

    def _repr_html_(self) -> str:
        rows = [
            (
                number,
                entry.client,
                entry.update.weight,
                "left out" if number in self.left_out else "yes",
                entry.update.commitment.hex(),
            )
            for number, entry in enumerate(self.entries)
        ]
        return table(("update", "client", "weight", "included", "commitment"), rows)

    @cached_property
    def word(self) -> bytes:
        """The word that the ledger keeps of the record."""
        return record_word(self.record)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All entries in the order of their numbers."""
        return tuple(entry for block in self.blocks for entry in block)

    @cached_property
    def number_of(self) -> Mapping[str, int]:
        """The number of each client's entry: an attempt takes one of each."""
        return {entry.client: number for number, entry in enumerate(self.entries)}

    @cached_property
    def left_out(self) -> frozenset[int]:
        """The numbers of the excluded entries."""
        return excluded_numbers(self.record.excluded, self.record.updates)

    @cached_property
    def included(self) -> tuple[Entry, ...]:
        """The entries that were not excluded, in order."""
        return tuple(entry for number, entry in enumerate(self.entries) if number not in self.left_out)

    def includes(self, client: str) -> bool:
        """Whether it has an entry of that client that was not excluded."""
        number = self.number_of.get(client)
        return number is not None and number not in self.left_out

    @property
    def excluded(self) -> tuple[Entry, ...]:
        """The entries that were excluded, in order."""
        return tuple(self.entries[number] for number in sorted(self.left_out))


@dataclass(frozen=True)
class Reopening:
    """A round that was collected again: by whom, and what was in until then."""

    attempt: int
    round: int
    sender: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Superseding:
    """A commit that was set aside because nobody built upon it, and by whom."""

    commit: Commit
    sender: str
    time: int


@dataclass(frozen=True)
class OpenDemand:
    """A demand that waits for an answer.

    Attributes:
        node: The number of the node; 0 for the next model.
        index: The number of the chunk.
        answer_by: In seconds, by the chain's time.
        deposits: How many times the demand deposit it cost.
        announced: Whether its expiry is rewarded.
        number: Its number among all demands of the job, from 1. A chunk that was answered may be demanded again within
            one second where blocks follow as quickly: nothing else tells the two apart.
    """

    demander: str
    node: int
    index: int
    answer_by: int
    deposits: int
    announced: bool
    number: int
