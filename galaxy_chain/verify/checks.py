"""Checking commits whole, of whichever kind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.verify.faults import Fault
from galaxy_chain.verify.flat_check import FlatCheck
from galaxy_chain.verify.memory import Memory
from galaxy_chain.verify.tree_check import Seen, TreeCheck
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.aggregation.node_cache import NodeCache

__all__ = ["Checks"]

MOST_COMMITS = 10_000
"""Commits that are remembered as right."""


class _WrongError(Exception):
    """Something is wrong in a commit."""


class Checks:
    """Checks commits of one job. All clients of a process share one: what one has verified, none verifies again.

    Args:
        verifier: Of the job.
        cache: A file that says which nodes were found right on this machine; None to remember it in this process alone.

    Attributes:
        acting: Held by whoever brings a fault to the ledger, so that two clients of a process do not pay for one.
    """

    def __init__(self, verifier: Verifier, cache: Path | None = None) -> None:
        self.acting = threading.Lock()
        self._verifier = verifier
        self._cache = NodeCache(cache)
        self._flat = FlatCheck(verifier)
        self._seen = Seen()
        self._right: Memory[bytes, None] = Memory(MOST_COMMITS)

    def tree(self, history: JobHistory, commit: Commit) -> TreeCheck:
        """What checks a commit with nodes, node by node."""
        return TreeCheck(self._verifier, history, commit, self._cache, self._seen)

    def whole(self, history: JobHistory, commit: Commit, find: Callable[[], list[Fault]]) -> list[Fault]:
        """What `find` finds wrong in all of a commit; nothing, without asking it, where it has found nothing before.

        Others who ask for the same commit meanwhile wait.
        """
        found: list[Fault] = []

        def is_right() -> None:
            found.extend(find())
            if found:
                raise _WrongError

        with suppress(_WrongError):
            self._right.get(commit.word, is_right)
        return found

    def everything(self, history: JobHistory, commit: Commit) -> Iterator[Fault]:
        """All that is wrong in a commit; nothing where it is right.

        Raises:
            AggregationError, VectorError: it can't be recomputed, now or ever.
        """
        if commit.nodes:
            return self.tree(history, commit).everything()
        return self._flat.everything(history, commit)
