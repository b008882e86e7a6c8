"""A job with an oracle, and the honest who play it: one bonded server, clients, one watchtower.

`Game` makes every call by way of the oracle: what is due has to go through, what is not has to be refused, and the ledger
has what the oracle says. `Honest` does what is due to the honest, until the job has ended and all that is theirs is out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tests.contracts.ledger import (
    NEVER,
    SALT,
    ZERO,
    Commit,
    Job,
    Receipt,
    Reverted,
    Upload,
    challenge_arguments,
)
from tests.contracts.oracle import Demand, Oracle
from tests.contracts.sums import Alter

__all__ = ["Game", "Honest", "places"]

CHUNKS = range(3)


class Game:
    """A job whose every call is judged by an oracle, too.

    Attributes:
        made: all commits, those that stand no more among them.
        hidden: updates and models that their makers withhold.
        calls: how often each call has gone through.
        broken: what the ledger has done otherwise than the oracle says.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.chain = job.chain
        self.oracle = Oracle(job)
        self.made: list[Commit] = []
        self.hidden: set[Upload | Commit] = set()
        self.expelled: set[str] = set()
        self.received: dict[str, int] = {}
        self.calls: Counter[str] = Counter()
        self.broken = ""
        self.probed = 0

    def call(self, due: bool, who: str, name: str, *arguments: Any, value: int = 0) -> Receipt | None:
        """Make a call and compare: it has to go through exactly if it is due."""
        try:
            receipt = self.job.send(who, name, *arguments, value=value)
        except Reverted as refusal:
            if due:
                self.broken = f"{name} is due and was refused: {refusal}"
                raise AssertionError(self.broken) from refusal
            return None
        if not due:
            self.broken = f"{name} is not due and went through"
            raise AssertionError(self.broken)
        self.calls[name] += 1
        return receipt

    @property
    def next(self) -> int:
        """The time of the next transaction."""
        return self.chain.now + 1

    # ----------------------------------------------------------------------------------------------------- rounds

    def submit(self, upload: Upload, hidden: bool = False) -> bool:
        due = self.oracle.may_submit(upload, self.next) and upload.client not in self.expelled
        receipt = self.call(due, upload.client, "submitUpdate", *self.job.submit_arguments(upload))
        if receipt is None:
            return False
        self.job.attempt.blocks.append([upload])
        if hidden:
            self.hidden.add(upload)
        self.oracle.submitted(len(self.job.attempt.uploads) - 1, receipt.time)
        return True

    def submit_signed(self, who: str, uploads: Sequence[Upload], hidden: Collection[Upload] = ()) -> bool:
        """Hand in what clients that have joined have signed; entries that can't be taken are skipped."""
        due = self.oracle.running and self.next < self.oracle.closes_at
        before = len(self.job.attempt.uploads)
        taken = self.job.taken([upload for upload in uploads if upload.client not in self.expelled])
        receipt = self.call(due, who, "submitUpdates", *self.job.signed_arguments(uploads))
        if receipt is None:
            return False
        if not taken:
            assert receipt.events == []
            return True
        assert receipt.event("UpdatesSubmitted")["entries"] == b"".join(upload.entry for upload in taken)
        self.job.accept(taken)
        self.hidden.update(upload for upload in hidden if upload in taken)
        self.oracle.submitted(before, receipt.time)
        return True

    def commit(
        self,
        who: str,
        excluded: Collection[int] = (),
        wrong: int | None = None,
        hidden: bool = False,
        salt: bytes = ZERO,
        alter: Mapping[int, Alter] | None = None,
    ) -> Commit | None:
        """Commit the right model, or one with parameter `wrong` off, or what follows from altered nodes.

        With a salt it is announced before.
        """
        excluded = [number for number in excluded if number < len(self.job.attempt.uploads)]
        if len(excluded) >= len(self.job.attempt.uploads):
            return None
        nodes = self.job.sums(excluded, alter)
        model = self.job.follow(excluded, alter)
        if wrong is not None:
            model[wrong] ^= 1
        if salt != ZERO:
            self.job.announce_commit(who, model, salt)
        due = self.oracle.may_commit(who, excluded, self.next) and (nodes is None or nodes.adds_up)
        receipt = self.call(due, who, "commitRound", *self.job.commit_arguments(model, excluded, salt, nodes))
        if receipt is None:
            return None
        commit = self.job.committed(who, model, excluded, salt, receipt.time, nodes)
        assert receipt.event("RoundCommitted")["record"]["reward"] == commit.reward
        self.made.append(commit)
        if hidden:
            self.hidden.add(commit)
        self.oracle.committed(commit)
        return commit

    def reopen(self, who: str) -> None:
        due = self.oracle.may_reopen(who, self.next)
        receipt = self.call(due, who, "reopenRound", self.job.number, self.job.attempt.head)
        if receipt:
            self.job._open(self.job.round, self.job.attempt.model)
            self.oracle.reopened(who, receipt.time)

    def supersede(self, who: str, commit: Commit) -> None:
        receipt = self.call(self.oracle.may_supersede(who, commit, self.next), who, "supersede", commit.record)
        if receipt:
            self.job.rolled_back(commit)
            self.oracle.was_superseded(who, commit, receipt.time)

    # ------------------------------------------------------------------------------------------------------ money

    def settle(self, who: str, commit: Commit) -> None:
        receipt = self.call(self.oracle.may_settle(commit, self.next), who, "settle", commit.record)
        if receipt:
            self.oracle.was_settled(commit, receipt.time)

    def claim(self, who: str, commit: Commit, numbers: Collection[int]) -> None:
        numbers = commit.shown(numbers)
        settles = self.oracle.may_settle(commit, self.next)
        fresh = self.oracle.claimable(commit, numbers)
        if settles and commit.client_amount:
            fresh = [number for number in numbers if number not in commit.excluded]
        receipt = self.call(bool(fresh), who, "claim", commit.record, commit.submissions(numbers))
        if receipt:
            if settles:
                self.oracle.was_settled(commit, receipt.time)
            assert self.job.claimed_by(receipt) == sorted(fresh)
            self.oracle.was_claimed(commit, fresh)

    def fund(self, who: str, value: int) -> None:
        self.call(self.oracle.running and not self.oracle.cancelled, who, "fund", value=value)

    def bond(self, who: str, value: int) -> None:
        due = not self.oracle.final and who not in self.oracle.barred
        if self.call(due, who, "depositBond", value=value):
            self.oracle.bond[who] += value

    def withdraw(self, who: str) -> None:
        amount = self.oracle.balance[who]
        receipt = self.call(amount > 0, who, "withdraw")
        if receipt:
            assert receipt.event("BalanceWithdrawn")["amount"] == amount
            self._pay(who, amount)
            self.oracle.balance[who] = 0

    def withdraw_bond(self, who: str) -> None:
        amount = self.oracle.bond[who]
        receipt = self.call(self.oracle.may_withdraw_bond(who, self.next), who, "withdrawBond")
        if receipt:
            assert receipt.event("BondWithdrawn")["amount"] == amount
            self._pay(who, amount)
            self.oracle.bond[who] = 0

    def _pay(self, who: str, amount: int) -> None:
        self.received[who] = self.received.get(who, 0) + amount

    # ------------------------------------------------------------------------------------------- ends of the job

    def cancel(self, who: str) -> None:
        receipt = self.call(self.oracle.may_cancel(who, self.next), who, "cancelJob")
        if receipt:
            self.oracle.was_cancelled(receipt.time)

    def finalize(self, who: str) -> None:
        if self.call(self.oracle.may_finalize(self.next), who, "finalizeJob"):
            self.oracle.was_finalized()

    def expel(self, client: str) -> None:
        self.call(True, self.job.owner, "expel", client)
        self.expelled.add(client)

    # --------------------------------------------------------------------------------------- challenges, demands

    def announce(self, who: str, commit: Commit, index: int, node: int = 0) -> None:
        receipt = self.job.announce(who, commit, index, node=node)
        self.oracle.announced[who, commit.finding(who, index, SALT, node)] = receipt.time

    def challenge(self, who: str, commit: Commit, index: int, node: int = 0) -> None:
        due = self.oracle.may_challenge(who, commit, node, index, SALT, self.next)
        receipt = self.call(due, who, "challenge", *challenge_arguments(commit, index, node=node))
        if receipt and self.oracle.was_refuted(commit, who, True, receipt.time):
            self.job.rolled_back(commit)

    def demand(self, who: str, commit: Commit, index: int, salt: bytes = ZERO, excess: int = 0, node: int = 0) -> None:
        value = self.job.terms["demandDeposit"] * (self.oracle.open_on(commit.server) + 1) + excess
        due = self.oracle.may_demand(commit, node, index, self.next)
        receipt = self.call(due, who, "demand", commit.record, node, index, salt, value=value)
        if receipt:
            self.oracle.was_demanded(commit, node, index, who, salt, value, receipt.time)

    def answer(self, who: str, demand: Demand) -> None:
        due = self.oracle.may_answer(demand, self.next)
        receipt = self.call(due, who, "answer", *answer_arguments(demand))
        if receipt:
            self.oracle.was_answered(demand, who, receipt.time)

    def expire(self, who: str, demand: Demand) -> None:
        due = self.oracle.may_expire(demand, self.next)
        receipt = self.call(due, who, "expire", demand.commit.record, demand.node, demand.index)
        if receipt and self.oracle.was_expired(demand, receipt.time):
            self.job.rolled_back(demand.commit)

    # ------------------------------------------------------------------------------------------------ what is so

    def probe(self, who: Sequence[str]) -> None:
        """Ask of calls that depend on turns and windows whether they would go through now, and compare.

        By one of the accounts at a time, and only where the answer is not plain.
        """
        oracle, now, job = self.oracle, self.chain.now, self.job
        self.probed += 1
        address = who[self.probed % len(who)]
        if following := job.commits.get(oracle.settled + 1):
            self._ask(oracle.may_settle(following, now), address, "settle", following.record)
        if oracle.newest:
            due = oracle.may_supersede(address, oracle.newest, now)
            self._ask(due, address, "supersede", oracle.newest.record)
        if oracle.closes_at != NEVER and not oracle.final:
            self._ask(oracle.may_reopen(address, now), address, "reopenRound", job.number, job.attempt.head)
            uploads = len(job.attempt.uploads)
            excluded = range(min(uploads - 1, job.terms["maxExcluded"] + 1) if self.probed % 2 else 0)
            arguments = job.commit_arguments(job.aggregate(excluded), excluded)
            self._ask(oracle.may_commit(address, excluded, now), address, "commitRound", *arguments)
        for demand in oracle.demands.values():
            self._ask(oracle.may_answer(demand, now), address, "answer", *answer_arguments(demand))
            place = demand.commit.record, demand.node, demand.index
            self._ask(oracle.may_expire(demand, now), address, "expire", *place)
        if oracle.bond[address]:
            self._ask(oracle.may_withdraw_bond(address, now), address, "withdrawBond")
        if oracle.cancelled or oracle.settled:
            self._ask(oracle.may_finalize(now), address, "finalizeJob")

    def _ask(self, due: bool, who: str, name: str, *arguments: Any) -> None:
        """As `call`, of something that is only tried."""
        try:
            refusal: object = self.job.refusal(who, name, *arguments)
        except AssertionError:
            refusal = None
        if due == bool(refusal):
            self.broken = (
                f"{name} by {who} is {'' if due else 'not '}due and would {'not ' if due else ''}go through: {refusal}"
            )
            raise AssertionError(self.broken)

    def check(self) -> None:
        """The ledger has what the oracle says, and the money to pay it."""
        kept, job, oracle = self.chain.view("jobOf", self.job.id), self.job, self.oracle
        state = kept.state
        assert self.chain.balance(self.chain.ledger.address) == oracle.owed
        assert (kept.pool, kept.allotted) == (job.pool, job.allotted)
        assert (kept.head, kept.root) == (job.attempt.head, job.root_of(job.attempt.model))
        assert (state.round, state.attempt, state.origin) == (job.round, job.number, job.attempt.number)
        assert (state.settled, state.lastRound, state.highest) == (oracle.settled, oracle.last_round, oracle.highest)
        assert (state.closesAt, state.activeAt) == (oracle.closes_at, oracle.active_at)
        assert (state.built, state.cancelled, state.status == 2) == (oracle.built, oracle.cancelled, oracle.final)
        assert state.reopenings == oracle.reopenings

    def check_accounts(self, who: Sequence[str]) -> None:
        for address in who:
            account = self.job.account(address)
            assert (account.bond, account.balance) == (self.oracle.bond[address], self.oracle.balance[address])
            assert (account.barred, account.late) == (address in self.oracle.barred, address in self.oracle.late)
            assert account.demands == self.oracle.open_on(address)


def answer_arguments(demand: Demand) -> tuple[Any, ...]:
    commit, node, index = demand.commit, demand.node, demand.index
    return commit.record, node, index, commit.openings(index, node)


def places(commit: Commit) -> list[tuple[int, int]]:
    """Everything that can be asked of a commit: nodes and chunks."""
    nodes = len(commit.nodes.nodes) if commit.nodes else 0
    return [(node, index) for node in range(nodes + 1) for index in CHUNKS]


class Honest:
    """The honest of a job. They guard within the times that the protocol asks of them, and know what is not withheld.

    Attributes:
        lapsed: whether they have let the job become idle.
        training: how long all but the first client train, in seconds.
        anew: whether they train for every attempt, as in jobs that reveal after close; else once for every model.
    """

    training = 0
    anew = False

    def __init__(
        self, game: Game, server: str, watchtower: str, clients: Sequence[str], probers: Sequence[str] = ()
    ) -> None:
        self.game = game
        self.probers = probers or [server, watchtower]
        self.server = server
        self.watchtower = watchtower
        self.clients = clients
        self.known = {id(game.job.attempt.model)}
        self.trained: dict[tuple[str, int], Upload] = {}
        self.training_since: dict[int, int] = {}
        self.lapsed = False

    # ------------------------------------------------------------------------------------------- what they know

    def knows(self, commit: Commit) -> bool:
        """Whether they can have all that opens it: the updates, the model before and the model after."""
        before = id(commit.attempt.model) in self.known
        return before and commit not in self.game.hidden and self.game.hidden.isdisjoint(commit.included)

    def learn(self) -> None:
        """Models that are shown, and right ones that can be recomputed."""
        for commit in self.game.made:
            shown = commit not in self.game.hidden
            recomputed = (
                id(commit.attempt.model) in self.known
                and self.game.hidden.isdisjoint(commit.included)
                and not any(self.game.oracle.wrong(commit, index, node) for node, index in places(commit))
            )
            if shown or recomputed:
                self.known.add(id(commit.next))

    @property
    def model_known(self) -> bool:
        return id(self.game.job.attempt.model) in self.known

    # --------------------------------------------------------------------------------------------- what they do

    def guard(self) -> bool:
        """Answer, challenge, supersede and build, as far as it is due; says whether anything was done."""
        self.learn()
        game, oracle = self.game, self.game.oracle
        for demand in list(oracle.demands.values()):
            if oracle.may_expire(demand, game.next):
                game.expire(self.watchtower, demand)
                return True
            if oracle.may_answer(demand, game.next) and self.knows(demand.commit):
                game.answer(self.server, demand)
                return True
        for commit in game.made:
            if oracle.answerable(commit) and oracle.in_window(commit, game.next + 1) and self.knows(commit):
                for node, index in places(commit):
                    if oracle.wrong(commit, index, node):
                        game.announce(self.watchtower, commit, index, node)
                        game.challenge(self.watchtower, commit, index, node)
                        return True
        newest = oracle.newest
        if newest is not None and not self.model_known and oracle.may_supersede(self.server, newest, game.next):
            game.supersede(self.server, newest)
            return True
        # They have trained by then.
        age = game.next - newest.time if newest else 0
        return self.model_known and 2 * age >= game.job.terms["idleSeconds"] and not oracle.built and self.hand_in()

    def hand_in(self) -> bool:
        game = self.game
        model = game.job.number if self.anew else id(game.job.attempt.model)
        since = self.training_since.setdefault(model, game.chain.now)
        done = False
        for place, client in enumerate(self.clients):
            if place and game.chain.now < since + self.training:
                continue
            upload = self.trained.setdefault((client, model), game.job.upload(client))
            if game.oracle.may_submit(upload, game.next) and client not in game.expelled:
                game.submit(upload)
                done = True
        return done

    def signed(self, client: str) -> Upload | None:
        """What an honest client has signed for this attempt, which anybody may hand in: it has trained by then."""
        model = self.game.job.number if self.anew else id(self.game.job.attempt.model)
        return self.trained.get((client, model))

    def act(self) -> bool:
        """One of the things that are due; says whether there was one."""
        game, oracle, job = self.game, self.game.oracle, self.game.job
        if self.guard():
            return True
        following = job.commits.get(oracle.settled + 1)
        if following and oracle.may_settle(following, game.next):
            game.settle(self.watchtower, following)
            return True
        if oracle.running and self.model_known:
            if self.hand_in():
                return True
            if oracle.closes_at <= game.next:
                missing = [n for n, upload in enumerate(job.attempt.uploads) if upload in game.hidden]
                if oracle.may_commit(self.server, missing, game.next):
                    game.commit(self.server, missing)
                    return True
                left = len(job.attempt.uploads) - len(missing)
                late = self.server in oracle.late and oracle.after_rollback
                if (left < job.terms["minUpdates"] or late) and oracle.may_reopen(self.server, game.next):
                    game.reopen(self.server)
                    return True
        if oracle.may_finalize(game.next):
            game.finalize(self.watchtower)
            return True
        if oracle.may_cancel(self.watchtower, game.next):
            game.cancel(self.watchtower)
            return True
        return False

    def times(self) -> list[int]:
        """When something may become due."""
        oracle, terms = self.game.oracle, self.game.job.terms
        times = [oracle.idle_at, *(since + self.training + 1 for since in self.training_since.values())]
        if oracle.closes_at != NEVER:
            times += [oracle.closes_at + turn * terms["aggregateSeconds"] for turn in range(5)]
        for commit in self.game.made:
            if oracle.answerable(commit):
                idle = terms["idleSeconds"]
                times += [commit.time + idle // 2, commit.time + idle, commit.time + 2 * idle]
                times.append(self.game.job.window_end(commit))
        return times + [demand.answer_by for demand in oracle.demands.values()]

    def wait(self, until: int) -> None:
        """Let time pass, guarding what is theirs meanwhile."""
        while True:
            while self.guard():
                pass
            now = self.game.chain.now
            self.lapsed |= self.game.oracle.running and now >= self.game.oracle.idle_at
            if now >= until:
                return
            # The transaction that is sent at `to` has time `to + 1`.
            following = [time - 1 for time in self.times() if time - 1 > now]
            self.game.chain.travel(min([until, *following]))
            self.game.probe(self.probers)

    def finish(self, interfere: Callable[[], object] = lambda: None) -> None:
        """Play on until the job has ended and everything is out, while others interfere before everything they do.

        Raises:
            AssertionError: it doesn't end, or somebody doesn't get out what is his own.
        """
        game, oracle = self.game, self.game.oracle
        for _ in range(600):
            if oracle.final:
                break
            interfere()
            if not self.act():
                following = [time - 1 for time in self.times() if time - 1 > game.chain.now]
                assert following, "nothing is due, now or ever, and the job has not ended"
                game.chain.travel(min(following))
                game.probe(self.probers)
        else:
            raise AssertionError("the job does not end")
        self._take_out()

    def _take_out(self) -> None:
        game, oracle = self.game, self.game.oracle
        members = [self.server, self.watchtower, *self.clients]
        for commit in oracle.settled_commits.values():
            mine = [n for n, upload in enumerate(commit.attempt.uploads) if upload.client in self.clients]
            if oracle.claimable(commit, mine):
                game.claim(self.watchtower, commit, mine)
            for number in mine:
                assert (
                    number in commit.excluded or commit.client_amount == 0 or (commit.round, number) in oracle.claimed
                )
        # What is open is on records that were superseded, or void.
        while oracle.demands:
            demand = next(iter(oracle.demands.values()))
            if not oracle.may_expire(demand, game.next):
                if self.knows(demand.commit) and oracle.may_answer(demand, game.next):
                    game.answer(self.server, demand)
                    continue
                game.chain.travel(demand.answer_by)
            game.expire(self.watchtower, demand)
        game.chain.travel(max(oracle.locked[member] for member in members))
        for member in members:
            if oracle.balance[member]:
                game.withdraw(member)
            if oracle.bond[member]:
                game.withdraw_bond(member)
