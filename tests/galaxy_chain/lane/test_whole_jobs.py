"""Whole jobs in which no client ever holds ether: the model is that of clients that send their own transactions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from galaxy_chain.lane.client_lane import Lane
from galaxy_chain.ledger.deployment import deploy
from galaxy_chain.ledger.events import UpdatesSubmitted
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner, unlocked
from galaxy_chain.transactions.manager import Transactions
from galaxy_chain.verify.audit import Auditor
from tests.end_to_end.processes import anvil
from tests.galaxy_chain.federation import Federation
from tests.galaxy_chain.lane.poor import Job, Poor, served_job

ROUNDS, CLIENTS = 2, 3
ALL = {"min_clients": CLIENTS, "max_clients": CLIENTS, "max_excluded": 0}


@pytest.fixture(params=["embedded", "anvil"])
def on_chain(request, tmp_path):
    if request.param == "embedded":
        yield request.getfixturevalue("embedded_federation")
        return
    with anvil() as url:
        rpc = Rpc(url)
        accounts = unlocked(rpc)
        deployment = deploy(rpc, Transactions(rpc, NodeSigner(accounts[0])))[0]
        yield Federation(SimpleNamespace(url=url, accounts=accounts), deployment, tmp_path)


def check(poor: Poor, root: bytes) -> None:
    federation = poor.federation
    assert root == Job.root(ROUNDS, CLIENTS)
    assert poor.balances() == [0] * CLIENTS
    ledger = federation.ledger()
    taken = ledger.events(
        UpdatesSubmitted, ledger.first_block, federation.rpc.block("latest").number, job=federation.job
    )
    clients = [event.entries[at : at + 20].hex() for event in taken for at in range(0, len(event.entries), 88)]
    assert sorted(clients) == sorted(ROUNDS * [signer.address[2:].lower() for signer in poor.signers])
    assert [audited.updates for audited in Auditor(ledger, federation.store, federation.job).rounds()] == [3, 3]


def test_over_a_folder(on_chain, tmp_path):
    on_chain.job = on_chain.register(**ALL)
    poor = Poor(on_chain, tmp_path)
    check(poor, Job(poor).run([Lane.SIGNED, Lane.AUTO, Lane.SIGNED]))


def test_over_a_store_that_is_served(on_chain, tmp_path):
    with served_job(on_chain, tmp_path, **ALL) as served:
        poor = Poor(on_chain, tmp_path, served=served)
        check(poor, Job(poor).run([Lane.AUTO, Lane.SIGNED, Lane.AUTO]))


def test_with_transactions_of_their_own_it_is_the_same_model(federation, tmp_path):
    federation.job = federation.register(**ALL)
    poor = Poor(federation, tmp_path)
    poor.signers = [NodeSigner(client) for client in federation.clients]
    assert Job(poor).run([Lane.DIRECT, Lane.AUTO, Lane.DIRECT], relay=None) == Job.root(ROUNDS, CLIENTS)
