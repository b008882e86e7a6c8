"""What holds after any sequence of calls, by honest and by dishonest hands.

GALAXY_INVARIANT_RUNS is the number of sequences: raise it to search longer than every test run does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from galaxy_fl.aggregation import RULES
from tests.contracts.ledger import (
    NEVER,
    NOBODY,
    SALT,
    ZERO,
    Chain,
    Commit,
    Job,
    Receipt,
    Reverted,
    challenge_arguments,
)
from tests.contracts.oracle import is_wrong
from tests.contracts.sums import ALTERATIONS

RUNS = int(os.environ.get("GALAXY_INVARIANT_RUNS", "16"))
STEPS = 30
BOND, DEPOSIT = 1001, 7
RUNNING, FINAL = 1, 2

SERVERS = st.integers(1, 3)
CLIENTS = st.integers(4, 7)
ANYBODY = st.integers(0, 7)
CHUNKS = st.integers(0, 2)
NODES = st.integers(0, 3)
"""Three entries have as many, and the step to the next model."""
LIES = st.none() | st.tuples(st.integers(1, 3), st.sampled_from(sorted(ALTERATIONS)))
SALTS = st.sampled_from([ZERO, SALT])


@cache
def _chain() -> Chain:
    return Chain(accounts=8)


@dataclass(frozen=True)
class Demand:
    """One that is open."""

    commit: Commit
    node: int
    index: int
    price: int
    demander: str
    answer_by: int
    announced: bool


class Ledger(RuleBasedStateMachine):
    """One job, in which everybody does anything; what the ledger refuses changes nothing, which is checked as well.

    Money is mirrored from events, models, heads, records and what they allot from what was sent.
    """

    @initialize(
        rule_name=st.sampled_from([*sorted(RULES), "weighted_mean", "weighted_mean"]),
        fan_in=st.sampled_from([2, 2, 16]),
        rounds=st.integers(2, 4),
        min_updates=st.integers(1, 2),
        max_excluded=st.integers(0, 2),
        max_unsettled=st.integers(1, 4),
        share=st.sampled_from([0, 2000, 5000]),
        named=st.booleans(),
        pool=st.integers(0, 1000),
    )
    def register(
        self,
        rule_name: str,
        fan_in: int,
        rounds: int,
        min_updates: int,
        max_excluded: int,
        max_unsettled: int,
        share: int,
        named: bool,
        pool: int,
    ) -> None:
        self.chain = _chain()
        self.snapshot = self.chain.tester.take_snapshot()
        self.accounts = self.chain.accounts
        self.job = Job(
            self.chain,
            None,
            rule_name,
            pool,
            rounds=rounds,
            fanIn=fan_in,
            minUpdates=min_updates,
            maxExcluded=max_excluded,
            maxUnsettled=max_unsettled,
            serverShare=share,
            server=self.accounts[1] if named else NOBODY,
            bond=BOND,
            demandDeposit=DEPOSIT,
        )
        self.pool = 0
        self.bonds = dict.fromkeys(self.accounts, 0)
        self.balances = dict.fromkeys(self.accounts, 0)
        self.demands: dict[tuple[bytes, int, int], Demand] = {}
        self.claimed: dict[int, set[int]] = {}
        self.superseded: list[Commit] = []
        self.barred: set[str] = set()
        self.made: list[Commit] = []
        self.settled, self.last_round, self.status = 0, rounds, RUNNING
        self._account_for(self.job.registered)
        for client in self.accounts[4:7]:
            self.job.join(client)
        self._account_for(self.job.bond(self.accounts[1]))

    def teardown(self) -> None:
        if hasattr(self, "snapshot"):
            self.chain.tester.revert_to_snapshot(self.snapshot)

    # ----------------------------------------------------------------------------------------------------- calls

    @rule(
        who=SERVERS,
        wrong=st.none() | st.integers(0, 19),
        excluded=st.sets(st.integers(0, 2), max_size=2),
        turns=st.integers(0, 2),
        salt=SALTS,
        signed=st.booleans(),
        lie=LIES,
    )
    def play_a_round(
        self,
        who: int,
        wrong: int | None,
        excluded: set[int],
        turns: int,
        salt: bytes,
        signed: bool,
        lie: tuple[int, str] | None,
    ) -> None:
        """What is needed for a round to be committed, by whom it may be."""
        if self.job.account(self.accounts[who]).bond < BOND:
            self._try("depositBond", who, value=BOND)
        if signed:
            self._submit_signed(0, [(client, 10) for client in (4, 5, 6)])
        for client in (4, 5, 6):
            self._submit(client, 10)
        state = self.job.state
        if state.closesAt != NEVER:
            self.chain.travel(state.closesAt + turns * self.job.terms["aggregateSeconds"])
        self._commit(who, excluded, wrong, salt, lie)

    @rule(who=ANYBODY, call=st.sampled_from(["fund", "depositBond", "withdrawBond", "withdraw", "join"]))
    def move_money_or_join(self, who: int, call: str) -> None:
        address, value = self.accounts[who], 3 if call in ("fund", "depositBond") else 0
        if self._try(call, who, *((100, ZERO) if call == "join" else ()), value=value) is None:
            return
        if call == "depositBond":
            assert address not in self.barred
        if call == "withdrawBond":
            assert address not in [demand.commit.server for demand in self.demands.values()]
            answerable = [c for c in (*self.job.commits.values(), *self.superseded) if c.server == address]
            assert not any(self.chain.now < self.job.window_end(commit) for commit in answerable)

    @rule(who=CLIENTS, weight=st.integers(0, 101))
    def submit(self, who: int, weight: int) -> None:
        self._submit(who, weight)

    @rule(who=ANYBODY, entries=st.lists(st.tuples(CLIENTS, st.integers(1, 101)), min_size=1, max_size=5))
    def submit_signed(self, who: int, entries: list[tuple[int, int]]) -> None:
        """Anybody hands in what clients have signed, some of them twice."""
        self._submit_signed(who, entries)

    @rule(who=SERVERS, wrong=st.none() | st.integers(0, 19), excluded=st.sets(st.integers(0, 3), max_size=2), lie=LIES)
    @precondition(lambda self: self.job.attempt.blocks)
    def commit(self, who: int, wrong: int | None, excluded: set[int], lie: tuple[int, str] | None) -> None:
        """At any time."""
        self._commit(who, excluded, wrong, ZERO, lie)

    @rule(who=SERVERS, waits=st.booleans())
    @precondition(lambda self: self.job.attempt.blocks)
    def reopen(self, who: int, waits: bool) -> None:
        state = self.job.state
        if waits and state.closesAt != NEVER:
            self.chain.travel(state.closesAt + 4 * self.job.terms["aggregateSeconds"])
        due = self.chain.now + 1 >= state.closesAt + 4 * self.job.terms["aggregateSeconds"]
        try:
            receipt = self.job.reopen(self.accounts[who])
        except Reverted:
            return
        assert due
        assert self.accounts[who] not in self.barred
        self._account_for(receipt)

    @rule(who=SERVERS, which=st.integers(0, 20), waits=st.booleans())
    @precondition(lambda self: self.made)
    def supersede(self, who: int, which: int, waits: bool) -> None:
        commit = self._pick(which)
        if waits:
            self.chain.travel(commit.time + self.job.terms["idleSeconds"])
        newest = self.job.round - 1
        try:
            receipt = self.job.supersede(self.accounts[who], commit)
        except Reverted:
            return
        assert self.settled < commit.round == newest < self.last_round
        assert receipt.time >= commit.time + self.job.terms["idleSeconds"]
        assert self.accounts[who] not in {*self.barred, commit.server}
        self.superseded.append(commit)
        self._account_for(receipt)

    @rule(who=ANYBODY, which=st.integers(0, 20), waits=st.booleans())
    @precondition(lambda self: self.made)
    def settle(self, who: int, which: int, waits: bool) -> None:
        commit = self._pick(which)
        if waits:
            self.chain.travel(self.job.window_end(commit))
        if self._try("settle", who, commit.record):
            assert not [demand for demand in self.demands.values() if demand.commit is commit]

    @rule(who=ANYBODY, which=st.integers(0, 20), numbers=st.none() | st.sets(st.integers(0, 2)))
    @precondition(lambda self: self.made)
    def claim(self, who: int, which: int, numbers: set[int] | None) -> None:
        commit = self._pick(which)
        receipt = self._try("claim", who, commit.record, commit.submissions(numbers))
        if receipt:
            assert commit in self.job.commits.values()
            assert commit.round <= self.settled

    @rule(who=ANYBODY, which=st.integers(0, 20), index=CHUNKS, node=NODES)
    @precondition(lambda self: self.made)
    def challenge(self, who: int, which: int, index: int, node: int) -> None:
        commit, finder = self._pick(which), self.accounts[who]
        node = node if commit.nodes else 0
        self.job.announce(finder, commit, index, node=node)
        due = self._challengeable(commit) and is_wrong(self.job, commit, index, node)
        receipt = self._try("challenge", who, *challenge_arguments(commit, index, node=node))
        assert bool(receipt) == due

    @rule(who=ANYBODY, which=st.integers(0, 20), index=CHUNKS, node=NODES, excess=st.integers(0, 3), salt=SALTS)
    @precondition(lambda self: self.made)
    def demand(self, who: int, which: int, index: int, node: int, excess: int, salt: bytes) -> None:
        commit = self._pick(which)
        node = node if commit.nodes else 0
        if salt != ZERO:
            self.job.announce(self.accounts[who], commit, index, salt, node)
        waiting = [demand for demand in self.demands.values() if demand.commit.server == commit.server]
        price = DEPOSIT * (len(waiting) + 1)
        due = self._challengeable(commit) and (commit.word, node, index) not in self.demands
        receipt = self._try("demand", who, commit.record, node, index, salt, value=price + excess)
        assert bool(receipt) == due
        if receipt:
            event = receipt.event("ChunkDemanded")
            assert (event["deposit"], event["excess"], event["announced"]) == (price, excess, salt != ZERO)
            self.demands[commit.word, node, index] = Demand(
                commit, node, index, price, self.accounts[who], event["answerBy"], event["announced"]
            )

    @rule(who=ANYBODY, which=st.integers(0, 20))
    @precondition(lambda self: self.demands)
    def answer(self, who: int, which: int) -> None:
        demand = self._pick_demand(which)
        commit, index, node = demand.commit, demand.index, demand.node
        right = not is_wrong(self.job, commit, index, node)
        due = self._owed(commit) and self.chain.now + 1 < demand.answer_by and right
        receipt = self._try("answer", who, commit.record, node, index, commit.openings(index, node))
        assert bool(receipt) == due
        if receipt:
            soon = receipt.time < demand.answer_by - self.job.terms["answerSeconds"] // 2
            assert receipt.event("ChunkAnswered")["paid"] == (commit.server if soon else self.accounts[who])
            del self.demands[commit.word, node, index]

    @rule(who=ANYBODY, which=st.integers(0, 20))
    @precondition(lambda self: self.demands)
    def expire(self, who: int, which: int) -> None:
        demand = self._pick_demand(which)
        owed = self._owed(demand.commit)
        due = not owed or self.chain.now + 1 >= demand.answer_by
        bond = self.bonds[demand.commit.server]
        receipt = self._try("expire", who, demand.commit.record, demand.node, demand.index)
        assert bool(receipt) == due
        if receipt:
            del self.demands[demand.commit.word, demand.node, demand.index]
            if owed:
                reward = bond // 4 if demand.announced else 0
                assert receipt.event("BondSlashed")["reward"] == reward

    @rule(seconds=st.sampled_from([1, 201, 301, 1001, 9001]))
    def wait(self, seconds: int) -> None:
        self.chain.travel(self.chain.now + seconds)

    @rule(who=ANYBODY, waits=st.booleans())
    @precondition(lambda self: self.job.round > 2)
    def cancel(self, who: int, waits: bool) -> None:
        if waits:
            self.chain.travel(self.chain.now + 2 * self.job.terms["idleSeconds"])
        self._try("cancelJob", who)

    @rule(who=ANYBODY, settles=st.booleans())
    def finalize(self, who: int, settles: bool) -> None:
        for round in range(self.settled + 1, self.job.round if settles else 0):
            commit = self.job.commits[round]
            self.chain.travel(self.job.window_end(commit))
            self._try("settle", who, commit.record)
        if self._try("finalizeJob", who):
            assert self.settled == self.job.round - 1
            assert not [demand for demand in self.demands.values() if demand.commit in self.job.commits.values()]

    # ------------------------------------------------------------------------------------------------ invariants

    @invariant()
    @precondition(lambda self: getattr(self, "changed", False))
    def the_ledger_is_what_the_events_say(self) -> None:
        self.changed = False
        kept = self.chain.view("jobOf", self.job.id)
        self._money_adds_up(kept)
        self._rounds_are_what_a_watcher_rebuilds(kept)

    def _money_adds_up(self, kept: Any) -> None:
        """The balance is what is left of the pool, bonds, balances and the deposits of open demands."""
        deposits = sum(demand.price for demand in self.demands.values())
        held = self.pool + sum(self.bonds.values()) + sum(self.balances.values()) + deposits
        assert self.pool >= 0
        assert self.chain.balance(self.chain.ledger.address) == held
        assert kept.allotted == self.job.allotted <= kept.pool == self.job.pool
        # What has not been claimed can be paid, to the last entry.
        owed = 0
        for commit in self.job.commits.values():
            left = len(commit.included) - len(self.claimed.get(commit.round, ()))
            owed += left * commit.client_amount + (commit.server_amount if commit.round > self.settled else 0)
        assert owed <= self.pool
        for address in self.accounts:
            account = self.job.account(address)
            waiting = [demand for demand in self.demands.values() if demand.commit.server == address]
            assert (account.bond, account.balance) == (self.bonds[address], self.balances[address])
            assert (account.barred, account.demands) == (address in self.barred, len(waiting))

    def _rounds_are_what_a_watcher_rebuilds(self, kept: Any) -> None:
        attempt, state = self.job.attempt, kept.state
        assert (kept.head, kept.root) == (attempt.head, self.job.root_of(attempt.model))
        assert (state.round, state.attempt, state.origin) == (attempt.round, self.job.number, attempt.number)
        assert (state.updates, state.status) == (len(attempt.uploads), self.status)
        assert (state.settled, state.lastRound) == (self.settled, self.last_round)
        assert state.settled < state.round <= state.lastRound + 1
        for round in range(1, self.job.terms["rounds"] + 2):
            commit = self.job.commits.get(round)
            assert self.chain.view("recordOf", self.job.id, round) == (commit.word if commit else ZERO)
        for commit in self.made:
            open_ = [demand for demand in self.demands.values() if demand.commit is commit]
            mark = self.job.mark(commit)
            assert (mark.demands, mark.superseded) == (len(open_), commit in self.superseded)

    # --------------------------------------------------------------------------------------------------- helpers

    def _try(self, name: str, who: int, *arguments: Any, value: int = 0) -> Receipt | None:
        """Make a call; None if the ledger refuses it."""
        try:
            receipt = self.job.send(self.accounts[who], name, *arguments, value=value)
        except Reverted:
            return None
        self._account_for(receipt)
        return receipt

    def _account_for(self, receipt: Receipt) -> None:
        """Follow the money and the state by the events alone."""
        self.changed = True
        for name, args in receipt.events:
            if name == "JobFunded":
                self.pool += args["amount"]
            elif name == "RoundSettled":
                self._move(args["server"], args["serverAmount"])
                self.settled = args["round"]
            elif name == "RewardsClaimed":
                numbers = [256 * args["word"] + i for i in range(256) if args["entries"] >> i & 1]
                claimed = self.claimed.setdefault(args["round"], set())
                assert claimed.isdisjoint(numbers)
                claimed.update(numbers)
                for number in numbers:
                    upload = self.job.commits[args["round"]].attempt.uploads[number]
                    self._move(upload.client, args["amount"])
            elif name == "JobFinalized":
                self._move(args["owner"], args["rest"])
                self.status = FINAL
            elif name == "JobCancelled":
                assert args["lastRound"] <= self.last_round
                self.last_round = args["lastRound"]
            elif name == "BondDeposited":
                self.bonds[args["server"]] += args["amount"]
            elif name == "BondWithdrawn":
                self.bonds[args["server"]] -= args["amount"]
            elif name == "BalanceWithdrawn":
                self.balances[args["account"]] -= args["amount"]
            elif name == "ChunkDemanded":
                self.balances[args["demander"]] += args["excess"]
            elif name == "ChunkAnswered":
                self.balances[args["paid"]] += args["deposit"]
            elif name == "DemandExpired":
                self.balances[args["demander"]] += args["deposit"]
            elif name == "BondSlashed":
                self.bonds[args["server"]] -= args["amount"]
                self.balances[args["finder"]] += args["reward"]
                self.barred.add(args["server"])
                self._refuted(args["word"])

    def _move(self, address: str, amount: int) -> None:
        """From the pool to a balance."""
        self.pool -= amount
        self.balances[address] += amount

    def _refuted(self, word: bytes) -> None:
        """A superseded record is done with; one that stands falls, and all later ones with it."""
        before = len(self.superseded)
        self.superseded = [commit for commit in self.superseded if commit.word != word]
        if len(self.superseded) == before:
            (commit,) = [commit for commit in self.job.commits.values() if commit.word == word]
            self.job.rolled_back(commit)

    def _submit(self, who: int, weight: int) -> None:
        try:
            receipt = self.job.submit(self.accounts[who], weight=weight)
        except Reverted:
            return
        self._account_for(receipt)

    def _submit_signed(self, who: int, entries: list[tuple[int, int]]) -> None:
        uploads = [self.job.upload(self.accounts[client], weight=weight) for client, weight in entries]
        taken = self.job.taken(uploads)
        # Those after the last for which there is room are not looked at, nor the second of one that is in.
        looked_at = uploads if len(taken) < self._room else uploads[: uploads.index(taken[-1]) + 1] if taken else []
        strangers = [upload for upload in looked_at if not self.job.client(upload.client).samples]
        due = not strangers and all(upload.weight <= 100 for upload in taken)
        state = self.job.state
        due = due and state.round <= state.lastRound and self.status == RUNNING and self.chain.now + 1 < state.closesAt
        receipt = self._try("submitUpdates", who, *self.job.signed_arguments(uploads))
        assert bool(receipt) == due
        if receipt and taken:
            assert receipt.event("UpdatesSubmitted")["entries"] == b"".join(upload.entry for upload in taken)
            self.job.accept(taken)
        elif receipt:
            assert receipt.events == []

    @property
    def _room(self) -> int:
        return int(self.job.terms["maxUpdates"]) - len(self.job.attempt.uploads)

    def _commit(
        self, who: int, excluded: set[int], wrong: int | None, salt: bytes, lie: tuple[int, str] | None
    ) -> None:
        server = self.accounts[who]
        excluded = {number for number in excluded if number < len(self.job.attempt.uploads)}
        left = len(self.job.attempt.uploads) - len(excluded)
        if left == 0:
            return
        alter = {lie[0]: ALTERATIONS[lie[1]]} if lie else None
        model = self.job.follow(excluded, alter)
        if wrong is not None:
            model[wrong] ^= 1
        all_from = self.job.state.closesAt + 2 * self.job.terms["aggregateSeconds"]
        try:
            commit = self.job.commit(server, model, excluded, salt, alter)
        except Reverted:
            return
        assert server not in self.barred
        assert self.bonds[server] >= BOND
        assert left >= self.job.terms["minUpdates"]
        assert len(excluded) <= self.job.terms["maxExcluded"] or commit.time >= all_from
        assert commit.round - 1 - self.settled < self.job.terms["maxUnsettled"]
        self.made.append(commit)
        self._account_for(self.job.receipt)

    def _pick(self, which: int) -> Commit:
        return self.made[-1 - which % len(self.made)]

    def _pick_demand(self, which: int) -> Demand:
        return list(self.demands.values())[which % len(self.demands)]

    def _owed(self, commit: Commit) -> bool:
        """Whether its committer answers for it."""
        stands = commit in self.job.commits.values() and commit.round > self.settled
        return stands or commit in self.superseded

    def _challengeable(self, commit: Commit) -> bool:
        """In the next transaction, which is a second later."""
        return self._owed(commit) and self.chain.now + 1 < self.job.window_end(commit)


TestLedger = Ledger.TestCase
TestLedger.settings = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
