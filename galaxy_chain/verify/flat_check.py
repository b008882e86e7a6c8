"""Checking a commit without a tree of sums: all of it at once, by all of its updates."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.verify.faults import Fault, Kind, where_to_look
from galaxy_chain.verify.verifier import Unexplained, Verifier
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError
from galaxy_fl.vectors import ChunkTree

__all__ = ["FlatCheck"]

LACKING = (ContentMissingError, ContentAlteredError)


class FlatCheck:
    """Checks commits of one job that have no nodes.

    Args:
        verifier: Of the job.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._unexplained: dict[bytes, tuple[frozenset[bytes], Unexplained]] = {}
        """What was found of a record of which updates are missing, and of which ones."""

    def everything(self, history: JobHistory, commit: Commit) -> Iterator[Fault]:
        """What is wrong in a commit. The model of one that is right is put into the store where it is missing.

        Raises:
            AggregationError, VectorError: it can't be recomputed, now or ever.
        """
        try:
            with self._verifier.recomputed(history, commit) as ours:
                yield from self._compared(history, commit, ours)
        except LACKING as error:
            yield self._lacking(history, commit, error)

    def _compared(self, history: JobHistory, commit: Commit, ours: Path) -> Iterator[Fault]:
        verifier, record = self._verifier, commit.record
        tree = ChunkTree(verifier.read_model(ours), verifier.model_chunk)
        if tree.root == record.next.root:
            if not verifier.store.has(verifier.model_id(record.next.content)):
                verifier.put_again(ours, verifier.model_id(record.next.content))
            return
        try:
            theirs = verifier.model(record.next, f"the model after round {record.round}")
        except LACKING as error:
            chunk = where_to_look(history.answers.get(commit.word, {}), 0, tree, verifier.chunks())
            yield Fault(0, chunk, Kind.HIDDEN, f"it is wrong and withheld: {error}")
            return
        index = verifier.first_difference(ours, theirs)
        assert index is not None, "two roots of one vector"
        parameter, lane = divmod(index, verifier.rule.lanes)
        which = f"moment {lane} of parameter {parameter}" if lane else f"parameter {parameter}"
        yield Fault(0, index // verifier.model_chunk, Kind.PROVED, f"{which} is wrong")

    def _lacking(self, history: JobHistory, commit: Commit, error: Exception) -> Fault:
        """What is to be done with a commit that can't be recomputed."""
        try:
            found = self._explain(history, commit)
        except LACKING:  # the committed model is withheld, too
            found = Unexplained((), ())
        if not found.chunks:
            return Fault(0, random.SystemRandom().randrange(self._verifier.chunks()), Kind.MISSING, str(error))
        who = ", ".join(found.missing)
        reason = f"whatever the missing update of {who} is, it does not explain this chunk: {error}"
        # One is enough, because nobody can open it; a random one, because somebody may demand it just before.
        return Fault(0, random.SystemRandom().choice(found.chunks), Kind.UNEXPLAINED, reason)

    def _explain(self, history: JobHistory, commit: Commit) -> Unexplained:
        """As the verifier has it, computed once for the updates that are missing now."""
        missing = frozenset(
            entry.update.content for entry in commit.included if not self._is_here(entry.update.content)
        )
        known = self._unexplained.get(commit.word)
        if known is None or known[0] != missing:
            known = missing, self._verifier.unexplained(history, commit)
            self._unexplained[commit.word] = known
        return known[1]

    def _is_here(self, digest: bytes) -> bool:
        try:
            self._verifier.store.path(self._verifier.content_id(digest))
        except LACKING:
            return False
        return True
