"""A server that dies is replaced by whoever wants the job to go on."""

from __future__ import annotations

import pytest

from galaxy_chain.coordinators import LedgerServerCoordinator
from galaxy_fl.exceptions import ConfigurationError, RoundMovedOnError
from galaxy_fl.rounds.coordinator import Phase
from tests.adversary.arena import (
    BOND,
    commit_model,
    finish,
    honest_root,
    looks,
    private,
    rival,
    serve_round,
    server,
    tower,
)
from tests.galaxy_chain.federation import PATIENCE


@pytest.fixture
def named(federation):
    """A job that names its server, of which three updates are in."""
    federation.job = federation.register(server=federation.server)
    federation.submit(0, 1, 2)
    return federation


def test_one_that_dies_before_its_commit(named):
    honest = honest_root(named)
    other = server(named, account=rival(named))
    other.enter()
    assert other.round().phase is Phase.COLLECTING  # not its turn
    with pytest.raises(RoundMovedOnError, match="it is not the turn of"):
        commit_model(other, honest, honest)
    named.travel(700)
    assert other.round().phase is Phase.CLOSED
    finish(named, honest)
    assert named.ledger().job_of(named.job).state.round == 2


def test_nobody_takes_over_who_has_not_said_so(named):
    with pytest.raises(ConfigurationError, match="names the server .* or --takeover"):
        LedgerServerCoordinator(named.ledger(rival(named)), named.store, named.job, PATIENCE)


def test_one_that_dies_after_its_commit_and_before_its_content_is_out(named, tmp_path):
    honest = honest_root(named)
    serve_round(server(named, store=private(named, tmp_path)))
    assert named.ledger().job_of(named.job).root == honest
    client = named.client(0)
    assert client.model(client.round()).exists()  # healed
    named.submit(0, 1, 2, seed=2)
    second = honest_root(named)
    other = server(named, account=rival(named))
    assert other.round().phase is Phase.COLLECTING
    named.travel(700)
    serve_round(other)
    assert named.ledger().job_of(named.job).root == second
    assert looks(tower(named)) == ["right", "right"]
    # The dead one's bond is not lost, and waits for whoever has its key.
    assert named.ledger().account_of(named.job, named.server).bond == BOND
    named.travel(86_500)
    named.ledger(named.server).withdraw_bond(named.job).transact()
    assert named.ledger().account_of(named.job, named.server).bond == 0
