"""The tree of sums of a round that a server commits: aggregated in one pass, its vectors put into the store."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from galaxy_chain.following.history import JobHistory
from galaxy_chain.verify.node_vectors import pack_manifest
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.aggregation.rule import is_sum
from galaxy_fl.aggregation.sum_tree import Node
from galaxy_fl.aggregation.summing import node_file, sum_files
from galaxy_fl.content import ContentId

__all__ = ["NO_TREE", "SummingUp", "Tree"]


@dataclass(frozen=True)
class Tree:
    """The nodes of a round, whose vectors are in the store.

    Attributes:
        nodes: In the order of their numbers; none where the round is flat.
        contents: The content ids of their vectors.
        manifest: The content id of the list of these; None where there is none.
    """

    nodes: tuple[Node, ...] = ()
    contents: tuple[ContentId, ...] = ()
    manifest: ContentId | None = None


NO_TREE = Tree()


class SummingUp:
    """Sums up the rounds of one job.

    Args:
        verifier: Of the job; its store takes the vectors.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def has_tree(self, history: JobHistory) -> bool:
        """Whether a commit of the current attempt has to have nodes."""
        return history.is_sum and len(history.entries) > history.terms.fan_in

    def sum_up(self, history: JobHistory, model: Path, updates: Mapping[str, Path], next_model: Path) -> Tree:
        """Aggregates the current attempt, which has a tree, and puts its nodes into the store.

        Args:
            history: Of the job.
            model: The round's model.
            updates: The included updates, by their clients.
            next_model: Takes the next model.

        Raises:
            AggregationError, VectorError, ContentError, OSError: it can't be done.
        """
        verifier, entries = self._verifier, tuple(history.entries)
        assert is_sum(verifier.rule)
        with tempfile.TemporaryDirectory(prefix=".galaxy-nodes-", dir=next_model.parent) as folder:
            nodes = sum_files(
                verifier.rule,
                verifier.document.rule.rule_word,
                model,
                [updates.get(entry.client) for entry in entries],
                [entry.update.weight for entry in entries],
                next_model,
                history.terms.parameters,
                fan_in=history.terms.fan_in,
                chunk_parameters=history.terms.chunk_parameters,
                folder=Path(folder),
            )
            return self.publish(Path(folder), nodes, next_model)

    def publish(self, folder: Path, nodes: Sequence[Node], next_model: Path) -> Tree:
        """Puts the vectors in a folder into the store, and the list of their content ids."""
        store = self._verifier.store
        contents = tuple(store.put(node_file(folder, number)) for number in range(1, len(nodes) + 1))
        manifest = store.put(pack_manifest([content.digest for content in contents]))
        return Tree(tuple(nodes), contents, manifest)
