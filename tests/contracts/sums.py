"""Trees of sums as protocol.md has them, built here from the updates alone; a liar's as well."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from eth_utils.crypto import keccak

from galaxy_fl.vectors import ChunkTree, Vector

__all__ = ["ALTERATIONS", "Alter", "Node", "SumTree", "Sums", "finish", "grow", "opening"]

Sums = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Node:
    """A sum of updates.

    Attributes:
        vector: d sums; more where somebody commits to what is not zero behind the last.
        level: from 1.
        children: numbers of entries on level 1, of nodes above.
        like: one that has the same vector, and so the same tree.
    """

    vector: Sums
    weight: int
    chunk_parameters: int
    level: int
    children: range
    like: Node | None = None

    @cached_property
    def tree(self) -> ChunkTree:
        """A chunk of C sums has the bytes of one of 2C parameters."""
        if self.like:
            return self.like.tree
        return ChunkTree(np.ascontiguousarray(self.vector, "<i8").view("<i4"), 2 * self.chunk_parameters)

    @property
    def packed(self) -> bytes:
        return self.tree.root + self.weight.to_bytes(4, "big")


Alter = Callable[[Node], Node]


def _more(node: Node, lane: int, value: int) -> Node:
    vector = node.vector.copy()
    vector[lane] = value
    return replace(node, vector=vector, like=None)


ALTERATIONS: dict[str, Alter] = {
    "a lane": lambda node: _more(node, 9, int(node.vector[9]) + 1),
    "the last lane": lambda node: _more(node, -1, int(node.vector[-1]) - 1),
    "the weight": lambda node: replace(node, weight=node.weight + 1),
    "above the range": lambda node: _more(node, 3, node.weight * (2**31 - 1) + 1),
    "below the range": lambda node: _more(node, 3, -node.weight * 2**31 - 1),
    "far above the range": lambda node: _more(node, 3, 2**63 - 1),
}
"""What a liar makes of a node."""


@dataclass(frozen=True, eq=False)
class SumTree:
    """The nodes over the entries of a round, from number 1 on."""

    nodes: tuple[Node, ...]

    def __getitem__(self, number: int) -> Node:
        return self.nodes[number - 1]

    @property
    def root(self) -> Node:
        return self.nodes[-1]

    @cached_property
    def packed(self) -> bytes:
        return b"".join(node.packed for node in self.nodes)

    @cached_property
    def groups(self) -> list[range]:
        """The numbers of the nodes of each group: the children of every node, and the root."""
        return [node.children for node in self.nodes if node.level > 1] + [range(len(self.nodes), len(self.nodes) + 1)]

    def group(self, numbers: Collection[int]) -> bytes:
        return b"".join(self[number].packed for number in numbers)

    @cached_property
    def digests(self) -> bytes:
        return b"".join(keccak(self.group(numbers)) for numbers in self.groups)

    @property
    def hash(self) -> bytes:
        return keccak(self.digests)

    @property
    def adds_up(self) -> bool:
        """Whether every weight above level 1 is the sum of the children's: the ledger sees to that."""
        above = (node for node in self.nodes if node.level > 1)
        return all(node.weight == sum(self[child].weight for child in node.children) for node in above)

    def shown(self, number: int) -> bytes:
        """What a challenge of that node shows of the nodes; 0: of the step from the root to the next model."""
        if number == 0:
            return self.digests + self.root.packed
        (own,) = [numbers for numbers in self.groups if number in numbers]
        node = self[number]
        return self.digests + self.group(own) + (self.group(node.children) if node.level > 1 else b"")


def grow(
    vectors: Sequence[Vector],
    weights: Sequence[int],
    excluded: Collection[int],
    fan_in: int,
    chunk_parameters: int,
    alter: Mapping[int, Alter] | None = None,
) -> SumTree | None:
    """The tree over these entries, or None in a round that is flat.

    Args:
        alter: what a liar makes of a node, by its number; the nodes above are sums of that.
    """
    if len(vectors) <= fan_in:
        return None
    nodes: list[Node] = []

    def add(vector: Sums, weight: int, level: int, children: range) -> None:
        node = Node(vector, weight, chunk_parameters, level, children)
        nodes.append((alter or {}).get(len(nodes) + 1, lambda right: right)(node))

    for first in range(0, len(vectors), fan_in):
        run = range(first, min(first + fan_in, len(vectors)))
        total, weight = np.zeros(len(vectors[0]), np.int64), 0
        for number in run:
            if number not in excluded:
                total += np.int64(weights[number]) * vectors[number].astype(np.int64)
                weight += weights[number]
        add(total, weight, 1, run)
    level, begin = 1, 1
    while len(nodes) >= begin + 1:
        level, end = level + 1, len(nodes) + 1
        for first in range(begin, end, fan_in):
            children = range(first, min(first + fan_in, end))
            summed = sum((nodes[number - 1].vector for number in children), np.zeros_like(nodes[0].vector))
            add(summed, sum(nodes[number - 1].weight for number in children), level, children)
        begin = end
    return SumTree(tuple(nodes))


def finish(model: Vector, sums: Sums, weight: int) -> Vector:
    """The next model of a weighted mean: the mean of the updates, rounded half up, added to the model."""
    moved = np.array([(int(s) + weight // 2) // weight if weight else 0 for s in sums], dtype=object)
    return np.clip(model.astype(object) + moved, -(2**31), 2**31 - 1).astype("<i4")


def opening(tree: ChunkTree, index: int) -> bytes:
    proof = tree.opening(index)
    return proof.chunk + b"".join(proof.path)
