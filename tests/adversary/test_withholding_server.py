"""A server that hides what it has committed, or what it was made of, has to prove it piece by piece."""

from __future__ import annotations

import pytest

from galaxy_chain.exceptions import LedgerRefusedError
from galaxy_chain.ledger.events import ChunkAnswered, ChunkDemanded
from galaxy_chain.verify.audit import Auditor
from galaxy_chain.verify.proofs import Proofs
from galaxy_fl.exceptions import ContentMissingError
from tests.adversary.arena import (
    ANSWER,
    BOND,
    OffByOne,
    events,
    fine_job,
    finish,
    found,
    honest_root,
    looks,
    private,
    punished,
    rival,
    serve_round,
    server,
    stranger,
    tower,
)

DEPTH = 5
DEPOSIT = 10**16


class OffBySomewhere(OffByOne):
    """Wrong in the parameter that the test says."""


@pytest.fixture
def fine(federation):
    """A job of five levels, of which three updates are in."""
    federation.job = fine_job(federation)
    federation.submit(0, 1, 2)
    return federation


@pytest.mark.parametrize("wrong", [0, 77, 100, 149])
def test_a_withheld_wrong_chunk_is_found_by_following_the_paths(fine, tmp_path, wrong):
    honest = honest_root(fine)
    OffBySomewhere.wrong = wrong
    lying = server(fine, OffBySomewhere, store=private(fine, tmp_path))
    serve_round(lying)
    watching = tower(fine)
    demanded = []
    while wrong // 8 not in demanded:
        ((verdict, chunk),) = found(watching.look())
        assert verdict == "demanded"
        demanded.append(chunk)
        lying.round()  # answers whatever it can
    assert len(demanded) == len(set(demanded)) <= DEPTH
    assert [event.index for event in events(fine, ChunkAnswered)] == demanded[:-1]
    assert watching.look() == []
    fine.travel(ANSWER + 100)
    lying.round()
    assert looks(watching) == ["expired"]
    demander = fine.node.accounts[6]
    punished(fine, demander)
    assert fine.ledger().account_of(fine.job, demander).balance == BOND // 4 + DEPOSIT
    watching.ledger.withdraw(fine.job).transact()
    finish(fine, honest)


def test_a_server_that_answers_nothing_loses_its_bond_to_the_first_demand(fine, tmp_path):
    honest = honest_root(fine)
    serve_round(server(fine, OffByOne, store=private(fine, tmp_path)))
    watching = tower(fine)
    assert looks(watching) == ["demanded"]
    fine.travel(ANSWER + 100)
    assert looks(watching) == ["expired"]
    punished(fine, fine.node.accounts[6])
    finish(fine, honest)


def test_the_ledger_takes_no_answer_that_shows_the_wrong_chunk(fine, tmp_path):
    OffBySomewhere.wrong = 0
    lying = server(fine, OffBySomewhere, store=private(fine, tmp_path))
    serve_round(lying)
    assert found(tower(fine).look()) == [("demanded", 0)]
    lying.round()
    commit = lying.history.commits[1]
    openings = Proofs(lying.verifier).openings(lying.history, commit, 0, 0).pack()
    with pytest.raises(LedgerRefusedError, match="CommitIsWrong"):
        lying.ledger.answer(fine.job, commit.record, 0, 0, openings).transact()


def test_demands_of_its_own_do_not_shield_a_lying_server(fine, tmp_path):
    honest = honest_root(fine)
    OffBySomewhere.wrong = 0
    lying = server(fine, OffBySomewhere, store=private(fine, tmp_path))
    serve_round(lying)
    accomplice = server(fine, account=stranger(fine))
    record = accomplice.history.commits[1].record
    for deposits, chunk in enumerate((5, 9), 1):
        accomplice.ledger.demand(fine.job, record, 0, chunk, bytes(32), value=deposits * DEPOSIT).transact()
    watching = tower(fine)
    assert found(watching.look()) == [("demanded", 0)]
    lying.round()
    assert sorted(event.index for event in events(fine, ChunkAnswered)) == [5, 9]
    fine.travel(ANSWER + 100)
    assert found(watching.look()) == [("expired", 0)]
    punished(fine, fine.node.accounts[6])
    assert fine.ledger().account_of(fine.job, fine.node.accounts[6]).balance == BOND // 4 + 3 * DEPOSIT
    finish(fine, honest)


def test_a_watchtower_that_is_started_again_goes_on_with_its_demand(fine, tmp_path):
    serve_round(server(fine, OffByOne, store=private(fine, tmp_path)))
    assert looks(tower(fine)) == ["demanded"]
    assert looks(tower(fine)) == []
    fine.travel(90_000)  # the window is over, the demand is not
    assert looks(tower(fine)) == ["expired"]
    punished(fine, fine.node.accounts[6])


def test_a_withheld_right_model_is_healed_by_whoever_recomputes_it(fine, tmp_path):
    honest = honest_root(fine)
    serve_round(server(fine, store=private(fine, tmp_path)))
    content = server(fine).history.commits[1].record.next.content
    with pytest.raises(ContentMissingError):
        fine.content(content)
    watching = tower(fine)
    assert looks(watching) == ["right"]
    assert fine.content(content).exists()
    assert fine.ledger().job_of(fine.job).root == honest
    assert events(fine, ChunkDemanded) == []
    client = fine.client(0)
    assert client.model(client.round()) == fine.content(content)


def test_an_honest_server_answers_every_demand_and_keeps_its_bond(fine):
    serving = server(fine)
    serve_round(serving)
    griefer = server(fine, account=stranger(fine))
    record = griefer.history.commits[1].record
    for deposits, chunk in enumerate((3, 0, 18), 1):
        griefer.ledger.demand(fine.job, record, 0, chunk, bytes(32), value=deposits * DEPOSIT).transact()
    serving.round()
    assert sorted(event.index for event in events(fine, ChunkAnswered)) == [0, 3, 18]
    assert fine.ledger().account_of(fine.job, fine.server).balance == 6 * DEPOSIT
    fine.travel(ANSWER + 100)
    with pytest.raises(LedgerRefusedError, match="is not demanded"):
        griefer.ledger.expire(fine.job, record, 0, 3).transact()
    at_stake = fine.ledger().account_of(fine.job, fine.server)
    assert (at_stake.bond, at_stake.demands, at_stake.barred) == (BOND, 0, False)


@pytest.fixture
def puppet(fine, tmp_path):
    """A round into which a server has taken an update that nobody else has seen; gives the server."""
    hidden = private(fine, tmp_path)
    submission = list(server(fine).history.entries)[2]
    assert submission.client == fine.clients[2]
    fine.content(submission.update.content).unlink()
    lying = server(fine, store=hidden)
    serve_round(lying)
    return lying


def test_a_silent_sock_puppets_update_is_demanded_and_the_bond_is_gone(fine, puppet):
    watching = tower(fine)
    assert looks(watching) == ["demanded"]
    assert looks(watching) == []
    fine.travel(ANSWER + 100)
    assert looks(watching) == ["expired"]
    punished(fine, fine.node.accounts[6])
    # Whoever goes on can't have the puppet's update either, and leaves it out for all to see.
    serve_round(server(fine, account=rival(fine)))
    (audited,) = Auditor(fine.ledger(), fine.store, fine.job).rounds()
    assert audited.excluded == (fine.clients[2],)
    assert looks(tower(fine)) == ["right"]


def test_an_answer_that_an_accomplice_has_asked_for_convinces_nobody(fine, puppet):
    accomplice = server(fine, account=stranger(fine))
    record = accomplice.history.commits[1].record
    accomplice.ledger.demand(fine.job, record, 0, 4, bytes(32), value=DEPOSIT).transact()
    puppet.round()
    assert [event.index for event in events(fine, ChunkAnswered)] == [4]
    assert looks(tower(fine)) == ["demanded"]


def test_a_server_that_opens_what_is_demanded_of_its_sock_puppet_is_let_off(fine, puppet):
    """What is not defended: they may choose that update after they have seen all others."""
    watching = tower(fine)
    assert looks(watching) == ["demanded"]
    puppet.round()
    assert len(events(fine, ChunkAnswered)) == 1
    (finding,) = watching.look()
    assert finding.verdict == "unknown"
    assert "proved a chunk, but not the rest" in finding.reason
    assert fine.ledger().account_of(fine.job, fine.server).bond == BOND
