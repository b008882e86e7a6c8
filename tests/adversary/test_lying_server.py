"""A server that commits something else than what the updates make loses its bond, and another finishes the round."""

from __future__ import annotations

import pytest

from galaxy_chain.audit import Auditor, WrongAggregateError
from galaxy_chain.challenge import challenge
from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.exceptions import LedgerRefusedError
from galaxy_chain.ledger.structs import Model
from galaxy_chain.store import LocalStore
from galaxy_chain.verification import Verify
from galaxy_fl.exceptions import RoundMovedOnError
from tests.adversary.arena import (
    BOND,
    WRONG,
    LeavesOneOut,
    OffByOne,
    OtherContent,
    TakesOneTwice,
    events,
    finish,
    found,
    honest_root,
    looks,
    punished,
    rival,
    serve_round,
    server,
    stranger,
    tower,
)
from tests.galaxy_chain.federation import CHUNK, PATIENCE, SAMPLES, made_up


@pytest.fixture
def collected(federation):
    """Three updates are in."""
    federation.submit(0, 1, 2)
    return federation


@pytest.mark.parametrize("how", ["full", "sample:3"])
def test_off_by_one_is_challenged_by_a_client_before_it_trains(collected, how):
    honest = honest_root(collected)
    serve_round(server(collected, OffByOne))
    client = LedgerClientCoordinator(
        collected.ledger(collected.clients[0]), collected.store, collected.job, PATIENCE, verify=Verify.parse(how)
    )
    client.enter(SAMPLES)
    challenged = []
    client.challenged = lambda commit, chunk: challenged.append((commit.record.round, chunk))
    round = client.round()
    assert client.wants_update(round)
    with pytest.raises(RoundMovedOnError, match="round 1 was committed wrongly, and has been challenged"):
        client.model(round)
    assert challenged == [(1, WRONG // CHUNK)]
    assert not client.wants_update(client.round())
    punished(collected, collected.clients[0])
    finish(collected, honest)
    assert client.wants_update(client.round())
    assert client.model(client.round()).exists()


def test_off_by_one_is_challenged_by_the_watchtower(collected):
    honest = honest_root(collected)
    serve_round(server(collected, OffByOne))
    watching = tower(collected)
    assert found(watching.look()) == [("challenged", WRONG // CHUNK)]
    punished(collected, collected.node.accounts[6])
    assert watching.look() == []
    finish(collected, honest)


def test_off_by_one_is_challenged_by_an_audit(collected):
    honest = honest_root(collected)
    serve_round(server(collected, OffByOne))
    auditor = Auditor(collected.ledger(stranger(collected)), LocalStore(collected.store.root), collected.job)
    with pytest.raises(WrongAggregateError) as caught:
        list(auditor.rounds())
    challenge(auditor.ledger, auditor.verifier, collected.job, auditor.history, caught.value.commit, caught.value.chunk)
    punished(collected, stranger(collected))
    finish(collected, honest)


@pytest.mark.parametrize("kind", [LeavesOneOut, TakesOneTwice])
def test_an_update_left_out_silently_or_taken_twice(collected, kind):
    honest = honest_root(collected)
    serve_round(server(collected, kind))
    assert collected.ledger().job(collected.job).root != honest
    assert looks(tower(collected)) == ["challenged"]
    punished(collected, collected.node.accounts[6])
    finish(collected, honest)


def test_the_job_ends_with_the_model_of_an_honest_run(collected):
    """Two rounds, of which a server has the second wrong, after others have trained on a right first one."""
    serve_round(server(collected))
    collected.submit(0, 1, 2, seed=2)
    honest = honest_root(collected)
    serve_round(server(collected, OffByOne))
    assert looks(tower(collected)) == ["right", "challenged"]
    punished(collected, collected.node.accounts[6], round=2)
    finish(collected, honest)
    assert [audited.round for audited in Auditor(collected.ledger(), collected.store, collected.job).rounds()] == [1, 2]


def test_what_was_built_on_a_lie_falls_with_it(collected):
    honest = honest_root(collected)
    serve_round(server(collected, OffByOne))
    collected.submit(0, 1, 2, seed=2)
    serve_round(server(collected, account=rival(collected)))
    assert looks(tower(collected)) == ["challenged"]
    punished(collected, collected.node.accounts[6])
    finish(collected, honest)


def test_the_right_root_with_other_content_is_healed_and_nobody_is_punished(collected):
    honest = honest_root(collected)
    serve_round(server(collected, OtherContent))
    assert collected.ledger().job(collected.job).root == honest
    client = collected.client(0)
    healed = client.model(client.round())
    assert healed.read_bytes() != made_up(4711).tobytes()
    assert looks(tower(collected)) == ["right"]
    assert events(collected, "BondSlashed") == []
    assert collected.ledger().account(collected.job, collected.server).amount == BOND


def test_a_server_that_challenges_itself_loses_half_of_its_bond(collected):
    honest = honest_root(collected)
    serve_round(server(collected, OffByOne))
    puppet = stranger(collected)
    before = collected.rpc.number("eth_getBalance", puppet, "latest")
    accomplice = server(collected, account=puppet)
    commit = accomplice.history.commits[1]
    challenge(accomplice.ledger, accomplice.verifier, collected.job, accomplice.history, commit, WRONG // CHUNK)
    punished(collected, puppet)
    gained = collected.rpc.number("eth_getBalance", puppet, "latest") - before
    assert BOND * 49 // 100 < gained <= BOND // 2  # less what the transaction cost
    with pytest.raises(LedgerRefusedError, match="barred"):
        server(collected).enter()
    finish(collected, honest)


def test_of_two_challengers_the_second_loses_nothing(collected):
    serve_round(server(collected, OffByOne))
    first, second = tower(collected), server(collected, account=stranger(collected))
    assert looks(first) == ["challenged"]
    late = challenge(second.ledger, second.verifier, collected.job, second.history, second.history.commits[1], 1)
    assert late is None


def test_a_round_that_is_not_closed_can_not_be_committed(federation):
    federation.submit(0, 1)
    serving = server(federation)
    serving.enter()
    model = Model(b"\1" * 32, b"\2" * 32)
    with pytest.raises(RoundMovedOnError, match="still takes updates"):
        serving.ledger.transact("commitRound", federation.job, 1, serving.history.head, model, [])
    assert federation.ledger().job(federation.job).state.round == 1
    federation.submit(2)
    finish(federation, honest_root(federation))


def test_an_honest_client_that_is_excluded_is_seen_and_only_as_many_as_the_job_allows(collected):
    serving = server(collected)
    serving.enter()
    round = serving.round()
    victims = serving.updates(round)
    honest = honest_root(collected, 0)
    head = serving.history.head
    two = sorted([collected.clients[0], collected.clients[1]], key=lambda a: int(a, 16))
    with pytest.raises(LedgerRefusedError, match="TooManyExcluded"):
        serving.ledger.transact("commitRound", collected.job, 1, head, Model(honest, honest), two)
    collected.commit(excluded=(0,))
    assert collected.ledger().job(collected.job).root == honest
    assert victims[0].client == collected.clients[0]
    (audited,) = Auditor(collected.ledger(), collected.store, collected.job).rounds()
    assert audited.excluded == (collected.clients[0],)
    credits = [collected.ledger().client(collected.job, client).credits for client in collected.clients]
    assert credits == [0, 1, 1]
    assert looks(tower(collected)) == ["right"]  # nothing that could be challenged


def test_who_is_excluded_without_having_submitted_is_avenged_and_gets_its_credit_back(federation):
    """Possible after a rollback alone: the client has submitted to the attempt that fell."""
    federation.job = federation.register(min_updates=1, max_updates=2)
    federation.submit(0, 1)
    serve_round(server(federation, OffByOne))
    federation.submit(0, 2, seed=2)
    assert looks(tower(federation)) == ["challenged"]
    assert federation.ledger().client(federation.job, federation.clients[2]).credits == 1
    honest = honest_root(federation)
    again = server(federation, account=rival(federation))
    again.enter()
    again.round()
    model = Model(honest, federation.store.put(federation.aggregate(again, {}).data).digest)
    again.ledger.transact(
        "commitRound", federation.job, again.history.attempt, again.history.head, model, [federation.clients[2]]
    )
    assert federation.ledger().client(federation.job, federation.clients[2]).credits == 0
    assert looks(tower(federation)) == ["challenged"]
    assert federation.ledger().account(federation.job, rival(federation)).barred
    assert federation.ledger().client(federation.job, federation.clients[2]).credits == 1
