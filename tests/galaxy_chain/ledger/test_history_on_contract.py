"""The fold of a job's events is where the contract is, and says what it will take, whatever happened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from galaxy_chain.ledger.turns import (
    bond_free_from,
    cancel_from,
    commit_from,
    finalize_from,
    most_excluded,
    reopen_from,
    settle_from,
    supersede_from,
)
from tests.contracts.ledger import NOBODY, Chain, bit_map
from tests.galaxy_chain.ledger.walk import Walk

STEPS = 60


@pytest.fixture(scope="module")
def deployed() -> Chain:
    return Chain(accounts=9)


@pytest.fixture
def chain(deployed: Chain) -> Iterator[Chain]:
    snapshot = deployed.tester.take_snapshot()
    yield deployed
    deployed.tester.revert_to_snapshot(snapshot)


def taken(walk: Walk, account: str, name: str, *arguments) -> bool:
    """Whether the ledger would take a call now."""
    chain = walk.job.chain
    message = chain._message(account, chain.ledger, name, (walk.job.id, *arguments), 0)
    return chain._failure(message) is None


def check_turns(walk: Walk) -> None:
    """What the history says that the ledger takes at this time, it takes, and nothing else."""
    job, history, now = walk.job, walk.followed.history, walk.job.chain.now

    def due(time: int | None) -> bool:
        return time is not None and now >= time

    uploads = len(job.attempt.uploads)
    model = (history.model.root, bytes(32))
    settled_next = job.commits.get(history.settled + 1)
    newest = job.commits.get(history.round - 1)
    for account in (walk.servers[0], walk.servers[1]):
        bonded = history.account(account).bond >= history.terms.bond
        calls = job.number, history.head, model
        commits = bonded and due(commit_from(history, account))
        assert taken(walk, account, "commitRound", *calls, bit_map((), uploads), bytes(32)) == commits
        if commits:
            for count in range(uploads + 1):
                allowed = count <= most_excluded(history, now)
                assert taken(walk, account, "commitRound", *calls, bit_map(range(count), uploads), bytes(32)) == allowed
        assert taken(walk, account, "reopenRound", *calls[:2]) == (bonded and due(reopen_from(history, account)))
        if newest is not None:
            supersedes = bonded and due(supersede_from(history, account))
            until = newest.time + 2 * history.terms.idle_seconds
            assert taken(walk, account, "supersede", newest.record) == (supersedes and now < until)
        assert taken(walk, account, "withdrawBond") == due(bond_free_from(history, account))
    if settled_next is not None:
        assert taken(walk, job.clients[0], "settle", settled_next.record) == due(settle_from(history))
    assert taken(walk, job.owner, "cancelJob") == due(cancel_from(history, job.owner))
    assert taken(walk, job.clients[0], "cancelJob") == due(cancel_from(history, job.clients[0]))
    assert taken(walk, job.clients[0], "finalizeJob") == due(finalize_from(history))


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.extended) for seed in range(2, 60))]
)
def test_after_every_step_the_history_is_where_the_contract_is(chain, seed):
    walk = Walk(chain, seed, serverShare=2000 if seed % 2 else 333, server=chain.accounts[1] if seed % 3 else NOBODY)
    for step in range(STEPS):
        walk.step()
        walk.followed.follow()
        if step % 4 == 3:
            walk.followed.check()
            check_turns(walk)
    assert len(walk.done) > 5
