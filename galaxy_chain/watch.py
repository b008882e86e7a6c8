"""The watchtower: audits every commit of a job as it comes, and makes a server answer for a wrong or withheld one.

- A commit that is wrong is challenged at once.
- A commit that is wrong as far as can be seen (recomputed, it has another root) but whose content is withheld: a chunk
  is demanded. The answer shows a path; where a sibling on it is not that of the model recomputed here, the wrong chunk
  lies beneath, and the next demand goes there. Each goes at least one level down, so that after as many as the tree has
  levels the server has to open a wrong chunk, which the ledger refuses, or to be silent: either loses its bond.
- A commit that can't be recomputed, because an update in it is withheld: a chunk is demanded, once.

No error ends it, what it spends is bounded, and it goes by the chain's time alone: a clock that is ahead must neither
pass over a commit that can be challenged still, nor take content for withheld that is only young.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from galaxy_chain.acceptance import accept_terms
from galaxy_chain.challenge import challenge
from galaxy_chain.exceptions import LedgerRefusedError, RpcError, TransactionFailedError
from galaxy_chain.job_check import check_job
from galaxy_chain.ledger.follower import JobFollower
from galaxy_chain.ledger.history import Commit, JobHistory, record_word
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.structs import Opening, Openings, Record, Status
from galaxy_chain.purse import Purse
from galaxy_chain.store import Store
from galaxy_chain.terms import Limits, Role, ether
from galaxy_chain.verification import Verifier, strangers
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError
from galaxy_fl.vectors import ChunkTree

__all__ = ["MAX_SPEND", "Finding", "Watchtower"]

MAX_SPEND = 10**18 // 4
"""Wei: deposits and gas, in one job."""
LONGEST_PAUSE = 60.0
"""Seconds between two looks while they fail."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """What the watchtower did or found.

    `verdict` is right, objection, challenged, demanded, expired, refunded, unknown, unaffordable or failed. The ledger
    punishes no objection; what has failed is tried again.
    """

    round: int
    verdict: str
    chunk: int | None = None
    reason: str = ""


class _UnaffordableError(Exception):
    """A transaction would cost more than may be spent still."""


class Watchtower:
    """Watches one job.

    Args:
        ledger: With the transactions of an account that has some ether.
        store: Where the content is.
        job: The job's number.
        grace: Seconds that a commit's content may take to arrive before it counts as withheld.
        max_spend: Wei for deposits and gas. A deposit that comes back may be spent again, a reward not.
        own: A folder for what it knows of the job and has done; None to forget it at the end.
        limits: What terms it watches under.

    Raises:
        UnsoundTermsError: the job's terms would cost it money for nothing.
        GalaxyError: the job can't be followed.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        job: int,
        grace: float = 10.0,
        *,
        max_spend: int = MAX_SPEND,
        own: Path | None = None,
        limits: Limits = Limits(),
    ) -> None:
        assert ledger.transactions is not None
        self.ledger = ledger
        self.store = store
        self.job = job
        self.grace = grace
        self._address = ledger.transactions.signer.address
        name = f"{ledger.address}-{job}-{self._address}"
        self.purse = Purse(max_spend, None if own is None else own / "watch" / f"{name}.json")
        self._follower = JobFollower(ledger, job, None if own is None else own / "events" / f"{name}-watch.sqlite")
        try:
            terms = self.history.terms
            document = check_job(ledger, store, job, terms)
            for concern in accept_terms(ledger, f"job {job}", terms, document.rule.name, Role.WATCH, limits):
                log.warning("job %d: %s", job, concern.message)
        except BaseException:
            self.close()
            raise
        self.verifier = Verifier(store, terms, document)
        self._settled: set[Record] = set()
        self._lacking: dict[Record, float] = {}
        """Since when content is missing here, by a stopwatch."""
        self._said: dict[Record, Finding] = {}
        """What was said last of a commit that is not settled."""

    def close(self) -> None:
        """Lets go what is known of the job's events."""
        self._follower.close()

    @property
    def history(self) -> JobHistory:
        """What the job's events say so far."""
        return self._follower.history

    @property
    def over(self) -> bool:
        """Whether nothing of the job can be challenged any more, and nothing more is to come."""
        history = self.history
        ended = history.finished or history.status is not Status.RUNNING
        open = [commit for commit in history.commits.values() if not self._is_settled(commit.record)]
        last = max((commit.record.time for commit in history.commits.values()), default=0)
        return ended and not open and self._follower.chain_time >= last + history.terms.challenge_seconds

    def watch(self, report: Callable[[Finding], None], trouble: Callable[[str], None], poll: float) -> None:
        """Looks until it is over. No error ends it.

        Args:
            report: Takes each finding.
            trouble: Takes why a look has failed, once where the next fails alike; looks become rarer meanwhile.
            poll: Seconds between two looks.
        """
        pause, last = poll, ""
        while not self.over:
            try:
                for finding in self.look():
                    report(finding)
            except Exception as error:  # whatever it is: bonds and a job's truth depend on the next look
                said = f"{type(error).__name__}: {error}"
                if said != last:
                    trouble(said)
                pause, last = min(LONGEST_PAUSE, 2 * pause), said
            else:
                pause, last = poll, ""
            time.sleep(pause)

    def look(self) -> list[Finding]:
        """Looks at the chain once, and does what is to be done. What fails for one commit does not keep it from others.

        Raises:
            RpcError: the node fails.
            AuditError: the events contradict each other.
        """
        self._follower.poll()
        found: list[Finding] = []
        try:
            for commit in [c for c in self.history.reverted if c.record not in self._settled]:
                found += self._tried(commit, self._refund)
            for _, commit in sorted(self.history.commits.items()):
                if self._is_settled(commit.record):
                    continue
                news = self._tried(commit, self._consider)
                found += news
                if any(finding.verdict in ("expired", "challenged") for finding in news):
                    break  # the round is reverted: look again
            if found:
                self._follower.poll()
        except RpcError:
            if not found:  # what was done is reported first; the next look meets the error again
                raise
        return found

    def _is_settled(self, record: Record) -> bool:
        return record in self._settled or self.purse.is_right(record)

    def _tried(self, commit: Commit, consider: Callable[[Commit], list[Finding]]) -> list[Finding]:
        """What comes of it; of what was said of the commit just so at the look before, nothing."""
        number = commit.record.round
        try:
            news = consider(commit)
        except RpcError:
            raise
        except _UnaffordableError as error:
            news = [Finding(number, "unaffordable", None, str(error))]
        except Exception as error:  # the next commit may be the one that lies
            news = [Finding(number, "failed", None, f"{type(error).__name__}: {error}")]
        if len(news) == 1 and news[0].verdict in ("unaffordable", "unknown", "failed"):
            # A price is another at each look.
            said = replace(news[0], reason="") if news[0].verdict == "unaffordable" else news[0]
            if self._said.get(commit.record) == said:
                return []
            self._said[commit.record] = said
        return news

    def _refund(self, commit: Commit) -> list[Finding]:
        """Gets back the deposits of demands that have become void, and counts those that have come back."""
        found, record = [], commit.record
        ours = [demand.index for demand in self.history.open_demands(record) if demand.demander == self._address]
        for index in ours:
            if self._transact("expire", record, index):
                self.purse.take_back(record, index)
                found.append(Finding(record.round, "refunded", index, "the commit was reverted meanwhile"))
        for index in self.history.expired.get(record, ()):
            self.purse.take_back(record, index)
        if not ours:
            self._settled.add(record)
        return found

    def _consider(self, commit: Commit) -> list[Finding]:
        record = commit.record
        waiting = self.history.open_demands(record)
        # The next block's time is this clock's at the earliest, and the ledger judges: trying costs nothing.
        for demand in waiting:
            if self._follower.next_time >= demand.answer_by and self._transact("expire", record, demand.index):
                return [Finding(record.round, "expired", demand.index, "the server did not answer")]
        if any(demand.demander == self._address or self.purse.wants(record, demand.index) for demand in waiting):
            return []
        if self._follower.time >= record.time + self.history.terms.challenge_seconds:
            self._settled.add(record)
            return []
        return self._judge(record.round, commit)

    def _judge(self, number: int, commit: Commit) -> list[Finding]:
        try:
            if strangers(commit):
                return self._challenge(number, commit, 0, "it excludes somebody who had not submitted")
            with self.verifier.recomputed(self.history, commit) as ours:
                return self._compare(number, commit, ours)
        except (ContentMissingError, ContentAlteredError) as error:
            if self._is_young(commit.record):
                return []
            # Answers that others have asked for may be those that suit the server.
            if any(self.purse.wants(commit.record, chunk) for chunk in self.history.answers.get(number, {})):
                return [Finding(number, "unknown", None, f"its server proved a chunk, but not the rest: {error}")]
            return self._demand(number, commit, random.SystemRandom().randrange(self.verifier.chunks()), str(error))

    def _is_young(self, record: Record) -> bool:
        """Whether missing content may be on its way still: by the chain's time, which stands still where no blocks are
        made, and else by a stopwatch."""
        since = self._lacking.setdefault(record, time.monotonic())
        return self._follower.time < record.time + self.grace and time.monotonic() < since + self.grace

    def _compare(self, number: int, commit: Commit, ours: Path) -> list[Finding]:
        tree = ChunkTree(self.verifier.read(ours), self.history.terms.chunk_parameters)
        if tree.root == commit.record.next.root:
            self.verifier.model_after(self.history, number)  # puts it where it is missing
            self.purse.find_right(commit.record)
            objections = [Finding(number, "objection", None, each) for each in self.verifier.objections(commit)]
            return [Finding(number, "right"), *objections]
        try:
            theirs = self.verifier.model(commit.record.next, f"the model after round {number}")
        except (ContentMissingError, ContentAlteredError) as error:
            if self._is_young(commit.record):
                return []
            return self._demand(number, commit, self._next_chunk(number, tree), f"it is wrong and withheld: {error}")
        index = self.verifier.first_difference(ours, theirs)
        assert index is not None, "two roots of one vector"
        chunk = index // self.history.terms.chunk_parameters
        return self._challenge(number, commit, chunk, f"parameter {index} is wrong")

    def _challenge(self, number: int, commit: Commit, chunk: int, reason: str) -> list[Finding]:
        bound = 0

        def afford(openings: Openings) -> None:
            nonlocal bound
            bound = self._afford("challenge", commit.record, chunk, openings)

        done = challenge(self.ledger, self.verifier, self.job, self.history, commit, chunk, afford)
        self.purse.pay(bound if done is None else done.fee)
        return [] if done is None else [Finding(number, "challenged", chunk, reason)]

    def _next_chunk(self, number: int, tree: ChunkTree) -> int:
        """Where to look next, after what has been opened of the withheld model."""
        best, level_of_best = 0, tree.depth + 1
        for chunk, opening in self.history.answers.get(number, {}).items():
            level = _lowest_difference(opening, tree, chunk)
            if level is not None and level < level_of_best:
                # The first chunk below the sibling: a node of that level has 2**level leaves.
                best, level_of_best = ((chunk >> level) ^ 1) << level, level
        return min(best, self.verifier.chunks() - 1)  # what is wrong in the padding shows in the last chunk

    def _demand(self, number: int, commit: Commit, chunk: int, reason: str) -> list[Finding]:
        # Each that waits for the server makes the next one dearer.
        deposits = 1 + self.ledger.account(self.job, commit.record.server).demands
        value = deposits * self.history.terms.demand_deposit
        done = self._transact("demand", commit.record, chunk, value)
        return [Finding(number, "demanded", chunk, reason)] if done else []

    def _transact(self, name: str, record: Record, chunk: int, value: int = 0) -> bool:
        """Whether it is done: somebody else may be faster, and the chain's clock behind this one's or ahead."""
        try:
            bound = self._afford(name, record, chunk, value=value)
        except LedgerRefusedError as error:
            if error.name == "AlreadyDemanded":
                self.purse.want(record, chunk)
            if error.name in PASSED:
                return False
            raise
        if name == "demand":
            self.purse.deposit(record, chunk, value)
        try:
            once = f"{self.job} {record_word(record).hex()} {chunk}"
            receipt = self.ledger.transact(name, self.job, record, chunk, value=value, once=once)
        except (LedgerRefusedError, TransactionFailedError) as error:
            # A demand and its answer in one block before this one change the price, and leave no other trace.
            if name == "demand":
                self.purse.take_back(record, chunk)
            if isinstance(error, TransactionFailedError):
                self.purse.pay(bound)
            elif error.name not in PASSED:
                raise
            return False
        self.purse.pay(receipt.fee)
        return True

    def _afford(self, name: str, *arguments: object, value: int = 0) -> int:
        """The most that a transaction's gas may cost, in wei, once that and its value may be spent.

        Raises:
            _UnaffordableError: they may not.
            LedgerRefusedError: the contract refuses.
        """
        gas = self.ledger.most(name, self.job, *arguments, value=value)
        if gas + value > self.purse.left:
            parts = f"{ether(value)} and gas for up to {ether(gas)}" if value else f"gas for up to {ether(gas)}"
            raise _UnaffordableError(
                f"to {name} here takes {parts}, but of {ether(self.purse.most)} only {ether(self.purse.left)} may be "
                "spent still: raise --max-spend"
            )
        return gas


PASSED = ("UnknownRecord", "AlreadyDemanded", "NotDemanded", "WrongValue", "WindowOpen", "WindowOver")
"""What the ledger refuses because somebody else was faster, or the time has not come, or is past."""


def _lowest_difference(opening: Opening, tree: ChunkTree, chunk: int) -> int | None:
    """The lowest level on which an opening's sibling is not that of the tree."""
    ours = tree.opening(chunk).path
    return next((level for level, node in enumerate(opening.path) if node != ours[level]), None)
