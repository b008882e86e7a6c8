"""What is found wrong in a commit, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from galaxy_chain.ledger.openings import Opening
from galaxy_fl.vectors import ChunkTree

__all__ = ["Fault", "Kind", "where_to_look"]


class Kind(Enum):
    """How a fault can be brought to the ledger."""

    PROVED = auto()
    """Everything that shows it is here: it is challenged."""
    UNEXPLAINED = auto()
    """No content of what is missing explains the chunk: it is demanded, because nobody can open it."""
    HIDDEN = auto()
    """It is wrong, but the wrong content is withheld: demands show chunk by chunk where it is wrong."""
    MISSING = auto()
    """Content is missing, and it may be right: a random chunk is demanded, once."""


@dataclass(frozen=True)
class Fault:
    """What is wrong in a node of a commit, or withheld of it.

    Attributes:
        node: Its number; 0 for the step to the next model.
        chunk: Which chunk to challenge or to demand.
        reason: What was found.
    """

    node: int
    chunk: int
    kind: Kind
    reason: str


def where_to_look(answers: Mapping[tuple[int, int], Opening], node: int, tree: ChunkTree, chunks: int) -> int:
    """The chunk to demand next of a node that is wrong and withheld, after what was opened of it.

    Where a sibling on an opened path is not that of the vector computed here, the wrong chunk lies beneath it. Each
    demand goes at least one level down.

    Args:
        answers: What was opened of the commit, by node and chunk.
        node: The node.
        tree: Of what its vector should be.
        chunks: How many chunks it has.
    """
    best, level_of_best = 0, tree.depth + 1
    for (of, chunk), opening in answers.items():
        if of != node:
            continue
        ours = tree.opening(chunk).path
        level = next((level for level, sibling in enumerate(opening.path) if sibling != ours[level]), None)
        if level is not None and level < level_of_best:
            # The first chunk below the sibling: a node of that level has 2**level leaves.
            best, level_of_best = ((chunk >> level) ^ 1) << level, level
    return min(best, chunks - 1)  # what is wrong in the padding shows in the last chunk
