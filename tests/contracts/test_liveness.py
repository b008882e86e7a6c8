"""Whatever the dishonest do, the honest bring a job to its end and get out what is theirs.

A random walk of dishonest moves and time, in which the honest guard what is theirs; then the honest alone. At every step
the ledger has to do what the oracle says (`oracle.py`), and no more.

GALAXY_LIVENESS_RUNS is the number of walks: raise it to search longer than every test run does.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.contracts.honest import Game, Honest, places
from tests.contracts.ledger import NEVER, NOBODY, SALT, ZERO, Chain, Commit, Job
from tests.contracts.oracle import Demand
from tests.contracts.sums import ALTERATIONS

RUNS = int(os.environ.get("GALAXY_LIVENESS_RUNS", "12"))
STEPS = 25
BOND, DEPOSIT = 1001, 7

OWNER, LIARS, SERVER, WATCHTOWER, CLIENTS, PUPPETS, OUTSIDER = 0, (1, 2, 3), 4, 5, (6, 7, 8), (9, 10), 11
DISHONEST = st.sampled_from([OWNER, *LIARS, *PUPPETS, OUTSIDER])
COMMITTERS = st.sampled_from(LIARS)
CALLS: Counter[str] = Counter()
LIES = st.none() | st.tuples(st.integers(1, 6), st.sampled_from(sorted(ALTERATIONS)))
WRONG = st.none() | st.integers(0, 19)
NUMBERS = st.sets(st.integers(0, 4), max_size=3)
WHICH = st.integers(0, 9)


@cache
def _chain() -> Chain:
    return Chain(accounts=12)


class Liveness(RuleBasedStateMachine):
    """A closed job with three honest clients, and fewer dishonest ones than `minUpdates`."""

    @initialize(
        rounds=st.integers(1, 3),
        min_updates=st.integers(2, 3),
        max_excluded=st.integers(0, 2),
        max_unsettled=st.integers(1, 3),
        named=st.sampled_from([None, LIARS[0], SERVER]),
        share=st.sampled_from([0, 2000, 5000]),
        pool=st.integers(0, 1000),
        # With 2, three entries have nodes.
        fan_in=st.sampled_from([2, 2, 16]),
        # With the longest a window ends before a record counts as built upon by its age.
        idle=st.sampled_from([1000, 6000]),
    )
    def register(
        self,
        rounds: int,
        min_updates: int,
        max_excluded: int,
        max_unsettled: int,
        named: int | None,
        share: int,
        pool: int,
        fan_in: int,
        idle: int,
    ) -> None:
        self.begin(rounds, min_updates, max_excluded, max_unsettled, named, share, pool, idle, fan_in)

    def begin(
        self,
        rounds: int,
        min_updates: int,
        max_excluded: int,
        max_unsettled: int,
        named: int | None,
        share: int,
        pool: int,
        idle: int = 1000,
        fan_in: int = 16,
    ) -> None:
        self.chain = _chain()
        self.snapshot = self.chain.tester.take_snapshot()
        self.accounts = accounts = self.chain.accounts
        job = Job(
            self.chain,
            pool=pool,
            rounds=rounds,
            minUpdates=min_updates,
            maxUpdates=5,
            maxExcluded=max_excluded,
            maxUnsettled=max_unsettled,
            server=NOBODY if named is None else accounts[named],
            serverShare=share,
            bond=BOND,
            demandDeposit=DEPOSIT,
            idleSeconds=idle,
            fanIn=fan_in,
            open=False,
        )
        self.game = Game(job)
        self.puppets = [accounts[i] for i in PUPPETS[: min_updates - 1]]
        clients = [accounts[i] for i in CLIENTS]
        job.send(job.owner, "admit", [*clients, *self.puppets])
        for client in [*clients, *self.puppets]:
            job.join(client)
        for server in (*LIARS, SERVER):
            self.game.bond(accounts[server], BOND)
        probers = [accounts[OUTSIDER], accounts[LIARS[0]], accounts[SERVER]]
        self.honest = Honest(self.game, accounts[SERVER], accounts[WATCHTOWER], clients, probers)

    def teardown(self) -> None:
        if not hasattr(self, "snapshot"):
            return
        try:
            # Else that is the finding, and what follows from it is none.
            if hasattr(self, "honest") and not self.game.broken:
                self._honest_alone()
                CALLS.update(self.game.calls)
        finally:
            self.chain.tester.revert_to_snapshot(self.snapshot)

    def _honest_alone(self) -> None:
        self.honest.finish()
        game, oracle = self.game, self.game.oracle
        game.check()
        game.check_accounts(self.accounts)
        members = [self.honest.server, self.honest.watchtower, *self.honest.clients]
        assert not oracle.barred.intersection(members)
        assert game.received[self.honest.server] >= BOND
        assert not any(oracle.bond[member] or oracle.balance[member] for member in members)
        if not self.honest.lapsed and not game.expelled.intersection(self.honest.clients):
            assert oracle.settled == oracle.last_round

    # --------------------------------------------------------------------------------------- moves of the dishonest

    @rule(hidden=st.booleans(), which=WHICH)
    def a_puppet_submits(self, hidden: bool, which: int) -> None:
        puppet = self.puppets[which % len(self.puppets)]
        self.game.submit(self.game.job.upload(puppet), hidden)

    @rule(who=DISHONEST, hidden=st.booleans(), honest=st.booleans(), twice=st.booleans())
    def somebody_hands_in_a_batch(self, who: int, hidden: bool, honest: bool, twice: bool) -> None:
        """Of the puppets, and what an honest client has signed, which is public."""
        game, mine = self.game, [self.game.job.upload(puppet) for puppet in self.puppets]
        theirs = [upload for client in self.honest.clients if (upload := self.honest.signed(client))] if honest else []
        game.submit_signed(self.accounts[who], (mine + theirs) * (1 + twice), mine if hidden else ())

    @rule(
        who=COMMITTERS, excluded=NUMBERS, wrong=WRONG, hidden=st.booleans(), puppets=st.booleans(), salt=st.booleans(),
        honest=st.booleans(), turns=st.integers(0, 4), lie=LIES
    )  # fmt: skip
    def a_liar_plays_a_round(
        self, who: int, excluded: set[int], wrong: int | None, hidden: bool, puppets: bool, salt: bool,
        honest: bool, turns: int, lie: tuple[int, str] | None
    ) -> None:  # fmt: skip
        """What it takes for a dishonest commit: entries, of the honest too, and the right time."""
        self._collect(puppets, hidden, honest, turns)
        alter = {lie[0]: ALTERATIONS[lie[1]]} if lie else None
        self.game.commit(self.accounts[who], excluded, wrong, hidden, SALT if salt else ZERO, alter)

    @rule(who=COMMITTERS, puppets=st.booleans(), then=st.integers(0, 3))
    def a_liar_withholds_a_model(self, who: int, puppets: bool, then: int) -> None:
        """And stays silent about it, up to when it can be superseded, or an accomplice does so."""
        self._collect(puppets, True, True, 1)
        commit = self.game.commit(self.accounts[who], hidden=True)
        if commit and then:
            self.honest.wait(commit.time + self.game.job.terms["idleSeconds"] - 1)
            if then == 1:
                self.game.supersede(self.accounts[LIARS[who % 3]], commit)

    @rule(who=st.sampled_from([*LIARS, OUTSIDER]), puppets=st.booleans(), turns=st.integers(0, 5))
    def a_liar_reopens(self, who: int, puppets: bool, turns: int) -> None:
        self._collect(puppets, True, True, turns)
        if self.game.job.attempt.uploads:
            self.game.reopen(self.accounts[who])

    @rule(
        who=DISHONEST, which=WHICH, place=WHICH, announced=st.booleans(), excess=st.integers(0, 3), late=st.booleans()
    )  # fmt: skip
    @precondition(lambda self: self.game.made)
    def somebody_demands(self, who: int, which: int, place: int, announced: bool, excess: int, late: bool) -> None:
        commit = self._pick(which)
        node, index = places(commit)[-1 - place % len(places(commit))]
        if late and self.game.oracle.answerable(commit):
            # In the last second of the window, when announcing takes one before.
            self.honest.wait(self.game.job.window_end(commit) - 2 - announced)
        if announced:
            self.game.announce(self.accounts[who], commit, index, node)
        self.game.demand(self.accounts[who], commit, index, SALT if announced else ZERO, excess, node)

    @rule(who=DISHONEST, which=WHICH, place=WHICH, announced=st.booleans())
    @precondition(lambda self: self.game.made)
    def somebody_challenges(self, who: int, which: int, place: int, announced: bool) -> None:
        commit = self._pick(which)
        node, index = places(commit)[-1 - place % len(places(commit))]
        if announced:
            self.game.announce(self.accounts[who], commit, index, node)
        self.game.challenge(self.accounts[who], commit, index, node)

    @rule(who=DISHONEST, which=WHICH, call=st.sampled_from(["settle", "claim", "supersede"]), numbers=NUMBERS)
    @precondition(lambda self: self.game.made)
    def somebody_moves_a_record(self, who: int, which: int, call: str, numbers: set[int]) -> None:
        commit = self._pick(which)
        if call == "claim":
            self.game.claim(self.accounts[who], commit, numbers)
        else:
            getattr(self.game, call)(self.accounts[who], commit)

    @rule(who=DISHONEST, which=WHICH, call=st.sampled_from(["answer", "expire"]))
    @precondition(lambda self: self.game.oracle.demands)
    def somebody_ends_a_demand(self, who: int, which: int, call: str) -> None:
        getattr(self.game, call)(self.accounts[who], self._pick_demand(which))

    @rule(
        who=DISHONEST,
        call=st.sampled_from(["fund", "bond", "withdraw", "withdraw_bond", "cancel", "finalize", "expel"]),
    )
    def somebody_moves_money_or_ends_the_job(self, who: int, call: str) -> None:
        if call == "expel":
            self.game.expel(self.puppets[who % len(self.puppets)])
        elif call in ("fund", "bond"):
            getattr(self.game, call)(self.accounts[who], 5 if call == "fund" else BOND)
        else:
            getattr(self.game, call)(self.accounts[who])

    @rule(which=st.integers(0, 9))
    def the_owner_expels_an_honest_client(self, which: int) -> None:
        """Seldom, for it ends the promise that the job goes on to its last round."""
        if which == 7:
            self.game.expel(self.honest.clients[0])

    def _collect(self, puppets: bool, hidden: bool, honest: bool, turns: int) -> None:
        """Hand in, and wait until collecting has ended, and for some turns more."""
        job, oracle = self.game.job, self.game.oracle
        for puppet in self.puppets if puppets and oracle.running else ():
            self.game.submit(job.upload(puppet), hidden)
        if honest and self.honest.model_known:
            self.honest.hand_in()
        if oracle.closes_at != NEVER:
            self.honest.wait(oracle.closes_at - 1 + turns * job.terms["aggregateSeconds"])

    # ------------------------------------------------------------------------------- the honest meanwhile, and time

    @rule(steps=st.integers(1, 8))
    def the_honest_play(self, steps: int) -> None:
        for _ in range(steps):
            if not self.honest.act():
                return

    @rule(which=st.integers(0, 30), offset=st.integers(-2, 1))
    def time_passes(self, which: int, offset: int) -> None:
        """To a moment at which something becomes due, or just before or after it."""
        times = sorted({time for time in self.honest.times() if time > self.chain.now})
        if times:
            self.honest.wait(times[which % len(times)] + offset)

    # ---------------------------------------------------------------------------------------------------- invariants

    @invariant()
    def the_ledger_is_what_the_oracle_says(self) -> None:
        if hasattr(self, "honest"):
            self.game.check()
            self.game.probe(self.honest.probers)

    def _pick(self, which: int) -> Commit:
        return self.game.made[-1 - which % len(self.game.made)]

    def _pick_demand(self, which: int) -> Demand:
        demands = list(self.game.oracle.demands.values())
        return demands[which % len(demands)]


INTERFERENCE = [
    (2, 2, SERVER, 0, False),
    (0, 2, None, 0, False),
    (0, 3, LIARS[0], 0, False),
    # Trained when collecting has ended: the first attempt has the puppets' updates and one more, which is too few.
    (2, 2, None, 450, False),
    (0, 3, LIARS[0], 450, False),
    (2, 2, None, 450, True),
]


@pytest.mark.parametrize(("max_excluded", "min_updates", "named", "training", "anew"), INTERFERENCE)
def test_the_honest_come_through_while_the_dishonest_always_come_first(
    max_excluded: int, min_updates: int, named: int | None, training: int, anew: bool
) -> None:
    """Whatever a dishonest bond can do that delays, it does, before each call of the honest, and never tires of it."""
    machine = Liveness()
    machine.begin(2, min_updates, max_excluded, 1, named, 2000, 1000)
    game, honest, accounts = machine.game, machine.honest, machine.accounts
    honest.training, honest.anew = training, anew

    def interfere() -> None:
        if game.oracle.running:
            for puppet in machine.puppets:
                upload = game.job.upload(puppet)
                if game.oracle.may_submit(upload, game.next):
                    game.submit(upload, hidden=True)
        for liar in LIARS:
            if game.oracle.may_commit(accounts[liar], (), game.next):
                game.commit(accounts[liar], hidden=True)
            if game.oracle.may_reopen(accounts[liar], game.next):
                game.reopen(accounts[liar])
            if game.oracle.newest and game.oracle.may_supersede(accounts[liar], game.oracle.newest, game.next):
                game.supersede(accounts[liar], game.oracle.newest)

    try:
        honest.finish(interfere)
        game.check()
        assert game.oracle.settled == game.oracle.last_round == 2
    finally:
        machine.chain.tester.revert_to_snapshot(machine.snapshot)


def profile(runs: int, steps: int, derandomize: bool) -> settings:
    return settings(
        max_examples=runs,
        stateful_step_count=steps,
        derandomize=derandomize,
        deadline=None,
        database=None,
        # A walk that fails is printed. To have it shortened takes minutes: GALAXY_LIVENESS_SHRINK=1 asks for it.
        phases=[Phase.generate, *([Phase.shrink] if os.environ.get("GALAXY_LIVENESS_SHRINK") else [])],
        suppress_health_check=list(HealthCheck),
    )


def test_the_honest_bring_every_job_to_its_end() -> None:
    run_state_machine_as_test(Liveness, settings=profile(RUNS, STEPS, True))


@pytest.mark.extended
def test_the_honest_bring_every_job_to_its_end_in_longer_walks() -> None:
    run_state_machine_as_test(Liveness, settings=profile(10 * RUNS, 3 * STEPS, False))
