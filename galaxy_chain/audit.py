"""Recomputes a job from its events and its content alone. Needs neither a key nor a server.

Whatever the ledger says about big things is checked to the bit: the hash chain of every attempt, the record of every
commit, the content and the commitment of every update, and every aggregate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxy_chain.coordinator import address_bytes, verified_vector
from galaxy_chain.exceptions import AuditError
from galaxy_chain.job_check import check_job
from galaxy_chain.ledger.follower import JobFollower
from galaxy_chain.ledger.history import Commit, JobHistory, record_word
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.store import Store
from galaxy_fl.aggregation import RULES
from galaxy_fl.aggregation.aggregate import aggregate_files
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError
from galaxy_fl.job_document import JobDocument
from galaxy_fl.vectors import blocks, commitment, read_vector

__all__ = ["AuditedRound", "Auditor"]


@dataclass(frozen=True)
class AuditedRound:
    """A round that was found right."""

    round: int
    updates: int
    excluded: tuple[str, ...]
    server: str
    root: bytes
    """Of the model that the round made."""


class Auditor:
    """Audits one job.

    Args:
        ledger: May be without transactions.
        store: Where the content is.
        job: The job's number.

    Raises:
        AuditError: the events contradict each other.
        JobMismatchError, JobDocumentError, ContentError: the job itself is not what it says.
    """

    def __init__(self, ledger: Ledger, store: Store, job: int) -> None:
        self.ledger = ledger
        self.store = store
        self.job = job
        self._follower = JobFollower(ledger, job)
        self.history: JobHistory = self._follower.history
        self.document: JobDocument = check_job(ledger, store, job, self.history.terms)

    def rounds(self) -> Iterator[AuditedRound]:
        """Audits what is committed, round by round.

        Raises:
            AuditError: the first lie: names the round and what is wrong in it.
            ContentMissingError: content that an audit needs is nowhere to be had.
            ContentAlteredError: content that a store holds is not what its id says.
        """
        history = self.history
        self._model(0, history.initial.content, history.initial.root)
        for number, commit in sorted(history.commits.items()):
            self._record(commit)
            self._aggregate(commit)
            record = commit.record
            yield AuditedRound(number, len(commit.included), record.excluded, record.server, record.next.root)
        self._state()

    def _state(self) -> None:
        """The contract's own state has to be where the events lead; new events may come in between the two looks."""
        for _ in range(10):
            self._follower.poll()
            history, stored = self._follower.history, self.ledger.job(self.job)
            found = (stored.state.round, stored.state.attempt, stored.root, stored.head)
            rebuilt = (history.round, history.attempt, history.model.root, history.head)
            if found == rebuilt:
                break
        else:
            raise AuditError(
                f"job {self.job}: the ledger is at (round, attempt, root, head) {found}, its events lead to {rebuilt}"
            )
        if stored.terms != history.terms:
            raise AuditError(f"job {self.job}: the ledger's terms are not those of its registration")

    def _record(self, commit: Commit) -> None:
        number = commit.record.round
        kept = self.ledger.call("recordOf", self.job, number)
        if kept != record_word(commit.record):
            raise AuditError(
                f"round {number}: the ledger keeps the record {kept.hex()}, its events make "
                f"{record_word(commit.record).hex()}"
            )
        strangers = set(commit.record.excluded) - {submission.client for submission in commit.submissions}
        if strangers:
            raise AuditError(f"round {number}: {', '.join(sorted(strangers))} was excluded without having submitted")

    def _model(self, number: int, content: bytes, root: bytes) -> Path:
        path, found = self._vector(f"the model after round {number}", content)
        if found != root:
            raise AuditError(f"round {number}: the model's content has the root {found.hex()}, the ledger {root.hex()}")
        return path

    def _vector(self, what: str, content: bytes) -> tuple[Path, bytes]:
        terms = self.history.terms
        try:
            return verified_vector(self.store, content, terms.parameters, terms.chunk_parameters)
        except (ContentMissingError, ContentAlteredError) as error:
            raise type(error)(f"{what}: {error}") from error

    def _aggregate(self, commit: Commit) -> None:
        number, terms = commit.record.round, self.history.terms
        updates = []
        for submission in commit.included:
            path, root = self._vector(f"round {number}: the update of {submission.client}", submission.update.content)
            if commitment(root, address_bytes(submission.client)) != submission.update.commitment:
                raise AuditError(f"round {number}: the update of {submission.client} is not what it committed to")
            updates.append(path)
        previous = self._model(number - 1, commit.previous.content, commit.previous.root)
        committed = self._model(number, commit.record.next.content, commit.record.next.root)
        with tempfile.TemporaryDirectory(prefix="galaxy-audit-") as folder:
            aggregate_files(
                RULES[self.document.rule.name],
                self.document.rule.word,
                previous,
                updates,
                [submission.update.weight for submission in commit.included],
                recomputed := Path(folder) / "next",
                terms.parameters,
            )
            self._compare(number, recomputed, committed)

    def _compare(self, number: int, recomputed: Path, committed: Path) -> None:
        terms = self.history.terms
        ours, theirs = read_vector(recomputed, terms.parameters), read_vector(committed, terms.parameters)
        for block in blocks(terms.parameters):
            if not np.array_equal(ours[block], theirs[block]):
                index = block.start + int(np.flatnonzero(ours[block] != theirs[block])[0])
                raise AuditError(
                    f"round {number}: parameter {index} (chunk {index // terms.chunk_parameters}) of the committed "
                    f"model is {theirs[index]}, but its updates make {ours[index]}"
                )
