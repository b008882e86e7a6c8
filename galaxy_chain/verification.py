"""Recomputing commits from content: what audits, watchtowers, clients before they train, and servers under demand share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from galaxy_chain.ledger.history import Commit
from galaxy_chain.ledger.structs import Model, Opening, Openings, Submission, Terms
from galaxy_chain.store import ContentId, Store
from galaxy_fl.aggregation import RULES, aggregate_files
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError
from galaxy_fl.job_document import JobDocument
from galaxy_fl.vectors import ChunkTree, Vector, blocks, chunk_count, commitment, read_vector, tree_root

__all__ = ["Verifier", "address_bytes"]


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address."""
    return bytes.fromhex(address[2:])


class Verifier:
    """Checks what a job's ledger says about its content.

    Args:
        store: Where the content is.
        terms: Of the job.
        document: Of the job.
    """

    def __init__(self, store: Store, terms: Terms, document: JobDocument) -> None:
        self.store = store
        self.terms = terms
        self.document = document

    def content_id(self, digest: bytes) -> ContentId:
        """The content id of a vector of the job by its digest, 32 bytes."""
        return ContentId(digest, 4 * self.terms.parameters)

    def model(self, model: Model, what: str) -> Path:
        """The vector file of a model, content and root verified.

        Raises:
            ContentMissingError: it is not to be had.
            ContentAlteredError: it is not what the id says, or has another root than the ledger's.
        """
        path, root = self._vector(model.content, what)
        if root != model.root:
            raise ContentAlteredError(
                f"{what}: the content is what its id says, but the root of its chunk tree is {root.hex()}, on the ledger "
                f"stands {model.root.hex()}"
            )
        return path

    def update(self, submission: Submission, what: str) -> Path:
        """The vector file of an update, content and commitment verified.

        Raises:
            ContentMissingError: it is not to be had.
            ContentAlteredError: it is not what the id says, or not what its client committed to.
        """
        path, root = self._vector(submission.update.content, what)
        if commitment(root, address_bytes(submission.client)) != submission.update.commitment:
            raise ContentAlteredError(f"{what}: the content is what its id says, but not what the client committed to")
        return path

    def _vector(self, digest: bytes, what: str) -> tuple[Path, bytes]:
        try:
            path = self.store.path(self.content_id(digest))
        except (ContentAlteredError, ContentMissingError) as error:
            raise type(error)(f"{what}: {error}") from error
        return path, tree_root(self.read(path), self.terms.chunk_parameters)

    def read(self, path: Path) -> Vector:
        """A vector file of the job, memory-mapped."""
        return read_vector(path, self.terms.parameters)

    @contextmanager
    def recomputed(self, commit: Commit) -> Iterator[Path]:
        """The model that the commit should have made, in a temporary file.

        Raises:
            ContentMissingError, ContentAlteredError: the model before or an update is not to be had.
        """
        number = commit.record.round
        previous = self.model(commit.previous, f"the model of round {number}")
        updates = [self.update(s, f"round {number}: the update of {s.client}") for s in commit.included]
        with tempfile.TemporaryDirectory(prefix="galaxy-recompute-") as folder:
            destination = Path(folder) / "model"
            aggregate_files(
                RULES[self.document.rule.name],
                self.document.rule.word,
                previous,
                updates,
                [submission.update.weight for submission in commit.included],
                destination,
                self.terms.parameters,
            )
            yield destination

    def first_difference(self, ours: Path, theirs: Path) -> int | None:
        """The index of the first parameter in which two vectors differ, None where they are equal."""
        left, right = self.read(ours), self.read(theirs)
        for block in blocks(self.terms.parameters):
            if not np.array_equal(left[block], right[block]):
                return block.start + int(np.flatnonzero(left[block] != right[block])[0])
        return None

    def openings(self, commit: Commit, index: int) -> Openings:
        """What a challenge or an answer for chunk `index` of a commit has to show.

        Raises:
            ContentMissingError, ContentAlteredError: something is not to be had.
        """
        number = commit.record.round
        return Openings(
            previous=self._opening(self.model(commit.previous, f"the model of round {number}"), index),
            next=self._opening(self.model(commit.record.next, f"the model after round {number}"), index),
            submissions=commit.submissions,
            included=tuple(
                self._opening(self.update(s, f"round {number}: the update of {s.client}"), index)
                for s in commit.included
            ),
        )

    def _opening(self, path: Path, index: int) -> Opening:
        opening = ChunkTree(self.read(path), self.terms.chunk_parameters).opening(index)
        return Opening(opening.chunk, opening.path)

    def chunks(self) -> int:
        """How many chunks a model of the job has."""
        return chunk_count(self.terms.parameters, self.terms.chunk_parameters)
