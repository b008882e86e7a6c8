"""Partial sums of a sealed job, and clients of one process that share what they follow."""

from __future__ import annotations

import numpy as np
import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.coordinators.shared_job import SharedJob
from galaxy_chain.seal.sealing import sealed_size
from galaxy_fl.content import ContentId
from tests.galaxy_chain.federation import PARAMETERS, PATIENCE, SAMPLES, made_up
from tests.galaxy_chain.seal.sealed import SealedFederation


@pytest.fixture
def summed(sealed: SealedFederation) -> SealedFederation:
    """A round of three updates and three nodes, two to a node, whose commit a rotation follows."""
    sealed.job = sealed.register(fan_in=2)
    sealed.ledger(sealed.owner).admit(sealed.job, sealed.clients).transact()
    sealed.submit(0, 1, 2)
    sealed.commit()
    sealed.keeper().rotate(sealed.history())
    return sealed


def test_partial_sums_and_their_list_are_sealed_and_audited(summed):
    member = summed.newcomer(0)
    [commit] = member.history.commits.values()
    assert len(commit.nodes) == 3
    sizes = {size for _, size in summed.store.contents()}
    assert {sealed_size(8 * PARAMETERS), sealed_size(4 * PARAMETERS), sealed_size(32 * 3)} <= sizes
    assert not {8 * PARAMETERS, 4 * PARAMETERS, 32 * 3} & sizes
    assert summed.audit(summed.own(summed.clients[1])) == [1]


@pytest.mark.parametrize(
    "lost",
    [
        "a node",
        pytest.param("the list of them", marks=pytest.mark.extended),
        pytest.param("an update", marks=pytest.mark.extended),
    ],
)
def test_what_is_missing_is_made_again_under_its_id(summed, lost):
    member = summed.newcomer(0)
    [commit] = member.history.commits.values()
    nodes = member.verifier.nodes
    content = {
        "a node": nodes.contents(commit)[1],
        "the list of them": ContentId(commit.nodes_content, 32 * 3),
        "an update": member.verifier.content_id(commit.entries[2].update.content),
    }[lost]
    inner = ContentId(content.digest, sealed_size(content.size))
    summed.store.path(inner).unlink()
    tower = summed.tower(summed.node.accounts[6])
    tower.look()
    assert not tower.history.demanded
    if lost != "the list of them":  # which nobody but its server can make again; the nodes are made again without it
        assert summed.store.has(inner)


def test_clients_of_one_process_share_a_key_and_what_they_open(sealed):
    own = sealed.own(sealed.clients[0])
    shared = SharedJob(sealed.ledger(sealed.clients[0]), sealed.store, sealed.job, own, "clients", 0.02)
    try:
        clients = [
            LedgerClientCoordinator(
                sealed.ledger(account), sealed.store, sealed.job, PATIENCE, own=own, limits=sealed.limits, shared=shared
            )
            for account in sealed.clients
        ]
        for client in clients:
            client.enter(SAMPLES)
        sealed.keep()
        [wraps] = list(sealed.history().epochs.values())
        assert [len(each) for each in wraps] == [112, 112], "the owner's, and one for all of them"
        for number, client in enumerate(clients):
            round = client.round()
            assert np.array_equal(np.fromfile(client.model(round), "<i4"), sealed.initial)
            client.submit(round, made_up(100 + number), SAMPLES - number)
        sealed.commit()
        assert sealed.audit(sealed.own(sealed.clients[0])) == [1]
        assert not sealed.lies_open(made_up(100))
    finally:
        shared.close()
