"""A server that commits something else than what the updates make loses its bond, and another finishes the round."""

from __future__ import annotations

import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.exceptions import LedgerRefusedError
from galaxy_chain.ledger.events import BondSlashed
from galaxy_chain.verify.audit import Auditor, WrongAggregateError
from galaxy_chain.verify.challenge import challenge
from galaxy_chain.verify.how import Verify
from galaxy_fl.content import LocalStore
from galaxy_fl.exceptions import RoundMovedOnError
from tests.adversary.arena import (
    BOND,
    WRONG,
    LeavesOneOut,
    OffByOne,
    OtherContent,
    TakesOneTwice,
    commit_model,
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
    client.challenged = lambda commit, node, chunk: challenged.append((commit.record.round, chunk))
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
    challenge(
        auditor.ledger, auditor.verifier, collected.job, auditor.history, caught.value.commit, 0, caught.value.chunk
    )
    punished(collected, stranger(collected))
    finish(collected, honest)


@pytest.mark.parametrize("kind", [LeavesOneOut, TakesOneTwice])
def test_an_update_left_out_silently_or_taken_twice(collected, kind):
    honest = honest_root(collected)
    serve_round(server(collected, kind))
    assert collected.ledger().job_of(collected.job).root != honest
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
    assert collected.ledger().job_of(collected.job).root == honest
    client = collected.client(0)
    healed = client.model(client.round())
    assert healed.read_bytes() != made_up(4711).tobytes()
    assert looks(tower(collected)) == ["right"]
    assert events(collected, BondSlashed) == []
    assert collected.ledger().account_of(collected.job, collected.server).bond == BOND


def test_a_server_that_challenges_itself_loses_three_quarters_of_its_bond(collected):
    honest = honest_root(collected)
    serve_round(server(collected, OffByOne))
    puppet = stranger(collected)
    accomplice = server(collected, account=puppet)
    commit = accomplice.history.commits[1]
    challenge(accomplice.ledger, accomplice.verifier, collected.job, accomplice.history, commit, 0, WRONG // CHUNK)
    punished(collected, puppet)
    assert collected.ledger().account_of(collected.job, puppet).balance == BOND // 4
    with pytest.raises(LedgerRefusedError, match="barred"):
        server(collected).enter()
    finish(collected, honest)


def test_of_two_challengers_the_second_loses_nothing(collected):
    serve_round(server(collected, OffByOne))
    first, second = tower(collected), server(collected, account=stranger(collected))
    assert looks(first) == ["challenged"]
    late = challenge(second.ledger, second.verifier, collected.job, second.history, second.history.commits[1], 0, 1)
    assert late is None


def test_a_round_that_is_not_closed_can_not_be_committed(federation):
    federation.submit(0, 1)
    serving = server(federation)
    serving.enter()
    with pytest.raises(RoundMovedOnError, match="still takes updates"):
        commit_model(serving, b"\1" * 32, b"\2" * 32)
    assert federation.ledger().job_of(federation.job).state.round == 1
    federation.submit(2)
    finish(federation, honest_root(federation))


def test_an_honest_client_that_is_excluded_is_seen_and_only_as_many_as_the_job_allows(collected):
    collected.job = collected.register(min_clients=1)
    collected.submit(0, 1, 2)
    serving = server(collected)
    serving.enter()
    serving.round()
    honest = honest_root(collected, 0)
    with pytest.raises(LedgerRefusedError, match="2 updates are left out, but before .* no more than 1 may be"):
        commit_model(serving, honest, honest, (0, 1))
    collected.commit(excluded=(0,))
    assert collected.ledger().job_of(collected.job).root == honest
    (audited,) = Auditor(collected.ledger(), collected.store, collected.job).rounds()
    assert audited.excluded == (collected.clients[0],)
    assert f"{collected.clients[0]} was excluded, though its update is there and right" in audited.objections
    assert looks(tower(collected)) == ["right"]  # nothing that could be challenged


def test_nobody_can_be_excluded_who_has_not_submitted(collected):
    """Exclusions are bits of the entries' numbers: there is none of somebody else."""
    serving = server(collected)
    serving.enter()
    serving.round()
    for bits in (b"\x08", b"\x80", b"", b"\0\0"):  # three entries have the bits 1, 2 and 4
        with pytest.raises(LedgerRefusedError) as caught:
            serving.ledger.commit_round(
                collected.job, 1, serving.history.head, serving.history.initial, bits
            ).transact()
        assert caught.value.name == "MalformedExcluded"


def test_a_lone_server_may_leave_out_more_after_two_turns_and_is_seen(collected):
    """Not prevented: otherwise silent clients could stop a job. Whoever is bonded has two turns to come first."""
    collected.job = collected.register(min_clients=1, max_excluded=0)
    collected.submit(0, 1, 2)
    serving = server(collected)
    serving.enter()
    serving.round()
    honest = honest_root(collected, 0, 1)
    reasons = dict.fromkeys(serving.updates(serving.round())[:2], "")
    content = collected.store.put(collected.aggregate(serving, reasons).data)
    with pytest.raises(LedgerRefusedError, match="TooManyExcluded|before .* no more than 0 may be"):
        commit_model(serving, honest, content.digest, (0, 1))
    collected.travel(2 * 600 + 100)
    commit_model(serving, honest, content.digest, (0, 1))
    (audited,) = Auditor(collected.ledger(), collected.store, collected.job).rounds()
    assert audited.excluded == tuple(collected.clients[:2])
    assert len([each for each in audited.objections if "is there and right" in each]) == 2
