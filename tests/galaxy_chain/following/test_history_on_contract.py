"""The fold of a job's events is where the contract is, and says what it will take, whatever happened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from galaxy_chain.following.claims import claims, earnings
from galaxy_chain.following.turns import (
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
from tests.contracts.sums import ALTERATIONS
from tests.galaxy_chain.following.walk import Walk

STEPS = 40


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

    uploads, tree = len(job.attempt.uploads), job.sums()
    nodes = (b"" if tree is None else tree.packed, bytes(32))
    model = (history.model.root, bytes(32))
    settled_next = job.commits.get(history.settled + 1)
    newest = job.commits.get(history.round - 1)
    for account in (walk.servers[0], walk.servers[1]):
        bonded = history.account(account).bond >= history.terms.bond
        calls = job.number, history.head, model
        commits = bonded and due(commit_from(history, account))
        assert taken(walk, account, "commitRound", *calls, bit_map((), uploads), *nodes, bytes(32)) == commits
        if commits:
            for count in range(uploads + 1):
                allowed = count <= most_excluded(history, now)
                arguments = (*calls, bit_map(range(count), uploads), *nodes, bytes(32))
                assert taken(walk, account, "commitRound", *arguments) == allowed
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


def test_a_superseded_commit_is_followed_to_its_slash_and_the_rounds_to_their_pay(chain):
    walk = Walk(chain, 0, server=chain.accounts[1], maxExcluded=1)
    job, followed = walk.job, walk.followed
    other, watcher = walk.servers[1], chain.accounts[8]

    def follow(commit=None):
        followed.commits += [] if commit is None else [commit]
        followed.follow()
        followed.check()
        check_turns(walk)

    job.collect()
    follow(withheld := job.commit())
    chain.travel(supersede_from(followed.history, other))
    job.supersede(other, withheld)
    follow()
    job.demand(watcher, withheld, salt=b"\5" * 32)
    follow()
    chain.travel(job.demand_of(withheld).answerBy)
    job.expire(watcher, withheld)
    follow()
    assert followed.history.account(watcher).balance > followed.history.terms.demand_deposit
    follow(first := job.commit(other, excluded=[1], salt=b"\6" * 32))
    job.collect()
    follow()
    chain.travel(settle_from(followed.history))
    job.settle(first)
    follow()
    client = job.clients[2]
    (claim,) = claims(followed.history, [client])
    assert earnings(followed.history, client).claimable == claim.total
    job.send(watcher, "claim", first.record, claim.submissions)
    follow()
    assert earnings(followed.history, client).claimable == 0
    assert earnings(followed.history, client).balance == claim.total == job.account(client).balance
    assert claims(followed.history, [job.clients[1]]) == []  # it was left out


def test_rounds_of_batches_and_nodes_are_followed_through_demands_and_lies(chain):
    walk = Walk(chain, 0, server=chain.accounts[1], maxExcluded=1, fanIn=4, maxUpdates=150, collectSeconds=1_000)
    job, followed = walk.job, walk.followed
    crowd = [*walk.crowd, *job.crowd_of(126, first=100)]
    watcher = chain.accounts[8]

    def follow(commit=None, check=True):
        followed.commits += [] if commit is None else [commit]
        history = followed.follow()
        if check:
            followed.check()
        return history

    def hand_in(clients, check=True):
        job.submit_signed([job.upload(client) for client in clients], chain.accounts[7])
        return follow(check=check).state

    # Blocks of four and of one, across segments: 60 of one entry each would be a segment, and so are these.
    assert (hand_in(crowd[:10]).blocks, hand_in(crowd[10:11]).blocks) == (3, 4)
    job.submit(job.clients[0])
    assert follow().state.blocks == 5
    for first in range(11, 61):
        hand_in(crowd[first : first + 1], check=first % 10 == 0)
    state = hand_in(crowd[61:90])
    assert (state.blocks, state.shut) == (63, 0)
    state = hand_in(crowd[90:130])
    assert (state.blocks, state.shut, state.updates) == (9, 95, 131)
    chain.travel(job.state.closesAt)
    lie = job.commit(alter={7: ALTERATIONS["a lane"]}, excluded=[5])
    history = follow(lie)
    assert len(history.commits[1].nodes) == 33 + 9 + 3 + 1
    for node in (0, 1, 7, 33, 34, 43, 46):
        job.demand(watcher, lie, 1, node=node)
    assert len(follow().open_demands(lie.word)) == 7
    for node in (0, 1, 33, 34, 43, 46):
        job.answer(job.server, lie, 1, node)
    history = follow()
    assert [(demand.node, demand.index) for demand in history.open_demands(lie.word)] == [(7, 1)]
    assert {len(opening.chunk) for opening in history.answers[lie.word].values()} == {32, 64}
    job.challenge(watcher, lie, 1, 7)
    history = follow()
    assert (history.round, history.origin, len(history.entries)) == (1, 1, 131)
    assert (history.state.blocks, history.state.shut) == (0, 0)
    follow(job.commit(walk.servers[1], excluded=[5]))
    check_turns(walk)
