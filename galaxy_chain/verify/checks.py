"""Checking commits whole, of whichever kind."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.verify.early import Early, Sight, Task
from galaxy_chain.verify.faults import Fault
from galaxy_chain.verify.flat_check import FlatCheck
from galaxy_chain.verify.how import Verify
from galaxy_chain.verify.memory import Memory
from galaxy_chain.verify.tree_check import Seen, TreeCheck
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.aggregation import aggregate_files
from galaxy_fl.aggregation.node_cache import NodeCache, bounds_key, flat_key, node_key
from galaxy_fl.aggregation.rule import is_sum
from galaxy_fl.aggregation.sum_tree import Node
from galaxy_fl.aggregation.summing import Summand, write_sum
from galaxy_fl.content import ContentId

__all__ = ["Checks"]

MOST_COMMITS = 10_000
"""Commits that are remembered as right."""
NICE = 10
"""Of clients that verify early: on one machine the server, for whose commit they wait, was three times as slow beside
them."""


class Checks:
    """Checks commits of one job. All clients of a process share one: what one has verified, none verifies again.

    Args:
        verifier: Of the job.
        cache: A file that says which nodes, and which models of flat rounds, were found right on this machine; None to
            remember it in this process alone.

    Attributes:
        acting: Held by whoever brings a fault to the ledger, so that two clients of a process do not pay for one.
    """

    def __init__(self, verifier: Verifier, cache: Path | None = None) -> None:
        self.acting = threading.Lock()
        self._verifier = verifier
        self._cache = NodeCache(cache)
        self._flat = FlatCheck(verifier)
        self._seen = Seen()
        self._right: Memory[bytes, list[Fault]] = Memory(MOST_COMMITS)
        self._foreseen: Memory[bytes, None] = Memory(MOST_COMMITS)
        """The heads of entries whose next model was found out."""

    def tree(self, history: JobHistory, commit: Commit) -> TreeCheck:
        """What checks a commit with nodes, node by node."""
        return TreeCheck(self._verifier, history, commit, self._cache, self._seen)

    def whole(self, history: JobHistory, commit: Commit, find: Callable[[], list[Fault]]) -> list[Fault]:
        """What `find` finds wrong in all of a commit; nothing, without asking it, where it has found nothing before.

        Others who ask for the same commit meanwhile wait.
        """
        return self._right.get(commit.word, find, lambda faults: not faults)

    def wrong_chunk(self, history: JobHistory, commit: Commit, how: Verify) -> int | None:
        """As the verifier has it; what was found right of a flat round by all of its updates is not recomputed.

        Raises:
            ContentMissingError, ContentAlteredError: something that is needed is unavailable.
        """
        if commit.nodes or how.chunks is not None:
            return self._verifier.wrong_chunk(history, commit, how)
        # What is being found out at the moment is waited for, and not found out twice.
        with suppress(Exception):  # where it failed, that is found out here
            self._foreseen.get(commit.record.head, lambda: None, lambda nothing: False)
        entries = enumerate(commit.entries)
        shown = [(entry.update.commitment, entry.update.weight, number in commit.left_out) for number, entry in entries]
        record = commit.record
        key = self.flat_key(record.previous_root, shown, record.next.root)
        if key in self._cache:
            return None
        chunk = self._verifier.wrong_chunk(history, commit, how)
        if chunk is None:
            self._cache.add(key)
        return chunk

    def flat_key(self, model: bytes, updates: Iterable[tuple[bytes, int, bool]], next: bytes) -> bytes:
        """The key under which is remembered that the job's rule makes the next model of these updates."""
        terms, rule = self._verifier.terms, self._verifier.document.rule
        return flat_key(terms.parameters, terms.chunk_parameters, rule.name, rule.rule_word, model, updates, next)

    def early(self) -> Early:
        """What finds out of a round by its updates, as they come in, what its commit should say."""
        return Early(self._verifier, self.foresee, NICE)

    def foresee(self, sight: Sight, verified: Sequence[bool]) -> Iterator[Task]:
        """What can be found out of a round by its updates before it is committed: each node of level 1 whose entries
        are all wanted and in, and, once no more come, the next model of a flat round. It is remembered as what was
        found right, and a commit that says something else is looked at as ever."""
        fan_in, count = self._verifier.terms.fan_in, len(sight.entries)
        if not is_sum(self._verifier.rule) or count <= fan_in:
            if sight.closed and all(verified):
                yield sight.head, lambda: self._foreseen.get(sight.head, lambda: self._foresee_model(sight))
            return
        for first in sorted({number // fan_in * fan_in for number in sight.wanted}):
            entries = sight.entries[first : first + fan_in]
            if (len(entries) == fan_in or sight.closed) and all(verified[first : first + fan_in]):
                # Not all entries, as this is made for each node each time: where a reorganisation has changed one in
                # between, the node is not foreseen, which costs time alone.
                yield (first, len(entries), entries[0], entries[-1]), partial(self._foresee_node, entries, sight.round)

    def _updates(self, entries: Sequence[Entry], round: int) -> list[Path]:
        """The files of updates, which the store makes sure of again: they may have been altered, or have gone, since
        they were verified, and what is found out by them is taken for right later."""
        return [self._verifier.update(entry, f"the update of {entry.client} in round {round}") for entry in entries]

    def _foresee_model(self, sight: Sight) -> None:
        verifier, rule, d = self._verifier, self._verifier.document.rule, self._verifier.terms.parameters
        model = verifier.model(sight.model, f"the model that round {sight.round} begins with")
        weights, updates = [entry.update.weight for entry in sight.entries], self._updates(sight.entries, sight.round)
        with tempfile.TemporaryDirectory(prefix="galaxy-foreseen-") as folder:
            path = Path(folder) / "model"
            aggregate_files(verifier.rule, rule.rule_word, model, updates, weights, path, d)
            root = verifier.model_root(path)
            verifier.know(ContentId.of_file(path), root)
        self._cache.add(self.flat_key(sight.model.root, _shown(sight.entries), root))

    def _foresee_node(self, entries: Sequence[Entry], round: int) -> None:
        verifier, weights = self._verifier, [entry.update.weight for entry in entries]
        updates = self._updates(entries, round)
        d, size = verifier.terms.parameters, verifier.terms.chunk_parameters
        with tempfile.TemporaryDirectory(prefix="galaxy-foreseen-") as folder:
            path = Path(folder) / "sum"
            write_sum(list(map(Summand, updates, weights)), path, d, of_nodes=False)
            root = verifier.nodes.root(path)
            verifier.know(ContentId.of_file(path), root)
        self._cache.add(node_key(d, size, 1, root, _shown(entries)))
        self._cache.add(bounds_key(d, size, Node(root, sum(weights))))

    def everything(self, history: JobHistory, commit: Commit) -> Iterator[Fault]:
        """All that is wrong in a commit; nothing where it is right.

        Raises:
            AggregationError, VectorError: it can't be recomputed, now or ever.
        """
        if commit.nodes:
            return self.tree(history, commit).everything()
        return self._flat.everything(history, commit)


def _shown(entries: Iterable[Entry]) -> list[tuple[bytes, int, bool]]:
    """Entries that are all included, as the keys of what was found right have them."""
    return [(entry.update.commitment, entry.update.weight, False) for entry in entries]
