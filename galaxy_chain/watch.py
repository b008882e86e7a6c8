"""The watchtower: audits every commit of a job as it comes, and makes a server answer for a wrong or withheld one.

- A commit that is wrong is challenged at once.
- A commit that is wrong as far as can be seen (recomputed, it has another root) but whose content is withheld: a chunk
  is demanded. The answer shows a path; where a sibling on it is not that of the model recomputed here, the wrong chunk
  lies beneath, and the next demand goes there. Each goes at least one level down, so that after as many as the tree has
  levels the server has to open a wrong chunk, which the ledger refuses, or to be silent: either loses its bond.
- A commit that can't be recomputed, because an update in it is withheld: a chunk is demanded, once.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from galaxy_chain.challenge import challenge
from galaxy_chain.exceptions import LedgerRefusedError
from galaxy_chain.job_check import check_job
from galaxy_chain.ledger.follower import JobFollower
from galaxy_chain.ledger.history import Commit, JobHistory
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.structs import Opening, Record, Status
from galaxy_chain.store import Store
from galaxy_chain.verification import Verifier, strangers
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError
from galaxy_fl.vectors import ChunkTree

__all__ = ["Finding", "Watchtower"]


@dataclass(frozen=True)
class Finding:
    """What the watchtower did or found: `verdict` is right, challenged, demanded, expired, refunded or unknown."""

    round: int
    verdict: str
    chunk: int | None = None
    reason: str = ""


@dataclass
class Watchtower:
    """Watches one job.

    Args:
        ledger: With the transactions of an account that has some ether.
        store: Where the content is.
        job: The job's number.
        grace: Seconds that a commit's content may take to arrive before it counts as withheld.

    Raises:
        GalaxyError: the job can't be followed.
    """

    ledger: Ledger
    store: Store
    job: int
    grace: float = 10.0
    verifier: Verifier = field(init=False)

    def __post_init__(self) -> None:
        self._follower = JobFollower(self.ledger, self.job)
        document = check_job(self.ledger, self.store, self.job, self.history.terms)
        self.verifier = Verifier(self.store, self.history.terms, document)
        self._settled: set[Record] = set()
        self._wanted: set[tuple[Record, int]] = set()
        """The chunks that this watchtower has demanded, or found demanded by another."""

    @property
    def history(self) -> JobHistory:
        """What the job's events say so far."""
        return self._follower.history

    @property
    def _address(self) -> str:
        assert self.ledger.transactions is not None
        return self.ledger.transactions.signer.address

    @property
    def over(self) -> bool:
        """Whether nothing of the job can be challenged any more, and nothing more is to come."""
        history = self.history
        ended = history.finished or history.status is not Status.RUNNING
        unsettled = [commit for commit in history.commits.values() if commit.record not in self._settled]
        last = max((commit.record.time for commit in history.commits.values()), default=0)
        window = last + history.terms.challenge_seconds
        return ended and not unsettled and self._follower.next_time >= window

    def look(self) -> list[Finding]:
        """Looks at the chain once, and does what is to be done.

        Raises:
            GalaxyError: the node fails, or a transaction can't be paid for.
        """
        self._follower.poll()
        now = self._follower.next_time
        found = []
        for commit in [c for c in self.history.reverted if c.record not in self._settled]:
            for demand in self.history.open_demands(commit.record):
                if demand.demander == self._address and self._transact("expire", commit.record, demand.index):
                    reason = "the commit was reverted meanwhile"
                    found.append(Finding(commit.record.round, "refunded", demand.index, reason))
            self._settled.add(commit.record)
        for number, commit in sorted(self.history.commits.items()):
            if commit.record in self._settled:
                continue
            waiting = self.history.open_demands(commit.record)
            overdue = [demand for demand in waiting if now >= demand.answer_by]
            if overdue:
                if self._transact("expire", commit.record, overdue[0].index):
                    found.append(Finding(number, "expired", overdue[0].index, "the server did not answer"))
                break  # the round is reverted: look again
            if any(d.demander == self._address or (commit.record, d.index) in self._wanted for d in waiting):
                continue
            if now >= commit.record.time + self.history.terms.challenge_seconds:
                self._settled.add(commit.record)
                continue
            finding = self._judge(number, commit, now)
            if finding is not None:
                found.append(finding)
                if finding.verdict == "challenged":
                    break
        if found:
            self._follower.poll()
        return found

    def _judge(self, number: int, commit: Commit, now: int) -> Finding | None:
        try:
            if strangers(commit):
                return self._challenge(number, commit, 0, "it excludes somebody who had not submitted")
            with self.verifier.recomputed(self.history, commit) as ours:
                return self._compare(number, commit, ours, now)
        except (ContentMissingError, ContentAlteredError) as error:
            if now < commit.record.time + self.grace:
                return None
            # Answers that others have asked for may be those that suit the server.
            if any((commit.record, chunk) in self._wanted for chunk in self.history.answers.get(number, {})):
                self._settled.add(commit.record)
                return Finding(number, "unknown", None, f"its server proved a chunk, but not the rest: {error}")
            return self._demand(number, commit, random.SystemRandom().randrange(self.verifier.chunks()), str(error))

    def _compare(self, number: int, commit: Commit, ours: Path, now: int) -> Finding | None:
        tree = ChunkTree(self.verifier.read(ours), self.history.terms.chunk_parameters)
        if tree.root == commit.record.next.root:
            self.verifier.model_after(self.history, number)  # puts it where it is missing
            self._settled.add(commit.record)
            return Finding(number, "right")
        try:
            theirs = self.verifier.model(commit.record.next, f"the model after round {number}")
        except (ContentMissingError, ContentAlteredError) as error:
            if now < commit.record.time + self.grace:
                return None
            return self._demand(number, commit, self._next_chunk(number, tree), f"it is wrong and withheld: {error}")
        index = self.verifier.first_difference(ours, theirs)
        assert index is not None, "two roots of one vector"
        chunk = index // self.history.terms.chunk_parameters
        return self._challenge(number, commit, chunk, f"parameter {index} is wrong")

    def _challenge(self, number: int, commit: Commit, chunk: int, reason: str) -> Finding | None:
        done = challenge(self.ledger, self.verifier, self.job, self.history, commit, chunk)
        return None if done is None else Finding(number, "challenged", chunk, reason)

    def _next_chunk(self, number: int, tree: ChunkTree) -> int:
        """Where to look next, after what has been opened of the withheld model."""
        best, level_of_best = 0, tree.depth + 1
        for chunk, opening in self.history.answers.get(number, {}).items():
            level = _lowest_difference(opening, tree, chunk)
            if level is not None and level < level_of_best:
                # The first chunk below the sibling: a node of that level has 2**level leaves.
                best, level_of_best = ((chunk >> level) ^ 1) << level, level
        return min(best, self.verifier.chunks() - 1)  # what is wrong in the padding shows in the last chunk

    def _demand(self, number: int, commit: Commit, chunk: int, reason: str) -> Finding | None:
        self._wanted.add((commit.record, chunk))
        # Each that waits for the server makes the next one dearer.
        deposits = 1 + self.ledger.account(self.job, commit.record.server).demands
        value = deposits * self.history.terms.demand_deposit
        return (
            Finding(number, "demanded", chunk, reason)
            if self._transact("demand", commit.record, chunk, value)
            else None
        )

    def _transact(self, name: str, record: Record, chunk: int, value: int = 0) -> bool:
        """Whether it is done: somebody else may be faster, and the chain's clock behind this one's or ahead."""
        try:
            self.ledger.transact(name, self.job, record, chunk, value=value)
        except LedgerRefusedError as error:
            if error.name not in (
                "UnknownRecord", "AlreadyDemanded", "NotDemanded", "WrongValue", "WindowOpen", "WindowOver",
            ):  # fmt: skip
                raise
            return False
        return True


def _lowest_difference(opening: Opening, tree: ChunkTree, chunk: int) -> int | None:
    """The lowest level on which an opening's sibling is not that of the tree."""
    ours = tree.opening(chunk).path
    return next((level for level, node in enumerate(opening.path) if node != ours[level]), None)
