"""Checking commits whole, of whichever kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.verify.faults import Fault
from galaxy_chain.verify.flat_check import FlatCheck
from galaxy_chain.verify.tree_check import TreeCheck
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.aggregation.node_cache import NodeCache

__all__ = ["Checks"]


class Checks:
    """Checks commits of one job.

    Args:
        verifier: Of the job.
        cache: A file that says which nodes were found right on this machine; None to remember it in this process alone.
    """

    def __init__(self, verifier: Verifier, cache: Path | None = None) -> None:
        self._verifier = verifier
        self._cache = NodeCache(cache)
        self._flat = FlatCheck(verifier)

    def tree(self, history: JobHistory, commit: Commit) -> TreeCheck:
        """What checks a commit with nodes, node by node."""
        return TreeCheck(self._verifier, history, commit, self._cache)

    def everything(self, history: JobHistory, commit: Commit) -> Iterator[Fault]:
        """All that is wrong in a commit; nothing where it is right.

        Raises:
            AggregationError, VectorError: it can't be recomputed, now or ever.
        """
        if commit.nodes:
            return self.tree(history, commit).everything()
        return self._flat.everything(history, commit)
