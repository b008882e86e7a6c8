"""Checking a commit with a tree of sums, node by node: what is wrong in it, and what is withheld.

Weights are checked by the events alone. A node of level 1 is the sum of its entries' updates, a higher one that of its
children, each of which is what its root says and within the bounds of its weight; the next model is what the rule makes
of the root. Whoever has checked all nodes and the last step has checked the commit; each can be checked by itself.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.verify.faults import Fault, Kind, where_to_look
from galaxy_chain.verify.memory import Memory
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.aggregation.node_cache import NodeCache, bounds_key, finish_key, node_key
from galaxy_fl.aggregation.node_checks import (
    chunk_beyond_bounds,
    recover_child,
    unexplained_chunks,
    wrong_next_chunk,
    wrong_node_chunk,
)
from galaxy_fl.aggregation.rule import is_sum
from galaxy_fl.aggregation.sum_tree import Place, branch, levels, wrong_weight
from galaxy_fl.aggregation.summing import Summand
from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError
from galaxy_fl.vectors import ChunkTree, commitment, read_sums, tree_root

__all__ = ["Seen", "TreeCheck"]

LACKING = (ContentMissingError, ContentAlteredError)
MOST_COMMITS = 1_000
MOST_NODES = 2**17
"""Nodes that are remembered as right."""
AT_ONCE = 16
"""Contents asked after at a time."""
PRESENT_SECONDS = 60.0
"""How long the updates of a commit that were all there are not asked after again by others of this process."""
_random = random.SystemRandom()


class Seen:
    """What the clients of a process have seen of commits, beside the nodes that were right."""

    def __init__(self) -> None:
        self.looks: Memory[tuple[bytes, int], list[Fault]] = Memory(MOST_NODES)
        """At nodes, by the word of a commit and the node's number: what one finds is true for all who ask meanwhile,
        and that nothing is wrong for all who ask later: each of a thousand clients asks after several."""
        self.weighed: set[bytes] = set()
        """The words of commits whose weights are right."""
        self.present: Memory[tuple[bytes, int], list[int]] = Memory(MOST_COMMITS)
        """The nodes of level 1 with missing updates, by the word of a commit and the stretch of time."""


class TreeCheck:
    """Checks one commit that has a tree of sums.

    Args:
        verifier: Of the job.
        history: Of the job; for what was opened of the commit, and for the model that it began with.
        commit: One with nodes.
        cache: What was found right before.
        seen: What others of this process have seen.
    """

    def __init__(
        self, verifier: Verifier, history: JobHistory, commit: Commit, cache: NodeCache, seen: Seen | None = None
    ) -> None:
        self._seen = Seen() if seen is None else seen
        self._verifier = verifier
        self._history = history
        self._commit = commit
        self._cache = cache
        self._nodes = commit.nodes
        self._d = verifier.terms.parameters
        self._size = verifier.terms.chunk_parameters
        self._answers = history.answers.get(commit.word, {})

    # Which nodes

    def lowest(self) -> range:
        """The numbers of the nodes of level 1."""
        return range(1, 1 + levels(self._commit.record.updates, self._verifier.terms.fan_in)[0])

    def own(self, client: str) -> int | None:
        """The node of level 1 that stands for a client's included entry; None where it has none."""
        if not self._commit.includes(client):
            return None
        return 1 + self._commit.number_of[client] // self._verifier.terms.fan_in

    def branch(self, node: int) -> list[int]:
        """A node of level 1 and all above it, the root last."""
        fan_in = self._verifier.terms.fan_in
        return [place.node for place in branch(self._commit.record.updates, fan_in, (node - 1) * fan_in)]

    def has(self, node: int) -> bool:
        """Whether a node's vector is there."""
        try:
            self._verifier.nodes.found(self._commit, node)
        except LACKING:
            return False
        return True

    # What is wrong

    def everything(self) -> Iterator[Fault]:
        """What is wrong in any node, or in the last step: weights first, then from the lowest nodes up."""
        yield from self.weights()
        yield from self.of(range(1, len(self._nodes) + 1))
        yield from self.last_step()

    def of(self, nodes: Iterable[int]) -> Iterator[Fault]:
        """What is wrong in these nodes."""
        for node in nodes:
            yield from self.node(node)

    def weights(self) -> Iterator[Fault]:
        """A node whose weight is not that of its entries; the events alone tell."""
        commit = self._commit
        if commit.word in self._seen.weighed:
            return
        weights = [
            0 if number in commit.left_out else entry.update.weight for number, entry in enumerate(commit.entries)
        ]
        if (node := wrong_weight(self._nodes, weights, self._verifier.terms.fan_in)) is not None:
            yield Fault(node, 0, Kind.PROVED, f"the weight of node {node} is not that of its entries")
        else:
            self._seen.weighed.add(commit.word)

    def absent(self) -> list[int]:
        """The nodes of level 1 in which an included update is not within the store's reach. Where none is missing, the
        store is asked for all clients of a process once a minute.

        Raises:
            ContentError: the store itself can't be used.
        """
        stretch = int(time.monotonic() / PRESENT_SECONDS)
        return self._seen.present.get((self._commit.word, stretch), self._absent, lambda missing: not missing)

    def _absent(self) -> list[int]:
        commit, store, fan_in = self._commit, self._verifier.store, self._verifier.terms.fan_in
        contents = {
            number: self._verifier.content_id(entry.update.content)
            for number, entry in enumerate(commit.entries)
            if number not in commit.left_out
        }
        # Here first: threads for what is a look into a folder would take longer than the looks.
        elsewhere = [number for number, content in contents.items() if not store.has(content)]
        if not elsewhere:
            return []
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="presence") as threads:
            there = list(threads.map(lambda number: store.reaches(contents[number]), elsewhere))
        if not all(there):
            store.probe(self._verifier.terms.spec)  # it may be the store that fails
        missing = (number for number, found in zip(elsewhere, there, strict=True) if not found)
        return sorted({1 + number // fan_in for number in missing})

    def node(self, node: int) -> Iterator[Fault]:
        """What is wrong in a node."""
        what = self._commit.word, node
        yield from self._seen.looks.get(what, lambda: self._looked_at(node), lambda faults: not faults)

    def _looked_at(self, node: int) -> list[Fault]:
        place = self._verifier.nodes.place(self._commit, node)
        if (key := self._key(place)) in self._cache:
            return []
        faults = list(self._lowest(place) if place.level == 1 else self._higher(place))
        if not faults:
            self._cache.add(key)
        return faults

    def last_step(self) -> Iterator[Fault]:
        """What is wrong in the step from the root to the next model."""
        commit, verifier = self._commit, self._verifier
        record, root = commit.record, commit.nodes[-1]
        word = verifier.document.rule.rule_word
        key = finish_key(
            self._d, self._size, verifier.rule.name, word, commit.previous.root, root, record.next.root
        )  # fmt: skip
        if key in self._cache:
            return
        try:
            previous = verifier.model_before(self._history, commit)
        except LACKING as error:
            yield self._missing(0, error)
            return
        try:
            sums = verifier.nodes.vector(commit, len(commit.nodes))
        except LACKING as error:
            yield self._missing(len(commit.nodes), error)
            return
        try:
            theirs = verifier.model(record.next, f"the model after round {record.round}")
        except LACKING as error:
            with verifier.finished(previous, commit, sums) as ours:
                tree = ChunkTree(verifier.read_model(ours), verifier.model_chunk)
                if tree.root != record.next.root:
                    yield self._hidden(0, tree, error)
                    return
                verifier.put_again(ours, verifier.model_id(record.next.content))
        else:
            assert is_sum(verifier.rule)
            chunk = wrong_next_chunk(
                verifier.rule, word, previous, sums, root.weight, theirs, self._d, self._size
            )  # fmt: skip
            if chunk is not None:
                yield Fault(0, chunk, Kind.PROVED, f"chunk {chunk} of the next model is not what the sums make")
                return
        self._cache.add(key)

    # Nodes

    def _key(self, place: Place) -> bytes:
        commit = self._commit
        if place.level == 1:
            children = [
                (entry.update.commitment, entry.update.weight, number in commit.left_out)
                for number, entry in ((number, commit.entries[number]) for number in place.children)
            ]
        else:
            children = [(self._nodes[at].root, self._nodes[at].weight, False) for at in place.children]
        return node_key(self._d, self._size, place.level, self._nodes[place.node - 1].root, children)

    def _lowest(self, place: Place) -> Iterator[Fault]:
        nodes, commit = self._verifier.nodes, self._commit
        present: list[Summand] = []
        missing: list[tuple[Entry, Exception]] = []
        for entry in nodes.entries(commit, place):
            try:
                present.append(nodes.summand(commit, entry))
            except LACKING as error:
                missing.append((entry, error))
        weights = [entry.update.weight for entry, _ in missing]
        who = ", ".join(entry.client for entry, _ in missing)
        cause = missing[0][1] if missing else None
        theirs = yield from self._compared(place, present, weights, f"the missing update of {who}", cause)
        if theirs is None or len(missing) != 1:
            if theirs is not None:
                yield self._missing(place.node, cause)
            return
        entry = missing[0][0]
        client, promised = address_bytes(entry.client), entry.update.commitment

        def is_it(update: Path) -> bool:
            return commitment(tree_root(self._verifier.read(update), self._size), client) == promised

        def keep(update: Path) -> None:
            self._verifier.put_again(update, self._verifier.content_id(entry.update.content))

        weight, what = entry.update.weight, f"the missing update of {who}"
        yield from self._recovered(place, theirs, present, weight, is_it, keep, what)

    def _higher(self, place: Place) -> Iterator[Fault]:
        commit = self._commit
        present: list[Summand] = []
        missing: list[tuple[int, Exception]] = []
        for node in place.child_nodes:
            weight = self._nodes[node - 1].weight
            try:
                path = self._verifier.nodes.vector(commit, node)
            except LACKING as error:
                missing.append((node, error))
                continue
            key = bounds_key(self._d, self._size, self._nodes[node - 1])
            if key not in self._cache:
                if (chunk := chunk_beyond_bounds(path, weight, self._d, self._size)) is not None:
                    yield self._wrong(place, chunk, f"node {node} is beyond what updates of its weight sum to")
                    return
                self._cache.add(key)
            present.append(Summand(path, weight))
        weights = [self._nodes[node - 1].weight for node, _ in missing]
        named = ", ".join(str(node) for node, _ in missing)
        cause = missing[0][1] if missing else None
        theirs = yield from self._compared(place, present, weights, f"the missing node {named}", cause)
        if theirs is None:
            return
        if len(missing) == 1:
            root = self._nodes[missing[0][0] - 1].root
            faults = list(
                self._recovered(
                    place, theirs, present, weights[0], lambda path: self._verifier.nodes.root(path) == root,
                    lambda path: self._verifier.nodes.keep(path, commit, missing[0][0]), f"the missing node {named}",
                )
            )  # fmt: skip
            if not faults:
                return
            yield from faults
        for node, lacking in missing:
            # Whoever has what is below it may see that it is wrong.
            yield from list(self.node(node)) or [self._missing(node, lacking)]

    def _recovered(
        self,
        place: Place,
        theirs: Path,
        present: list[Summand],
        weight: int,
        is_it: Callable[[Path], bool],
        keep: Callable[[Path], object],
        what: str,
    ) -> Iterator[Fault]:
        """Puts the only missing child of a node into the store, which is what the others leave of the node. What is
        wrong where that is not what was committed to."""
        with tempfile.TemporaryDirectory(prefix="galaxy-recompute-") as folder:
            path = Path(folder) / "child"
            recover_child(theirs, present, weight, path, self._d, of_nodes=place.level > 1)
            if is_it(path):
                keep(path)
                return
        opened = {chunk for node, chunk in self._answers if node == place.node}
        rest = [chunk for chunk in range(self._verifier.chunks()) if chunk not in opened]
        if rest:
            reason = f"what is left for {what} is not what was committed to"
            yield Fault(place.node, _random.choice(rest), Kind.HIDDEN, reason)

    def _compared(
        self, place: Place, present: list[Summand], missing: list[int], what: str, error: Exception | None
    ) -> Generator[Fault, None, Path | None]:
        """What is wrong in a node by those of its children that are here.

        Returns:
            The node's vector where it is here and what is missing may be right; otherwise None.
        """
        verifier, of_nodes = self._verifier, place.level > 1
        try:
            theirs = verifier.nodes.found(self._commit, place.node)
        except LACKING as lacking:
            if missing:
                yield self._missing(place.node, error)
                return None
            with verifier.nodes.summed(self._commit, place.node) as ours:
                tree = ChunkTree(read_sums(ours, self._d), self._size)
                if tree.root == self._nodes[place.node - 1].root:
                    verifier.nodes.keep(ours, self._commit, place.node)
                else:
                    yield self._hidden(place.node, tree, lacking)
            return None
        if missing:
            chunks = unexplained_chunks(theirs, present, missing, self._d, self._size, of_nodes=of_nodes)
            if chunks:
                # One is enough, because nobody can open it; a random one, because somebody may demand it just before.
                reason = f"whatever {what} is, it does not explain this chunk: {error}"
                yield Fault(place.node, _random.choice(chunks), Kind.UNEXPLAINED, reason)
                return None
            return theirs
        chunk = wrong_node_chunk(theirs, present, self._d, self._size, of_nodes=of_nodes)
        if chunk is not None:
            yield self._wrong(place, chunk, f"chunk {chunk} of node {place.node} is not the sum of its children")
        return None

    # Faults

    def _wrong(self, place: Place, chunk: int, reason: str) -> Fault:
        """A fault that is proved, unless something that has to be shown is missing: then nobody can answer for it."""
        try:
            for node in (place.node, *place.child_nodes):
                self._verifier.nodes.vector(self._commit, node)
        except LACKING as error:
            return Fault(place.node, chunk, Kind.UNEXPLAINED, f"{reason}: {error}")
        return Fault(place.node, chunk, Kind.PROVED, reason)

    def _hidden(self, node: int, tree: ChunkTree, error: ContentError) -> Fault:
        chunk = where_to_look(self._answers, node, tree, self._verifier.chunks())
        return Fault(node, chunk, Kind.HIDDEN, f"it is wrong and withheld: {error}")

    def _missing(self, node: int, error: Exception | None) -> Fault:
        return Fault(node, _random.randrange(self._verifier.chunks()), Kind.MISSING, str(error))
