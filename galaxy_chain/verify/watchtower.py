"""The watchtower: audits every commit of a job as it comes, and makes a server answer for a wrong or withheld one.

Whatever can be challenged is looked at, oldest first: commits that stand and are not settled, and superseded ones.

- A commit that is wrong is challenged, announced first: in the node that is wrong, where it has a tree of sums.
- A commit that is wrong as far as can be seen (recomputed, a vector has another root) but whose content is withheld: a
  chunk is demanded. The answer shows a path; where a sibling on it is not that of the vector recomputed here, the wrong
  chunk lies beneath, and the next demand goes there. Each goes at least one level down, so that after as many as the
  tree has levels the server has to open a wrong chunk, which the ledger refuses, or to be silent: either loses its
  bond.
- A commit that can't be recomputed, because updates or nodes in it are withheld: a chunk that no content of theirs
  explains is demanded, because it can't be opened. Where all are explained, a random one is demanded, once: whoever
  hides an update has at least to have one, the one that was committed to.
- A right commit of which others demand chunks: in the third quarter of the time for it the watchtower answers for a
  committer that may be gone. What nobody has answered in time it has expire.
- A round that can be settled and was not for a while: it is settled, so that everybody gets what is due.
- A job that its servers have abandoned: it is cancelled, and so comes to its end.

No error ends it, what it spends is bounded, and it goes by the chain's time alone: a clock that is ahead must neither
pass over a commit that can be challenged still, nor take content for withheld that is only young.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from galaxy_chain.coordinators.abandoned import is_abandoned
from galaxy_chain.coordinators.standing_in import StandingIn
from galaxy_chain.exceptions import RpcError
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import Commit, JobHistory, OpenDemand
from galaxy_chain.following.turns import idle_from, settle_from
from galaxy_chain.jobs.acceptance import accept_terms
from galaxy_chain.jobs.check import check_job
from galaxy_chain.jobs.terms import Limits, Role
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.structs import Status
from galaxy_chain.seal.store import contents_of
from galaxy_chain.verify.acting import Acting, UnaffordableError
from galaxy_chain.verify.checks import Checks
from galaxy_chain.verify.faults import Fault, Kind
from galaxy_chain.verify.purse import Purse
from galaxy_chain.verify.reports import Reports
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.content import Store
from galaxy_fl.patience import Backoff

__all__ = ["MAX_SETTLE", "MAX_SPEND", "Finding", "Watchtower"]

MAX_SPEND = 10**18 // 4
"""Wei: deposits and gas, in one job."""
MAX_SETTLE = 10**15
"""Wei: gas to settle one round, or to cancel the job."""
LONGEST_PAUSE = 60.0
"""Seconds between two looks while they fail."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """What the watchtower did or found.

    `verdict` is right, challenged, demanded, answered, expired, refunded, settled, cancelled, unknown, unaffordable or
    failed.
    What has failed is tried again.
    """

    round: int
    verdict: str
    chunk: int | None = None
    reason: str = ""
    node: int = 0
    """Of a round with a tree of sums: where the chunk is; 0 for the next model."""


class Watchtower:
    """Watches one job.

    Args:
        ledger: With the transactions of an account that has some ether.
        store: Where the content is.
        job: The job's number.
        grace: Seconds that a commit's content may take to arrive before it counts as withheld.
        max_spend: Wei for deposits and gas. A deposit that comes back may be spent again, a reward not.
        max_settle: Wei of gas to settle a round for everybody, or to cancel an abandoned job, which earns nothing; 0 to
            leave that to others.
        own: A folder for what it knows of the job and has done; None to forget it at the end.
        limits: What terms it watches under.
        reports: What others report of the job: these nodes are looked at first.

    Raises:
        UnsoundTermsError: the job's terms would cost it money for nothing.
        GalaxyError: the job can't be followed.
    """

    def __init__(
        self,
        ledger: LedgerContract,
        store: Store,
        job: int,
        grace: float = 10.0,
        *,
        max_spend: int = MAX_SPEND,
        max_settle: int = MAX_SETTLE,
        own: Path | None = None,
        limits: Limits = Limits(),
        reports: Reports | None = None,
    ) -> None:
        assert ledger.transactions is not None
        self.ledger = ledger
        self.store = store
        self.job = job
        self.grace = grace
        self.max_settle = max_settle
        self._address = ledger.transactions.signer.address
        name = f"{ledger.address}-{job}-{self._address}"
        self.purse = Purse(max_spend, None if own is None else own / "watch" / f"{name}.json")
        self._follower = JobFollower(ledger, job, None if own is None else own / "events" / f"{name}-watch.sqlite")
        try:
            terms = self.history.terms
            document = check_job(ledger, store, job, terms)
            contents = contents_of(store, document, job, own, lambda: self.history)
            rule, pool = document.rule.name, self.history.pool
            for concern in accept_terms(ledger, f"job {job}", terms, rule, Role.WATCH, limits, pool=pool):
                log.warning("job %d: %s", job, concern.message)
        except BaseException:
            self.close()
            raise
        self.verifier = Verifier(contents, terms, document)
        self.checks = Checks(self.verifier)
        self._reports = Reports(job) if reports is None else reports
        self._acting = Acting(ledger, self.verifier, self._follower, self.purse, "raise --max-spend")
        self._standing_in = StandingIn(terms.answer_seconds)
        self._done: set[bytes] = set()
        """The words of the void records of which no deposit is out any more."""
        self._lacking: dict[bytes, float] = {}
        """Since when content is missing here, by a stopwatch, by the word of the record."""
        self._said: dict[bytes, Finding] = {}
        """What was said last of a commit that is not done with."""
        self._unpaid: set[int] = set()
        """The rounds that are too dear to settle."""
        self._leaves_idle = False
        """Whether it is too dear to cancel the job."""

    def close(self) -> None:
        """Lets go what is known of the job's events."""
        self._follower.close()

    @property
    def history(self) -> JobHistory:
        """What the job's events say so far."""
        return self._follower.history

    @property
    def over(self) -> bool:
        """Whether nothing of the job can be challenged any more, nothing more is to come, and what could be settled is
        settled, or too dear to."""
        history, time = self.history, self._follower.chain_time
        if history.status is Status.RUNNING and not (
            history.finished or (history.cancelled and time >= idle_from(history))
        ):
            return False
        if any(self._in_window(commit) or commit.word in history.demands for commit in history.challengeable()):
            return False
        return self._to_settle() is None

    def watch(self, report: Callable[[Finding], None], trouble: Callable[[str], None], poll: float) -> None:
        """Looks until it is over. No error ends it.

        Args:
            report: Takes each finding.
            trouble: Takes why a look has failed, once where the next fails alike; looks become rarer meanwhile.
            poll: Seconds between two looks.
        """
        backoff, failures, last = Backoff(poll, LONGEST_PAUSE), 0, ""
        while not self.over:
            try:
                for finding in self.look():
                    report(finding)
            except Exception as error:  # whatever it is: bonds and a job's truth depend on the next look
                said = f"{type(error).__name__}: {error}"
                if said != last:
                    trouble(said)
                failures, last = failures + 1, said
            else:
                failures, last = 0, ""
            time.sleep(backoff.after(failures + 1))

    def look(self) -> list[Finding]:
        """Looks at the chain once, and does what is to be done. What fails for one commit does not keep it from others.

        Raises:
            RpcError: the node fails.
            AuditError: the events contradict each other.
        """
        self._follower.poll()
        found: list[Finding] = []
        try:
            for commit in list(self.history.void.values()):
                if commit.word not in self.history.superseded and commit.word not in self._done:
                    found += self._tried(commit, self._refund)
            due = sorted(self.history.challengeable(), key=lambda commit: commit.record.time)
            self._reports.expect({commit.word: len(commit.nodes) for commit in due if self._in_window(commit)})
            for word, node in self._reports.take():
                commit = next(commit for commit in due if commit.word == word)
                news = self._tried(commit, lambda commit, node=node: self._look_into(commit, node))  # type: ignore[misc]
                found += news
                if news:
                    self._follower.poll()
                if any(finding.verdict in ("expired", "challenged") for finding in news):
                    return found
            for commit in due:
                news = self._tried(commit, self._consider)
                found += news
                if any(finding.verdict in ("expired", "challenged") for finding in news):
                    break  # the round is reverted: look again
            else:
                next_one = self._to_settle()
                if next_one is not None and self._follower.chain_time >= self._settles_at(next_one):
                    found += self._tried(next_one, self._settle)
                found += self._cancel()
            if found:
                self._follower.poll()
        except RpcError:
            if not found:  # what was done is reported first; the next look meets the error again
                raise
        return found

    def _tried(self, commit: Commit, consider: Callable[[Commit], list[Finding]]) -> list[Finding]:
        """What comes of it; of what was said of the commit just so at the look before, nothing."""
        number = commit.record.round
        try:
            news = consider(commit)
        except RpcError:
            raise
        except UnaffordableError as error:
            news = [Finding(number, "unaffordable", None, str(error))]
        except Exception as error:  # the next commit may be the one that lies
            news = [Finding(number, "failed", None, f"{type(error).__name__}: {error}")]
        if len(news) == 1 and news[0].verdict in ("unaffordable", "unknown", "failed"):
            # A price is another at each look.
            said = replace(news[0], reason="") if news[0].verdict == "unaffordable" else news[0]
            if self._said.get(commit.word) == said:
                return []
            self._said[commit.word] = said
        return news

    def _refund(self, commit: Commit) -> list[Finding]:
        """Gets back the deposits of demands that have become void, and counts those that have come back."""
        found, record = [], commit.record
        ours = [demand for demand in self.history.open_demands(commit.word) if demand.demander == self._address]
        for due in ours:
            if self._acting.expire(commit, due):
                self.purse.take_back(record, due.node, due.index)
                reason = "the commit was reverted meanwhile"
                found.append(Finding(record.round, "refunded", due.index, reason, due.node))
        for node, index in self.history.expired.get(commit.word, ()):
            self.purse.take_back(record, node, index)
        if not ours:
            self._done.add(commit.word)
        return found

    def _consider(self, commit: Commit) -> list[Finding]:
        record, time = commit.record, self._follower.chain_time
        waiting = self.history.open_demands(commit.word)
        for due in waiting:
            if time >= due.answer_by and self._acting.expire(commit, due):
                return [Finding(record.round, "expired", due.index, "nobody answered", due.node)]
        if not self.purse.is_right(record) and (self._in_window(commit) or waiting):
            news = self._judge(commit)
            if news or not self.purse.is_right(record):
                return news
        return [finding for each in waiting for finding in self._stand_in(commit, each)]

    def _in_window(self, commit: Commit) -> bool:
        # By the newest block's time: the ledger refuses what is late, and trying costs nothing.
        return self._follower.time < commit.record.time + self.history.terms.challenge_seconds

    def _judge(self, commit: Commit) -> list[Finding]:
        """What is found of a commit, and done about it; after its window only that it is right."""
        news = self._bring(commit, self.checks.everything(self.history, commit))
        if news is not None:
            return news
        self.purse.find_right(commit.record)
        return [Finding(commit.record.round, "right")]

    def _look_into(self, commit: Commit, node: int) -> list[Finding]:
        """What is found of a node that somebody has reported: nothing that was not checked here is believed."""
        if self.purse.is_right(commit.record):
            return []
        if not commit.nodes:
            return self._consider(commit)
        tree = self.checks.tree(self.history, commit)
        faults = chain(tree.weights(), tree.node(node) if node else tree.last_step())
        return self._bring(commit, faults) or []

    def _bring(self, commit: Commit, found: Iterable[Fault]) -> list[Finding] | None:
        """What is done about what is wrong in a commit; None where nothing is."""
        act = self._in_window(commit)
        faults: list[Fault] = []
        for fault in found:
            if fault.kind is Kind.PROVED:
                return self._challenge(commit, fault) if act else []
            faults.append(fault)
        if not faults:
            return None
        if not act or self._is_young(commit) or self._waits(commit):
            return []
        wrong = next((fault for fault in faults if fault.kind is not Kind.MISSING), None)
        if wrong is not None:
            return self._demand(commit, wrong)
        # Answers that others have asked for may be those that suit the server.
        answered = {
            node for node, index in self.history.answers.get(commit.word, ())
            if self.purse.wants(commit.record, node, index)
        }  # fmt: skip
        for fault in faults:
            if fault.node not in answered:
                return self._demand(commit, fault)
        reason = f"its server proved a chunk, but not the rest: {faults[0].reason}"
        return [Finding(commit.record.round, "unknown", None, reason)]

    def _waits(self, commit: Commit) -> bool:
        """Whether an answer is waited for. Two demands at a time would cost three deposits, and whoever withholds much
        and reports it all would have this watchtower spend everything at once."""
        return any(
            each.demander == self._address or self.purse.wants(commit.record, each.node, each.index)
            for each in self.history.open_demands(commit.word)
        )

    def _is_young(self, commit: Commit) -> bool:
        """Whether missing content may be on its way still: by the chain's time, which stands still where no blocks are
        made, and else by a stopwatch."""
        since = self._lacking.setdefault(commit.word, time.monotonic())
        return self._follower.time < commit.record.time + self.grace and time.monotonic() < since + self.grace

    def _challenge(self, commit: Commit, fault: Fault) -> list[Finding]:
        if not self._acting.challenge(commit, fault):
            return []
        return [Finding(commit.record.round, "challenged", fault.chunk, fault.reason, fault.node)]

    def _demand(self, commit: Commit, fault: Fault) -> list[Finding]:
        chunk = self._acting.demand(commit, fault.node, fault.chunk, may_be_right=fault.kind is Kind.MISSING)
        return [] if chunk is None else [Finding(commit.record.round, "demanded", chunk, fault.reason, fault.node)]

    def _stand_in(self, commit: Commit, demand: OpenDemand) -> list[Finding]:
        """Answers for the committer of a right commit, if nobody has until now."""
        if not self._standing_in.is_due(commit.word, demand, self._follower.chain_time):
            return []
        if not self._acting.answer(commit, demand):
            return []
        return [Finding(commit.record.round, "answered", demand.index, f"for {commit.record.server}", demand.node)]

    def _to_settle(self) -> Commit | None:
        """The commit that is settled next, if it was found right and this watchtower would pay for it."""
        number = self.history.settled + 1
        if not self.max_settle or number in self._unpaid or settle_from(self.history) is None:
            return None
        commit = self.history.commits[number]
        return commit if self.purse.is_right(commit.record) else None

    def _settles_at(self, commit: Commit) -> int:
        """One turn later than possible, because a server settles its own rounds."""
        begins = settle_from(self.history, commit.record.round)
        assert begins is not None
        return begins + self.history.terms.aggregate_seconds

    def _settle(self, commit: Commit) -> list[Finding]:
        number = commit.record.round
        try:
            done = self._acting.serve_everybody(self.ledger.settle(self.job, commit.record), self.max_settle)
        except UnaffordableError:
            self._unpaid.add(number)
            raise
        return [Finding(number, "settled")] if done else []

    def _cancel(self) -> list[Finding]:
        """Has a job end with its current round, where its servers are gone."""
        turn = self.history.terms.aggregate_seconds
        if not self.max_settle or self._leaves_idle:
            return []
        if not is_abandoned(self.verifier, self.history, self._address, self._follower.chain_time - turn):
            return []
        number = self.history.round
        try:
            done = self._acting.serve_everybody(self.ledger.cancel_job(self.job), self.max_settle)
        except UnaffordableError as error:
            self._leaves_idle = True
            return [Finding(number, "unaffordable", None, str(error))]
        return [Finding(number, "cancelled", None, "nobody brings it to its end")] if done else []
