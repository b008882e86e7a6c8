"""What holds after any sequence of calls, by honest and by dishonest hands.

GALAXY_INVARIANT_RUNS is the number of sequences: raise it to search longer than every test run does.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from galaxy_fl.aggregation import RULES
from tests.contracts.ledger import NEVER, NOBODY, ZERO, Chain, Commit, Job, Receipt, Reverted

RUNS = int(os.environ.get("GALAXY_INVARIANT_RUNS", "16"))
STEPS = 30
BOND, DEPOSIT = 1001, 7
RUNNING, CANCELLED, FINAL = 1, 2, 3

SERVERS = st.integers(1, 3)
CLIENTS = st.integers(4, 7)
ANYBODY = st.integers(0, 7)
CHUNKS = st.integers(0, 2)


@cache
def _chain() -> Chain:
    return Chain(accounts=8)


class Ledger(RuleBasedStateMachine):
    """One job, in which everybody does anything; what the ledger refuses changes nothing, which is checked as well.

    Money is mirrored from events, models and heads from what was sent.
    """

    @initialize(
        rule_name=st.sampled_from(sorted(RULES)),
        rounds=st.integers(2, 4),
        min_updates=st.integers(1, 2),
        max_excluded=st.integers(0, 2),
        named=st.booleans(),
        pool=st.integers(0, 1000),
    )
    def register(
        self, rule_name: str, rounds: int, min_updates: int, max_excluded: int, named: bool, pool: int
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
            minUpdates=min_updates,
            maxExcluded=max_excluded,
            server=self.accounts[1] if named else NOBODY,
            bond=BOND,
            demandDeposit=DEPOSIT,
        )
        self.pool = 0
        self.bonds = dict.fromkeys(self.accounts, 0)
        self.demands: dict[tuple[bytes, int], tuple[Commit, int]] = {}
        self.barred: set[str] = set()
        self.made: list[Commit] = []
        self.status = RUNNING
        self._account_for(self.job.registered)
        for client in self.accounts[4:7]:
            self.job.join(client)
        self._account_for(self.job.bond(self.accounts[1]))

    def teardown(self) -> None:
        if hasattr(self, "snapshot"):
            self.chain.tester.revert_to_snapshot(self.snapshot)

    # ----------------------------------------------------------------------------------------------------- calls

    @rule(who=SERVERS, wrong=st.none() | st.integers(0, 19), excluded=st.sets(CLIENTS, max_size=2), late=st.booleans())
    def play_a_round(self, who: int, wrong: int | None, excluded: set[int], late: bool) -> None:
        """What is needed for a round to be committed, by whom it may be."""
        if self.job.account(self.accounts[who]).amount < BOND:
            self._try("depositBond", who, value=BOND)
        for client in (4, 5, 6):
            self._submit(client, 10)
        state = self.job.state
        if state.closesAt != NEVER:
            self.chain.travel(state.closesAt + late * self.job.terms["aggregateSeconds"])
        submitters = {upload.client for upload in self.job.attempt.uploads}
        left_out = {c for c in excluded if self.accounts[c] in submitters} if wrong is None else set()
        self._commit(who, left_out, wrong)

    @rule(who=ANYBODY, call=st.sampled_from(["fund", "depositBond", "withdrawBond", "claimReward", "join"]))
    def move_money_or_join(self, who: int, call: str) -> None:
        address, value = self.accounts[who], 3 if call in ("fund", "depositBond") else 0
        if self._try(call, who, *((100, ZERO) if call == "join" else ()), value=value) is None:
            return
        if call == "depositBond":
            assert address not in self.barred
        if call == "withdrawBond":
            assert address not in [commit.server for commit, _ in self.demands.values()]
            answerable = [c for c in self.job.commits.values() if c.server == address]
            assert not any(self.chain.now < self._window_end(commit) for commit in answerable)

    @rule(who=CLIENTS, weight=st.integers(0, 101))
    def submit(self, who: int, weight: int) -> None:
        self._submit(who, weight)

    @rule(who=SERVERS, wrong=st.none() | st.integers(0, 19), excluded=st.sets(CLIENTS, max_size=2))
    @precondition(lambda self: self.job.attempt.uploads)
    def commit(self, who: int, wrong: int | None, excluded: set[int]) -> None:
        """At any time, excluding anybody: after a rollback also those who had not submitted."""
        self._commit(who, excluded, wrong)

    @rule(who=SERVERS, excluded=st.sets(CLIENTS, max_size=3))
    @precondition(lambda self: self.job.attempt.uploads)
    def reopen(self, who: int, excluded: set[int]) -> None:
        try:
            receipt = self.job.reopen(self.accounts[who], [self.accounts[c] for c in excluded])
        except Reverted:
            return
        assert self.accounts[who] not in self.barred
        self._account_for(receipt)

    @rule(who=ANYBODY, which=st.integers(0, 20), index=CHUNKS)
    @precondition(lambda self: self.made)
    def challenge(self, who: int, which: int, index: int) -> None:
        commit = self._pick(which)
        due = self._stands(commit) and self._challengeable(commit) and self._is_wrong(commit, index)
        receipt = self._try("challenge", who, commit.record, index, commit.openings(index))
        assert bool(receipt) == due
        if receipt:
            self.job.rolled_back(commit)

    @rule(who=ANYBODY, which=st.integers(0, 20), index=CHUNKS)
    @precondition(lambda self: self.made)
    def demand(self, who: int, which: int, index: int) -> None:
        commit = self._pick(which)
        waiting = [c for c, _ in self.demands.values() if c.server == commit.server]
        price = DEPOSIT * (len(waiting) + 1)
        due = self._stands(commit) and self._challengeable(commit) and (commit.word, index) not in self.demands
        receipt = self._try("demand", who, commit.record, index, value=price)
        assert bool(receipt) == due
        if receipt:
            self.demands[commit.word, index] = commit, price

    @rule(which=st.integers(0, 20))
    @precondition(lambda self: self.demands)
    def answer(self, which: int) -> None:
        (commit, index), _ = self._pick_demand(which)
        answer_by = self.chain.view("demandOf", self.job.id, commit.word, index).answerBy
        due = self._stands(commit) and self.chain.now + 1 < answer_by and not self._is_wrong(commit, index)
        who = self.accounts.index(commit.server)
        receipt = self._try("answer", who, commit.record, index, commit.openings(index))
        assert bool(receipt) == due
        if receipt:
            del self.demands[commit.word, index]

    @rule(who=ANYBODY, which=st.integers(0, 20))
    @precondition(lambda self: self.demands)
    def expire(self, who: int, which: int) -> None:
        (commit, index), price = self._pick_demand(which)
        demand = self.chain.view("demandOf", self.job.id, commit.word, index)
        stands = self._stands(commit)
        due = not stands or self.chain.now + 1 >= demand.answerBy
        receipt = self._try("expire", who, commit.record, index)
        assert bool(receipt) == due
        if receipt:
            del self.demands[commit.word, index]
            self.bonds[demand.demander] += price
            if stands:
                self.job.rolled_back(commit)

    @rule(seconds=st.sampled_from([1, 201, 301, 1001]))
    def wait(self, seconds: int) -> None:
        self.chain.travel(self.chain.now + seconds)

    @rule(who=ANYBODY, cancels=st.booleans(), waits=st.booleans(), claimants=st.sets(ANYBODY))
    @precondition(lambda self: self.job.round > 2 or self.job.round > self.job.terms["rounds"])
    def end(self, who: int, cancels: bool, waits: bool, claimants: set[int]) -> None:
        if waits:
            self.chain.travel(self.job.state.finalAt)
        if cancels and self._try("cancelJob", 0):
            self.status = CANCELLED
        if self._try("finalizeJob", who):
            assert not self.demands
            assert not any(self.chain.now < self._window_end(commit) for commit in self.job.commits.values())
            self.status = FINAL
        for claimant in sorted(claimants):
            if self._try("claimReward", claimant):
                assert self.status == FINAL
                assert self._try("claimReward", claimant) is None

    # ------------------------------------------------------------------------------------------------ invariants

    @invariant()
    @precondition(lambda self: getattr(self, "changed", False))
    def the_ledger_is_what_the_events_say(self) -> None:
        self.changed = False
        kept = self.chain.view("jobOf", self.job.id)
        self._money_adds_up(kept.state)
        self._rounds_are_what_a_watcher_rebuilds(kept)
        if self.status != FINAL:
            credits = sum(self.job.client(address).credits for address in self.accounts[4:])
            assert credits == kept.state.totalCredits

    def _money_adds_up(self, state: Any) -> None:
        """The balance is the pool, or what is left of it, the bonds and the deposits of open demands."""
        deposits = sum(price for _, price in self.demands.values())
        assert self.pool >= 0
        assert self.chain.balance(self.chain.ledger.address) == self.pool + sum(self.bonds.values()) + deposits
        assert state.openDemands == len(self.demands)
        for address in self.accounts:
            account = self.job.account(address)
            waiting = [commit for commit, _ in self.demands.values() if commit.server == address]
            assert account.amount == self.bonds[address]
            assert account.barred == (address in self.barred)
            assert account.demands == len(waiting)

    def _rounds_are_what_a_watcher_rebuilds(self, kept: Any) -> None:
        attempt, state = self.job.attempt, kept.state
        assert (kept.head, kept.root) == (attempt.head, self.job.root_of(attempt.model))
        assert (state.round, state.attempt, state.origin) == (attempt.round, self.job.number, attempt.number)
        assert (state.updates, state.status) == (len(attempt.uploads), self.status)
        for round in range(1, self.job.terms["rounds"] + 2):
            commit = self.job.commits.get(round)
            assert self.chain.view("recordOf", self.job.id, round) == (commit.word if commit else ZERO)

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
        """Follow the money. What an expiry gives goes to an account, what a challenge gives to the challenger."""
        self.changed = True
        names = [event.name for event in receipt.events]
        for name, args in receipt.events:
            if name == "JobFunded":
                self.pool += args["amount"]
            elif name == "RewardClaimed":
                self.pool -= args["amount"]
            elif name == "BondDeposited":
                self.bonds[args["server"]] += args["amount"]
            elif name == "BondWithdrawn":
                self.bonds[args["server"]] -= args["amount"]
            elif name == "BondSlashed":
                self.bonds[args["server"]] -= args["amount"]
                self.barred.add(args["server"])
                if "DemandExpired" in names:
                    self.bonds[args["challenger"]] += args["reward"]

    def _submit(self, who: int, weight: int) -> None:
        try:
            receipt = self.job.submit(self.accounts[who], weight=weight)
        except Reverted:
            return
        self._account_for(receipt)

    def _commit(self, who: int, excluded: set[int], wrong: int | None) -> None:
        server = self.accounts[who]
        if not len(self.job.attempt.uploads) > len(excluded):
            return
        left_out = [self.accounts[client] for client in excluded]
        model = self.job.aggregate(left_out)
        if wrong is not None:
            model[wrong] ^= 1
        try:
            commit = self.job.commit(server, model, left_out)
        except Reverted:
            return
        assert server not in self.barred
        assert self.bonds[server] >= BOND
        assert len(left_out) <= self.job.terms["maxExcluded"]
        self.made.append(commit)
        self._account_for(self.job.receipt)

    def _pick(self, which: int) -> Commit:
        return self.made[-1 - which % len(self.made)]

    def _pick_demand(self, which: int) -> tuple[tuple[Commit, int], int]:
        keys = list(self.demands)
        word, index = keys[which % len(keys)]
        commit, price = self.demands[word, index]
        return (commit, index), price

    def _stands(self, commit: Commit) -> bool:
        return commit in self.job.commits.values()

    def _window_end(self, commit: Commit) -> int:
        return commit.time + int(self.job.terms["challengeSeconds"])

    def _challengeable(self, commit: Commit) -> bool:
        """In the next transaction, which is a second later."""
        return self.chain.now + 1 < self._window_end(commit)

    def _is_wrong(self, commit: Commit, index: int) -> bool:
        submitters = {upload.client for upload in commit.attempt.uploads}
        if not submitters.issuperset(commit.excluded):
            return True
        right = self.job.rule.aggregate(
            self.job.terms["ruleParameters"],
            commit.attempt.model,
            [upload.vector for upload in commit.included],
            [upload.weight for upload in commit.included],
        )
        chunk = slice(index * 8, (index + 1) * 8)
        return bool((right[chunk] != commit.next[chunk]).any())


TestLedger = Ledger.TestCase
TestLedger.settings = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
