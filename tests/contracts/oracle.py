"""What the game of protocol 2 allows and pays, worked out from its text and not from the contract.

`Oracle` follows one `Job` by what was sent: for every call it says whether it is due at a time, and what it does to the
job's times and to everybody's money.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from tests.contracts.ledger import NEVER, NOBODY, Commit, Job, Upload, aggregate, finished

__all__ = ["Demand", "Oracle", "is_wrong"]

ANNOUNCED_SECONDS = 3600


@dataclass(frozen=True)
class Demand:
    """An open demand for a chunk of a commit."""

    commit: Commit
    node: int
    index: int
    demander: str
    price: int
    answer_by: int
    announced: bool


def is_wrong(job: Job, commit: Commit, index: int, node: int) -> bool:
    """Whether a chunk of a node is not what its children make of it; of node 0: of the next model."""
    rule, word, nodes = job.rule.name, job.terms["ruleParameters"], commit.nodes
    size = job.terms["chunkParameters"] * (job.lanes if node == 0 else 1)
    chunk = slice(index * size, (index + 1) * size)
    if node == 0:
        if nodes is None:
            right = aggregate(rule, word, commit.attempt, commit.excluded)
        else:
            right = finished(commit.attempt.model, nodes, rule, word)
        return bool((right[chunk] != commit.next[chunk]).any())
    assert nodes is not None
    subject = nodes[node]
    sums = [0] * len(subject.vector[chunk])
    if subject.level == 1:
        uploads = [commit.attempt.uploads[n] for n in subject.children if n not in commit.excluded]
        if sum(upload.weight for upload in uploads) != subject.weight:
            return True
        for upload in uploads:
            sums = [s + upload.weight * int(value) for s, value in zip(sums, upload.vector[chunk], strict=True)]
    else:
        for number in subject.children:
            child = nodes[number]
            values = [int(value) for value in child.vector[chunk]]
            if any(not -child.weight * 2**31 <= value <= child.weight * (2**31 - 1) for value in values):
                return True
            sums = [s + value for s, value in zip(sums, values, strict=True)]
    return sums != [int(value) for value in subject.vector[chunk]]


class Oracle:
    """The state of a job that its driver does not keep: times, bonds, balances, demands, settlement.

    Attributes:
        credited: what has gone from the pool to balances.
        superseded: commits that were superseded and not proved wrong since.
        late: the round of an account's latest superseded record.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.terms = job.terms
        self.settled = 0
        self.settled_commits: dict[int, Commit] = {}
        self.last_round: int = job.terms["rounds"]
        self.cancelled = self.final = self.built = self.after_rollback = False
        self.reopenings = self.reopenings_before = self.highest = 0
        self.closes_at: int = NEVER
        self.active_at: int = job.registered.time
        self.bond: defaultdict[str, int] = defaultdict(int)
        self.balance: defaultdict[str, int] = defaultdict(int)
        self.locked: defaultdict[str, int] = defaultdict(int)
        self.barred: set[str] = set()
        self.late: dict[str, int] = {}
        self.demands: dict[tuple[bytes, int, int], Demand] = {}
        self.superseded: set[Commit] = set()
        self.announced: dict[tuple[str, bytes], int] = {}
        self.claimed: set[tuple[int, int]] = set()
        self.credited = 0

    # ------------------------------------------------------------------------------------------------ what is so

    @property
    def running(self) -> bool:
        return not self.final and self.job.round <= self.last_round

    @property
    def full(self) -> bool:
        """Whether commits are refused because too many are unsettled."""
        return self.job.round - 1 - self.settled >= int(self.terms["maxUnsettled"])

    @property
    def newest(self) -> Commit | None:
        return self.job.commits.get(self.job.round - 1)

    @property
    def all_from(self) -> int:
        return self.closes_at + 2 * int(self.terms["aggregateSeconds"])

    @property
    def reopens_at(self) -> int:
        return self.closes_at + 4 * int(self.terms["aggregateSeconds"])

    @property
    def idle_at(self) -> int:
        since = self.active_at if self.closes_at == NEVER else max(self.active_at, self.closes_at)
        return since + 2 * int(self.terms["idleSeconds"])

    @property
    def owed(self) -> int:
        """What the ledger has to have, in wei."""
        deposits = sum(demand.price for demand in self.demands.values())
        return self.job.pool - self.credited + sum(self.bond.values()) + sum(self.balance.values()) + deposits

    def stands(self, commit: Commit) -> bool:
        return self.job.commits.get(commit.round) is commit

    def answerable(self, commit: Commit) -> bool:
        return commit in self.superseded or (self.stands(commit) and commit.round > self.settled)

    def in_window(self, commit: Commit, time: int) -> bool:
        return time < self.job.window_end(commit)

    def bonded(self, who: str) -> bool:
        return who not in self.barred and self.bond[who] >= self.terms["bond"]

    def open_on(self, server: str) -> int:
        return sum(demand.commit.server == server for demand in self.demands.values())

    def counts(self, who: str, digest: bytes, time: int) -> bool:
        announced = self.announced.get((who, digest))
        return announced is not None and announced < time <= announced + ANNOUNCED_SECONDS

    def wrong(self, commit: Commit, index: int, node: int = 0) -> bool:
        """Whether a chunk of a node is not what its children make of it; of node 0: of the next model."""
        return is_wrong(self.job, commit, index, node)

    def turn(self, who: str) -> int:
        """When an account may commit to an attempt that is closed."""
        a = int(self.terms["aggregateSeconds"])
        if who in self.late:
            # After those that are not late, and not to what a superseding has closed again.
            return NEVER if self.after_rollback else self.all_from + a
        named = self.terms["server"]
        if named in (NOBODY, who) or self.after_rollback or named in self.barred or named in self.late:
            return self.closes_at
        return self.closes_at + a

    # ------------------------------------------------------------------------------------------------ what is due

    def may_submit(self, upload: Upload, time: int) -> bool:
        return (
            self.running and time < self.closes_at and all(u.client != upload.client for u in self.job.attempt.uploads)
        )

    def may_commit(self, who: str, excluded: Collection[int], time: int) -> bool:
        if not (self.running and not self.full and self.bonded(who) and time >= max(self.closes_at, self.turn(who))):
            return False
        left = len(self.job.attempt.uploads) - len(excluded)
        return left >= self.terms["minUpdates"] and (
            len(excluded) <= self.terms["maxExcluded"] or time >= self.all_from
        )

    def may_reopen(self, who: str, time: int) -> bool:
        return self.running and not self.full and self.bonded(who) and time >= self.reopens_at

    def may_supersede(self, who: str, commit: Commit, time: int) -> bool:
        idle = int(self.terms["idleSeconds"])
        unsettled_newest = commit is self.newest and self.settled < commit.round < self.last_round
        waited = commit.time + idle <= time < commit.time + 2 * idle
        return unsettled_newest and waited and not self.built and self.bonded(who) and who != commit.server

    def may_settle(self, commit: Commit, time: int) -> bool:
        if not self.stands(commit) or commit.round != self.settled + 1 or self.in_window(commit, time):
            return False
        if any(demand.commit is commit for demand in self.demands.values()):
            return False
        built = self.built or time >= commit.time + 2 * int(self.terms["idleSeconds"])
        return commit is not self.newest or commit.round == self.last_round or built

    def may_challenge(self, who: str, commit: Commit, node: int, index: int, salt: bytes, time: int) -> bool:
        announced = self.counts(who, commit.finding(who, index, salt, node), time)
        due = self.answerable(commit) and self.in_window(commit, time) and announced
        return due and self.wrong(commit, index, node)

    def may_demand(self, commit: Commit, node: int, index: int, time: int) -> bool:
        fresh = (commit.word, node, index) not in self.demands
        return self.answerable(commit) and self.in_window(commit, time) and fresh

    def may_answer(self, demand: Demand, time: int) -> bool:
        right = not self.wrong(demand.commit, demand.index, demand.node)
        return self.answerable(demand.commit) and time < demand.answer_by and right

    def may_expire(self, demand: Demand, time: int) -> bool:
        return not self.answerable(demand.commit) or time >= demand.answer_by

    def may_cancel(self, who: str, time: int) -> bool:
        idle = time >= self.idle_at and not self.full
        return not self.final and not self.cancelled and (who == self.job.owner or idle)

    def may_finalize(self, time: int) -> bool:
        if self.final:
            return False
        gone = self.cancelled and self.settled == self.job.round - 1 and time >= self.idle_at
        return self.settled == self.last_round or gone

    def may_withdraw_bond(self, who: str, time: int) -> bool:
        late = who in self.late and not self.final
        return self.bond[who] > 0 and self.open_on(who) == 0 and time >= self.locked[who] and not late

    def claimable(self, commit: Commit, numbers: Collection[int]) -> list[int]:
        if self.settled_commits.get(commit.round) is not commit or commit.client_amount == 0:
            return []
        return [n for n in sorted(numbers) if n not in commit.excluded and (commit.round, n) not in self.claimed]

    # --------------------------------------------------------------------------------- what a call does; after it

    def submitted(self, before: int, time: int) -> None:
        """After a call with which the entries have become more than `before`."""
        updates = len(self.job.attempt.uploads)
        if before < self.terms["minUpdates"] <= updates:
            seconds = self.terms["collectSeconds"]
            if self.reopenings:
                seconds = max(seconds, self.terms["aggregateSeconds"]) * 2 ** min(self.reopenings, 10)
            self.closes_at = time + seconds
            self.built = True
        if updates == self.terms["maxUpdates"]:
            self.closes_at = time

    def committed(self, commit: Commit) -> None:
        self.locked[commit.server] = self.job.window_end(commit)
        self.highest = max(self.highest, commit.round)
        self.active_at = commit.time
        self.reopenings_before, self.reopenings = self.reopenings, 0
        self.built = self.after_rollback = False
        self.closes_at = NEVER

    def reopened(self, who: str, time: int) -> None:
        self.locked[who] = time + self.terms["challengeSeconds"]
        self.reopenings = min(self.reopenings + 1, 10)
        self.after_rollback = False
        self.closes_at = NEVER

    def rolled_back(self, time: int) -> None:
        self.closes_at = self.active_at = time
        self.built = self.after_rollback = True
        self.reopenings = 0

    def was_superseded(self, who: str, commit: Commit, time: int) -> None:
        before = self.reopenings_before
        self.rolled_back(time)
        self.reopenings = before
        self.locked[who] = time + self.terms["challengeSeconds"]
        self.superseded.add(commit)
        self.late[commit.server] = commit.round

    def was_settled(self, commit: Commit, time: int) -> None:
        if self.full and self.closes_at < time:
            self.closes_at = time
        self.settled = commit.round
        self.settled_commits[commit.round] = commit
        self.active_at = time
        self._credit(commit.server, commit.server_amount)
        if self.late.get(commit.server, NEVER) <= commit.round:
            del self.late[commit.server]

    def was_claimed(self, commit: Commit, numbers: Collection[int]) -> None:
        for number in numbers:
            self.claimed.add((commit.round, number))
            self._credit(commit.attempt.uploads[number].client, commit.client_amount)

    def was_demanded(self, commit: Commit, node: int, index: int, who: str, salt: bytes, value: int, time: int) -> None:
        price = self.terms["demandDeposit"] * (self.open_on(commit.server) + 1)
        announced = any(salt) and self.counts(who, commit.finding(who, index, salt, node), time)
        answer_by = time + self.terms["answerSeconds"]
        self.demands[commit.word, node, index] = Demand(commit, node, index, who, price, answer_by, announced)
        self.balance[who] += value - price

    def was_answered(self, demand: Demand, who: str, time: int) -> None:
        del self.demands[demand.commit.word, demand.node, demand.index]
        soon = time < demand.answer_by - self.terms["answerSeconds"] // 2
        self.balance[demand.commit.server if soon else who] += demand.price

    def was_expired(self, demand: Demand, time: int) -> bool:
        """Says whether the round was rolled back."""
        del self.demands[demand.commit.word, demand.node, demand.index]
        self.balance[demand.demander] += demand.price
        if not self.answerable(demand.commit):
            return False
        return self.was_refuted(demand.commit, demand.demander, demand.announced, time)

    def was_refuted(self, commit: Commit, finder: str, rewarded: bool, time: int) -> bool:
        """Says whether the round was rolled back; to be called before the driver is."""
        if rewarded:
            self.balance[finder] += self.bond[commit.server] // 4
        self.bond[commit.server] = 0
        self.barred.add(commit.server)
        if commit in self.superseded:
            self.superseded.discard(commit)
            return False
        self.rolled_back(time)
        return True

    def was_cancelled(self, time: int) -> None:
        self.last_round = min(self.last_round, max(self.job.round, self.highest))
        self.cancelled = True
        self.active_at = time

    def was_finalized(self) -> None:
        self.final = True
        self._credit(self.job.owner, self.job.pool - self.job.allotted)

    def _credit(self, who: str, amount: int) -> None:
        self.balance[who] += amount
        self.credited += amount
