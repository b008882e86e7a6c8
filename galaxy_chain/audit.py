"""Recomputes a job from its events and its content alone. Needs neither a key nor a server.

Whatever the ledger says about big things is checked to the bit: the hash chain of every attempt, the record of every
commit, the content and the commitment of every update, and every aggregate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from galaxy_chain.exceptions import AuditError, ContentMismatchError
from galaxy_chain.job_check import check_job
from galaxy_chain.ledger.follower import JobFollower
from galaxy_chain.ledger.history import Commit, JobHistory, record_word
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.structs import Submission
from galaxy_chain.store import Store
from galaxy_chain.verification import Verifier, strangers
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError
from galaxy_fl.job_document import JobDocument
from galaxy_fl.rounds.weights import overweight

__all__ = ["AuditedReopening", "AuditedRound", "Auditor", "WrongAggregateError"]


@dataclass(frozen=True)
class AuditedRound:
    """A round that was found right."""

    round: int
    updates: int
    excluded: tuple[str, ...]
    server: str
    root: bytes
    """Of the model that the round made."""
    objections: tuple[str, ...]
    """What is to be said against the commit though its arithmetic is right. The ledger punishes none of it."""


@dataclass(frozen=True)
class AuditedReopening:
    """An attempt that was given up: the ledger asks for no proof that it had to be."""

    round: int
    attempt: int
    server: str
    excluded: tuple[str, ...]
    objections: tuple[str, ...]


class WrongAggregateError(AuditError):
    """A commit that one transaction can prove wrong.

    Attributes:
        commit: The wrong one.
        chunk: The index of a chunk that it has wrong.
    """

    def __init__(self, message: str, commit: Commit, chunk: int) -> None:
        super().__init__(message)
        self.commit = commit
        self.chunk = chunk


@contextmanager
def _lies() -> Iterator[None]:
    """Content that is not what the ledger says of it is a lie on the ledger, not a fault of the store."""
    try:
        yield
    except ContentMismatchError as error:
        raise AuditError(str(error)) from error


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
        self.verifier = Verifier(store, self.history.terms, self.document)

    def rounds(self) -> Iterator[AuditedRound]:
        """Audits what is committed, round by round.

        Raises:
            AuditError: the first lie: names the round and what is wrong in it.
            ContentMissingError: content that an audit needs is nowhere to be had.
            ContentAlteredError: content that a store holds is not what its id says.
        """
        history = self.history
        with _lies():
            self.verifier.model(history.initial, "the initial model")
        for number, commit in sorted(history.commits.items()):
            self._record(commit)
            with _lies():
                self._aggregate(commit)
            record = commit.record
            objections = (*self.verifier.objections(commit), *self._excluded(commit.submissions, record.excluded))
            yield AuditedRound(
                number, len(commit.included), record.excluded, record.server, record.next.root, objections
            )
        self._state()

    def reopenings(self) -> Iterator[AuditedReopening]:
        """The attempts that were given up, in order, by what is to be had of them now."""
        for reopening in self.history.reopened:
            objections = [*self._excluded(reopening.submissions, reopening.excluded)]
            usable = sum(self._usable(submission) for submission in reopening.submissions)
            if usable >= self.history.terms.min_updates:
                objections.append(
                    f"{usable} of {len(reopening.submissions)} updates are there and right, and "
                    f"{self.history.terms.min_updates} make a round"
                )
            yield AuditedReopening(
                reopening.round, reopening.attempt, reopening.server, reopening.excluded, tuple(objections)
            )

    def _excluded(self, submissions: Iterable[Submission], excluded: Iterable[str]) -> Iterator[str]:
        """Who was excluded for no reason that can be seen now. Content may have come later than it was needed."""
        left_out = set(excluded)
        for submission in submissions:
            if submission.client in left_out and self._usable(submission):
                yield f"{submission.client} was excluded, though its update is there and right"

    def _usable(self, submission: Submission) -> bool:
        if overweight(self.document, submission.update.weight) is not None:
            return False
        try:
            self.verifier.update(submission, f"the update of {submission.client}")
        except (ContentMissingError, ContentAlteredError):
            return False
        return True

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
        if unknown := strangers(commit):
            raise WrongAggregateError(
                f"round {number}: {', '.join(sorted(unknown))} was excluded without having submitted", commit, 0
            )

    def _aggregate(self, commit: Commit) -> None:
        number = commit.record.round
        self.verifier.model(commit.record.next, f"the model after round {number}")
        wrong = self.verifier.wrong_parameter(self.history, commit)
        if wrong is not None:
            index, theirs, ours = wrong
            raise WrongAggregateError(
                f"round {number}: parameter {index} (chunk {index // self.history.terms.chunk_parameters}) of the "
                f"committed model is {theirs}, but its updates make {ours}",
                commit,
                index // self.history.terms.chunk_parameters,
            )
