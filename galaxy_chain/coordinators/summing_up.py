"""The tree of sums of a round that a server commits: summed up as updates come in, its vectors put into the store."""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from galaxy_chain.following.history import JobHistory
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.verify.early import Sight, Task
from galaxy_chain.verify.node_vectors import pack_manifest
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.aggregation.rule import is_sum
from galaxy_fl.aggregation.sum_tree import Node, levels
from galaxy_fl.aggregation.summing import Summand, node_file, sum_files, write_sum
from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError

__all__ = ["NO_TREE", "SummingUp", "Tree"]

AT_ONCE = 8
"""Vectors of nodes that are put into the store at a time: each waits for its disk, or for a network."""
MOST_MADE = 10_000
"""Nodes that are remembered; with more all are forgotten, and summed again."""


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


@dataclass(frozen=True)
class _Made:
    """A node whose vector was put into the store."""

    node: Node
    content: ContentId


@dataclass(frozen=True)
class _Place:
    """A node over entries: its number and level, its children's places on the level below, and its children."""

    node: int
    level: int
    entries: range
    children: tuple[Entry | _Made | None, ...]

    @property
    def key(self) -> Hashable:
        """What tells its sum from every other."""
        return self.level, self.children


class SummingUp:
    """Sums up the rounds of one job.

    A node is summed as soon as all that it stands for is there, and remembered by its children: a reorganisation or an
    exclusion that changes these makes it another node.

    Args:
        verifier: Of the job; its store takes the vectors.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._made: dict[Hashable, _Made] = {}
        self._in_store: dict[Path, ContentId] = {}
        """The files of nodes that the last round to be summed up has found there."""

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
        made, files = self._found([entry if entry.client in updates else None for entry in entries])
        self._in_store = {files[number]: each.content for number, each in made.items()}
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
                made={number: (files[number], each.node.root) for number, each in made.items()},
            )
            paths = [files.get(number, node_file(Path(folder), number)) for number in range(1, len(nodes) + 1)]
            return self.publish(Path(folder), paths, nodes, next_model)

    def publish(self, folder: Path, paths: Sequence[Path], nodes: Sequence[Node], next_model: Path) -> Tree:
        """Puts the vectors of nodes into the store, and the list of their content ids.

        Args:
            folder: A temporary one.
            paths: The vectors' files: in the folder, or in the store already.
            nodes: The nodes.
            next_model: The model that follows from them.
        """
        store = self._verifier.store
        with ThreadPoolExecutor(AT_ONCE) as pool:
            contents = tuple(pool.map(lambda path: self._in_store.get(path) or store.put(path), paths))
        manifest = store.put(pack_manifest([content.digest for content in contents]))
        return Tree(tuple(nodes), contents, manifest)

    # As updates come in

    def next_nodes(self, sight: Sight, verified: Sequence[bool]) -> Iterator[Task]:
        """The nodes that can be summed although more updates may come: each stands for as many as a node can."""
        fan_in = self._verifier.terms.fan_in
        if len(sight.entries) <= fan_in or not is_sum(self._verifier.rule):
            return
        for place in self._places(sight.entries):
            if len(place.children) < fan_in or place.key in self._made:
                continue
            if place.level > 1 or all(verified[number] for number in place.entries):
                yield place.key, partial(self._make, place, sight.round)

    def _make(self, place: _Place, round: int) -> None:
        verifier, children = self._verifier, list[Summand]()
        for child in place.children:
            if isinstance(child, _Made):
                children.append(Summand(verifier.store.path(child.content), child.node.weight))
            elif child is not None:
                what = f"the update of {child.client} in round {round}"
                children.append(Summand(verifier.update(child, what), child.update.weight))
        with tempfile.TemporaryDirectory(prefix="galaxy-nodes-") as folder:
            path = Path(folder) / "sum"
            write_sum(children, path, verifier.terms.parameters, of_nodes=place.level > 1)
            node = Node(verifier.nodes.root(path), sum(child.weight for child in children))
            made = _Made(node, verifier.store.put(path))
        if len(self._made) >= MOST_MADE:
            self._made.clear()
        self._made[place.key] = made

    def _found(self, entries: Sequence[Entry | None]) -> tuple[dict[int, _Made], dict[int, Path]]:
        """The nodes over entries, None for each that is excluded, that are summed already: by their numbers, and their
        files."""
        made, files = dict[int, _Made](), dict[int, Path]()
        for place in self._places(entries):
            if (known := self._made.get(place.key)) is not None:
                with suppress(ContentMissingError, ContentAlteredError):
                    files[place.node] = self._verifier.store.path(known.content)
                    made[place.node] = known
        return made, files

    def _places(self, entries: Sequence[Entry | None]) -> Iterator[_Place]:
        """The nodes over entries whose children are known, from the lowest up."""
        fan_in, first = self._verifier.terms.fan_in, 1
        children: list[Entry | _Made | None] = list(entries)
        known = [True] * len(children)
        for level, size in enumerate(levels(len(entries), fan_in), 1):
            above = list[_Made | None]()
            for at in range(size):
                group = range(at * fan_in, min((at + 1) * fan_in, len(children)))
                made = None
                if all(known[number] for number in group):
                    place = _Place(first + at, level, group, tuple(children[number] for number in group))
                    yield place
                    made = self._made.get(place.key)
                above.append(made)
            first += size
            children, known = list(above), [each is not None for each in above]
