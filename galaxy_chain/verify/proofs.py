"""Openings of commits, chunk after chunk: each vector's chunk tree is made once, and kept in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from galaxy_chain.exceptions import ContentMismatchError
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.openings import Opening, Openings
from galaxy_chain.ledger.structs import Model
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.exceptions import ContentAlteredError
from galaxy_fl.vectors import ChunkTree, Sums, Vector, commitment, read_sums, root_of

__all__ = ["Proofs"]


class Proofs:
    """Makes openings, at the cost of hashing every vector for the first chunk alone.

    Args:
        verifier: Of the job.
        folder: Where the trees' files are, which have no names and end with this object; None for the system's.
    """

    def __init__(self, verifier: Verifier, folder: Path | None = None) -> None:
        self._verifier = verifier
        self._folder = folder
        self._trees: dict[tuple[bool, bytes], ChunkTree] = {}
        """By whether they are of updates; these by their contents' digests, those of models and sums by their roots. Of
        16 parameters the digest of an update's content can be a model's root, if its client means that."""

    def openings(self, history: JobHistory, commit: Commit, node: int, index: int) -> Openings:
        """What a challenge or an answer for chunk `index` of a node of a commit has to show.

        Where the weight of a node of level 1 is not that of its entries, that alone is shown.

        Raises:
            ContentMissingError, ContentAlteredError: something is unavailable.
        """
        opened = tuple(self._opened(history, commit, node, index))
        return Openings.of_node(commit.blocks, commit.nodes, self._verifier.terms.fan_in, node, opened)

    def _opened(self, history: JobHistory, commit: Commit, node: int, index: int) -> Iterator[Opening]:
        if node == 0:
            yield self._of_model(commit.record.next, lambda: self._verifier.model_made_by(history, commit), index)
            yield self._of_model(commit.previous, lambda: self._verifier.model_before(history, commit), index)
            if commit.nodes:
                yield self._of_node(commit, len(commit.nodes), index)
            else:
                yield from (self._of_update(entry, commit.record.round, index) for entry in commit.included)
            return
        nodes = self._verifier.nodes
        place = nodes.place(commit, node)
        if place.level > 1:
            yield from (self._of_node(commit, each, index) for each in (node, *place.child_nodes))
            return
        entries = nodes.entries(commit, place)
        if sum(entry.update.weight for entry in entries) == commit.nodes[node - 1].weight:
            yield self._of_node(commit, node, index)
            yield from (self._of_update(entry, commit.record.round, index) for entry in entries)

    def keep(self, commits: Collection[Commit]) -> None:
        """Lets go the trees of which none of the commits has need."""
        needed = {
            key
            for commit in commits
            for key in (
                *((False, root) for root in (commit.previous.root, commit.record.next.root)),
                *((False, node.root) for node in commit.nodes),
                *((True, entry.update.content) for entry in commit.included),
            )
        }
        self._trees = {key: tree for key, tree in self._trees.items() if key in needed}

    def _of_model(self, model: Model, get: Callable[[], Path], index: int) -> Opening:
        lanes = self._verifier.rule.lanes
        return self._rooted(
            model.root, lambda: self._verifier.read_model(get()), index, "a model", of_sum=False, lanes=lanes
        )

    def _of_node(self, commit: Commit, node: int, index: int) -> Opening:
        def read() -> Sums:
            return read_sums(self._verifier.nodes.vector(commit, node), self._verifier.terms.parameters)

        return self._rooted(commit.nodes[node - 1].root, read, index, f"the partial sum of node {node}", of_sum=True)

    def _rooted(
        self, root: bytes, read: Callable[[], Vector | Sums], index: int, what: str, *, of_sum: bool, lanes: int = 1
    ) -> Opening:
        key = False, root
        tree = self._trees.get(key)
        if tree is None:
            tree = self._made(key, read(), lanes)
        return self._opening(key, tree, index, what, of_sum=of_sum, lanes=lanes)

    def _of_update(self, entry: Entry, number: int, index: int) -> Opening:
        update = entry.update
        what = f"round {number}: the update of {entry.client}"
        key = True, update.content
        tree = self._trees.get(key)
        if tree is None:
            path = self._verifier.store.path(self._verifier.content_id(update.content))
            tree = self._made(key, self._verifier.read(path))
        if commitment(tree.root, address_bytes(entry.client)) != update.commitment:
            raise ContentMismatchError(f"{what}: the content is what its id says, but not what its client committed to")
        return self._opening(key, tree, index, what, of_sum=False)

    def _made(self, key: tuple[bool, bytes], vector: Vector | Sums, lanes: int = 1) -> ChunkTree:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._folder) as file:  # its mapping outlives it
            tree = ChunkTree(vector, lanes * self._verifier.terms.chunk_parameters, file)
        self._trees[key] = tree
        return tree

    def _opening(
        self, key: tuple[bool, bytes], tree: ChunkTree, index: int, what: str, *, of_sum: bool, lanes: int = 1
    ) -> Opening:
        terms = self._verifier.terms
        opening = tree.opening(index)
        parameters, size = lanes * terms.parameters, lanes * terms.chunk_parameters
        if root_of(opening, parameters, size, of_sum=of_sum) != tree.root:
            del self._trees[key]
            raise ContentAlteredError(f"chunk {index} of {what} was altered in its file")
        return Opening(opening.chunk, opening.path)
