"""A random walk through the life of a job on the contract: whatever anybody may try, honest or not, at any time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from galaxy_chain.following.turns import (
    commit_from,
    exclude_any_from,
    idle_from,
    reopen_from,
    settle_from,
    supersede_from,
)
from galaxy_chain.ledger.structs import NEVER
from tests.contracts.ledger import ETHER, Chain, Commit, Job, Reverted
from tests.contracts.sums import ALTERATIONS
from tests.galaxy_chain.following.on_contract import Followed

__all__ = ["TERMS", "Walk"]

TERMS: dict[str, Any] = {
    "rounds": 4,
    "collectSeconds": 20,
    "aggregateSeconds": 100,
    "answerSeconds": 300,
    "challengeSeconds": 8_400,
    "idleSeconds": 4_000,
    "maxUnsettled": 2,
    "maxExcluded": 0,
    "maxUpdates": 6,
    "fanIn": 2,
}
WRONG_CHUNK = {"a lane": 1, "the last lane": 2, "the weight": 0, "above the range": 0, "far above the range": 0}
"""A chunk that shows what a liar has made of a node."""
SALT = b"salt".ljust(32, b"\1")


class Walk:
    """Takes random steps.

    Attributes:
        servers: those with a bond, the named one first.
        crowd: clients without ether, whose signed updates others hand in.
        lies: a node and a chunk of wrong commits, by their word.
        done: how often each thing was done, by its name.
    """

    def __init__(self, chain: Chain, seed: int, **terms: Any) -> None:
        self.chance = Random(seed)
        self.job = Job(chain, pool=ETHER, **(TERMS | terms)).prepare()
        self.servers = chain.accounts[1:2] + chain.accounts[5:8]
        for server in self.servers[1:]:
            self.job.bond(server)
        self.crowd = self.job.crowd_of(4)
        self.lies: dict[bytes, tuple[int, int]] = {}
        self.followed = Followed(chain, self.job)
        self.done: dict[str, int] = {}

    def step(self) -> None:
        """Tries one thing after the other until the ledger does not refuse one; says which were done in `done`."""
        actions: list[tuple[int, Callable[[], Any]]] = [
            (7, self.submit), (7, self.hand_in), (6, self.travel), (9, self.commit), (3, self.reopen), (6, self.supersede),
            (3, self.challenge), (5, self.demand), (3, self.answer), (3, self.expire), (5, self.settle), (3, self.claim),
            (1, self.withdraw), (1, self.withdraw_bond), (2, self.deposit), (1, self.fund), (1, self.cancel),
            (2, self.finalize), (1, self.expel), (1, self.keys),
        ]  # fmt: skip
        weights, acts = zip(*actions, strict=True)
        for act in self.chance.choices(acts, weights, k=12):
            with suppress(Reverted):
                act()
                self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
                return

    def _known(self) -> Commit:
        if not self.followed.commits:
            raise Reverted("nothing is committed")
        return self.chance.choice(self.followed.commits[-4:])

    def _newest(self) -> Commit:
        if not self.job.commits:
            raise Reverted("nothing is committed")
        return self.job.commits[max(self.job.commits)]

    def submit(self) -> None:
        there = {upload.client for upload in self.job.attempt.uploads}
        waiting = [client for client in self.job.clients if client not in there]
        self.job.submit(self.chance.choice(waiting or self.job.clients), weight=self.chance.randint(1, 100))

    def hand_in(self) -> None:
        """What some of the crowd have signed, among it entries for which it is too late."""
        there = {upload.client for upload in self.job.attempt.uploads} | self.followed.history.expelled
        room = self.job.terms["maxUpdates"] - len(self.job.attempt.uploads)
        signed = [
            self.job.upload(client, weight=self.chance.randint(1, 100))
            for client in self.chance.sample(self.crowd, self.chance.randint(1, 4))
        ]
        self.job.send(self.chance.choice(self.job.chain.accounts), "submitUpdates", *self.job.signed_arguments(signed))
        self.job.accept([upload for upload in signed if upload.client not in there][:room])

    def travel(self) -> None:
        """To a little before, or after, a time at which something changes."""
        history, account = self.followed.history, self.chance.choice(self.servers)
        times = [
            commit_from(history, account), reopen_from(history, account), supersede_from(history, account),
            settle_from(history), idle_from(history), history.closes_at, exclude_any_from(history),
            *(demand.answer_by for waiting in history.demands.values() for demand in waiting.values()),
            *(commit.record.time + history.terms.challenge_seconds for commit in history.commits.values()),
        ]  # fmt: skip
        now = self.job.chain.now
        later = [time for time in times if time is not None and now < time < NEVER]
        if later:
            self.job.chain.travel(self.chance.choice(later) - self.chance.choice((2, 1, 0, -1)))

    def commit(self) -> None:
        uploads = len(self.job.attempt.uploads)
        excluded = [n for n in range(uploads) if self.chance.random() < 0.15]
        server = self.chance.choice(self.servers)
        if uploads - len(excluded) < 1:
            raise Reverted("too few")
        salt = SALT if self.chance.random() < 0.5 else bytes(32)
        right = self.job.sums(excluded)
        node = 0 if right is None else self.chance.randint(0, len(right.nodes))
        if self.chance.random() >= 0.3:
            commit = self.job.commit(server, None, excluded, salt)
        elif node == 0:
            model = self.job.aggregate(excluded)
            model[0] += 1
            commit = self.job.commit(server, model, excluded, salt)
            self.lies[commit.word] = (0, 0)
        else:
            how = self.chance.choice(sorted(WRONG_CHUNK))
            commit = self.job.commit(server, None, excluded, salt, {node: ALTERATIONS[how]})
            self.lies[commit.word] = (node, WRONG_CHUNK[how])
        self.followed.commits.append(commit)

    def reopen(self) -> None:
        self.job.reopen(self.chance.choice(self.servers))

    def supersede(self) -> None:
        self.job.supersede(self.chance.choice(self.servers), self._newest())

    def challenge(self) -> None:
        commit = self._known()
        if commit.word not in self.lies and self.chance.random() < 0.9:
            raise Reverted("it is right")
        node, index = self.lies.get(commit.word, (0, 0))
        self.job.challenge(self.chance.choice(self.job.chain.accounts), commit, index, node)

    def demand(self) -> None:
        salt = SALT if self.chance.random() < 0.5 else bytes(32)
        commit, extra = self._known(), self.chance.choice((0, 7))
        price = self.job.terms["demandDeposit"] * (self.job.account(commit.server).demands + 1)
        self.job.demand(
            self.chance.choice(self.job.chain.accounts), commit, self.chance.randrange(3), salt, price + extra,
            node=self.chance.randint(0, 0 if commit.nodes is None else len(commit.nodes.nodes)),
        )  # fmt: skip

    def answer(self) -> None:
        commit, node, index = self._demanded()
        self.job.answer(self.chance.choice(self.job.chain.accounts), commit, index, node)

    def _demanded(self) -> tuple[Commit, int, int]:
        words = {commit.word: commit for commit in self.followed.commits}
        waiting = [(words[word], *place) for word, places in self.followed.history.demands.items() for place in places]
        if not waiting:
            raise Reverted("nothing is demanded")
        return self.chance.choice(waiting)

    def expire(self) -> None:
        commit, node, index = self._demanded()
        self.job.expire(self.chance.choice(self.job.chain.accounts), commit, index, node)

    def settle(self) -> None:
        commit = self.job.commits.get(self.followed.history.settled + 1) or self._known()
        self.job.send(self.job.owner, "settle", commit.record)

    def claim(self) -> None:
        commit = self._known()
        count = len(commit.attempt.uploads)
        self.job.claim(commit, [n for n in range(count) if self.chance.random() < 0.5])

    def withdraw(self) -> None:
        self.job.send(self.chance.choice(self.job.chain.accounts), "withdraw")

    def withdraw_bond(self) -> None:
        if self.chance.random() < 0.7:
            raise Reverted("not now")
        self.job.send(self.chance.choice(self.servers), "withdrawBond")

    def deposit(self) -> None:
        server = self.chance.choice(self.servers)
        if self.followed.history.account(server).bond:
            raise Reverted("it has one")
        self.job.bond(server)

    def fund(self) -> None:
        self.job.send(self.job.clients[0], "fund", value=self.chance.randrange(1, 10**9))

    def cancel(self) -> None:
        # Not before there is anything to end.
        own = self.followed.commits and self.chance.random() < 0.1
        sender = self.job.owner if own else self.job.clients[0]
        self.job.send(sender, "cancelJob")

    def finalize(self) -> None:
        self.job.send(self.job.clients[0], "finalizeJob")

    def keys(self) -> None:
        self.job.send(self.job.clients[0], "registerKey", self.chance.randbytes(32))
        self.job.send(self.job.owner, "shareKey", self.chance.randbytes(1) * 32, b"wraps")

    def expel(self) -> None:
        if self.followed.history.expelled or self.chance.random() < 0.9:
            raise Reverted("not now")
        self.job.send(self.job.owner, "expel", self.chance.choice([self.job.clients[2], self.crowd[0]]))
