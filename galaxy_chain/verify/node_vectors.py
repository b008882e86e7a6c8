"""The vectors of a commit's nodes, the partial sums over its entries: where they are, and how they are made again.

A node's vector is `d` little-endian int64, whose chunk tree's root the commit names. The manifest, which the commit
names, too, says under which content ids the vectors are; who has the children makes a vector again without it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from galaxy_chain.exceptions import ContentMismatchError
from galaxy_chain.following.history import Commit
from galaxy_chain.ledger.submissions import Entry
from galaxy_fl.aggregation.sum_tree import Place, locate
from galaxy_fl.aggregation.summing import Summand, write_sum
from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError
from galaxy_fl.vectors import SUM_DTYPE, read_sums, tree_root

if TYPE_CHECKING:
    from galaxy_chain.verify.verifier import Verifier

__all__ = ["NodeVectors", "manifest_id", "pack_manifest"]

_DIGEST_BYTES = 32
_LACKING = (ContentMissingError, ContentAlteredError)


def pack_manifest(digests: list[bytes]) -> bytes:
    """The manifest of nodes' vectors: the digests of their content ids, 32 bytes each, in the order of the nodes."""
    return b"".join(digests)


def manifest_id(commit: Commit) -> ContentId:
    """The content id of the manifest of a commit's nodes."""
    return ContentId(commit.nodes_content, _DIGEST_BYTES * len(commit.nodes))


class NodeVectors:
    """The vectors of the nodes of commits.

    Args:
        verifier: Of the job; its store has them.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._manifest: tuple[ContentId | None, list[ContentId]] = None, []
        """The last list that was read: a check asks for it with every node."""

    def content_id(self, digest: bytes) -> ContentId:
        """The content id of a node's vector by its digest."""
        return ContentId(digest, SUM_DTYPE.itemsize * self._verifier.terms.parameters)

    def place(self, commit: Commit, node: int) -> Place:
        """Where a node of a commit is, numbered from 1."""
        return locate(commit.record.updates, self._verifier.terms.fan_in, node)

    def contents(self, commit: Commit) -> list[ContentId]:
        """The content ids of the vectors of all nodes of a commit.

        Raises:
            ContentMissingError, ContentAlteredError: the manifest is unavailable.
        """
        manifest = manifest_id(commit)
        # With its length: another commit may name the same list for another number of nodes.
        read, known = self._manifest  # at once: another thread may look at another commit meanwhile
        if read == manifest:
            return known
        try:
            packed = self._verifier.store.get(manifest)
        except _LACKING as error:
            raise type(error)(f"round {commit.record.round}: the list of the partial sums: {error}") from error
        contents = [self.content_id(packed[at : at + _DIGEST_BYTES]) for at in range(0, len(packed), _DIGEST_BYTES)]
        self._manifest = manifest, contents
        return contents

    def found(self, commit: Commit, node: int) -> Path:
        """The file of a node's vector as it is in the store, its root verified.

        Raises:
            ContentMissingError, ContentAlteredError: it is unavailable, or has another root than the commit says.
        """
        what = f"round {commit.record.round}: the partial sum of node {node}"
        content = self.contents(commit)[node - 1]
        try:
            path = self._verifier.store.path(content)
        except _LACKING as error:
            raise type(error)(f"{what}: {error}") from error
        expected = commit.nodes[node - 1].root
        root = self._verifier.root_of(content, lambda: self.root(path), lambda root: root == expected)
        if root != expected:
            raise ContentMismatchError(
                f"{what}: the content is what the list says, but the root of its chunk tree, {root.hex()}, is not the "
                f"one on the ledger, {expected.hex()}"
            )
        return path

    def vector(self, commit: Commit, node: int) -> Path:
        """The file of a node's vector, root verified; where it is not in the store it is made again of the updates, and
        put there for whoever comes next.

        Raises:
            ContentMissingError, ContentAlteredError: it is unavailable, and can't be made again.
        """
        try:
            return self.found(commit, node)
        except _LACKING as error:
            lacking = error
        try:
            with self.summed(commit, node) as path:
                if self.root(path) == commit.nodes[node - 1].root:
                    return self.keep(path, commit, node)
        except _LACKING as error:
            raise type(lacking)(f"{lacking}; nor can it be recomputed, because {error}") from error
        raise lacking

    def keep(self, path: Path, commit: Commit, node: int) -> Path:
        """Puts the vector of a node of a commit into the store again, and returns its file there."""
        store = self._verifier.store
        try:
            content = self._verifier.put_again(path, self.contents(commit)[node - 1])
        except _LACKING:  # the list that has its id
            content = store.put(path)
        return store.path(content)

    @contextmanager
    def summed(self, commit: Commit, node: int) -> Iterator[Path]:
        """The sum of what a node stands for, in a temporary file.

        Raises:
            ContentMissingError, ContentAlteredError: a part of it is unavailable.
        """
        place = self.place(commit, node)
        if place.level == 1:
            children = [self.summand(commit, entry) for entry in self.entries(commit, place)]
        else:
            children = [Summand(self.vector(commit, each), commit.nodes[each - 1].weight) for each in place.child_nodes]
        with tempfile.TemporaryDirectory(prefix="galaxy-recompute-") as folder:
            path = Path(folder) / "sum"
            write_sum(children, path, self._verifier.terms.parameters, of_nodes=place.level > 1)
            yield path

    def entries(self, commit: Commit, place: Place) -> list[Entry]:
        """The included entries that a node of level 1 stands for."""
        return [commit.entries[number] for number in place.children if number not in commit.left_out]

    def summand(self, commit: Commit, entry: Entry) -> Summand:
        """An update as a part of a sum.

        Raises:
            ContentMissingError, ContentAlteredError: it is unavailable.
        """
        what = f"round {commit.record.round}: the update of {entry.client}"
        return Summand(self._verifier.update(entry, what), entry.update.weight)

    def root(self, path: Path) -> bytes:
        """The root of the chunk tree of a node's vector."""
        terms = self._verifier.terms
        return tree_root(read_sums(path, terms.parameters), terms.chunk_parameters)
