"""Openings of a server's commits, chunk after chunk: each vector's chunk tree is made once, and kept in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from galaxy_chain.exceptions import ContentMismatchError
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.openings import Opening, Openings
from galaxy_chain.ledger.structs import Model
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.exceptions import ContentAlteredError
from galaxy_fl.vectors import ChunkTree, commitment, root_of

__all__ = ["Proofs"]


class Proofs:
    """Makes the openings of `Verifier.openings`, at the cost of hashing every vector for the first chunk alone.

    Args:
        verifier: Of the job.
        folder: Where the trees' files are, which have no names and end with this object; None for the system's.
    """

    def __init__(self, verifier: Verifier, folder: Path | None = None) -> None:
        self._verifier = verifier
        self._folder = folder
        self._trees: dict[bytes, ChunkTree] = {}
        """By the vectors' digests."""

    def openings(self, history: JobHistory, commit: Commit, index: int) -> Openings:
        """What an answer for chunk `index` of a commit has to show.

        Raises:
            ContentMissingError, ContentAlteredError: something is unavailable.
        """
        number = commit.record.round
        return Openings(
            previous=self._of_model(commit.previous, lambda: self._verifier.model_before(history, commit), index),
            next=self._of_model(commit.record.next, lambda: self._verifier.model_made_by(history, commit), index),
            included=tuple(self._of_update(entry, number, index) for entry in commit.included),
            blocks=commit.blocks,
        )

    def keep(self, commits: Collection[Commit]) -> None:
        """Lets go the trees of which none of the commits has need."""
        needed = {
            digest
            for commit in commits
            for digest in (
                commit.previous.content,
                commit.record.next.content,
                *(entry.update.content for entry in commit.included),
            )
        }
        self._trees = {digest: tree for digest, tree in self._trees.items() if digest in needed}

    def _of_model(self, model: Model, get: Callable[[], Path], index: int) -> Opening:
        tree = self._trees.get(model.content)
        if tree is None or tree.root != model.root:
            tree = self._made(model.content, get())
        return self._opening(model.content, tree, index)

    def _of_update(self, entry: Entry, number: int, index: int) -> Opening:
        update = entry.update
        what = f"round {number}: the update of {entry.client}"
        tree = self._trees.get(update.content) or self._made(
            update.content, self._verifier.store.path(self._verifier.content_id(update.content))
        )
        if commitment(tree.root, address_bytes(entry.client)) != update.commitment:
            raise ContentMismatchError(f"{what}: the content is what its id says, but not what its client committed to")
        return self._opening(update.content, tree, index)

    def _made(self, digest: bytes, path: Path) -> ChunkTree:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._folder) as file:  # its mapping outlives it
            tree = ChunkTree(self._verifier.read(path), self._verifier.terms.chunk_parameters, file)
        self._trees[digest] = tree
        return tree

    def _opening(self, digest: bytes, tree: ChunkTree, index: int) -> Opening:
        terms = self._verifier.terms
        opening = tree.opening(index)
        if root_of(opening, terms.parameters, terms.chunk_parameters) != tree.root:
            del self._trees[digest]
            raise ContentAlteredError(
                f"chunk {index} of {self._verifier.content_id(digest).cid} was altered in its file"
            )
        return Opening(opening.chunk, opening.path)
