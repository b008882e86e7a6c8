"""Who may write what, by what the ledger says."""

from __future__ import annotations

import pytest

from galaxy_chain.exceptions import RpcError
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import deploy
from galaxy_chain.node import Node
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.seal.sealing import sealed_size
from galaxy_chain.store.grants import Grant, Grants
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.content import ContentId
from galaxy_fl.content.problems import Refused
from galaxy_fl.exceptions import RoundMovedOnError
from galaxy_fl.jobs.document import RuleChoice
from tests.galaxy_chain.federation import DOCUMENT, PARAMETERS, Federation, made_up
from tests.galaxy_fl.content.problem import kind

VECTOR = bytes(4 * PARAMETERS)
LARGEST_DOCUMENT = bytes(262_144)


def announced(asker, data):
    response = asker.announce(ContentId.of(data))
    return response.status_code, None if response.is_success else kind(response)


def test_a_client_puts_vectors_from_the_moment_that_it_has_joined(ask, federation):
    client = ask(federation.clients[0])
    assert announced(client, VECTOR) == (403, "forbidden")
    federation.client(0)
    assert announced(client, VECTOR) == (200, None)
    assert announced(client, VECTOR[:-1]) == (413, "size")
    assert announced(client, VECTOR + b"\0") == (413, "size")
    assert announced(client, b"a document") == (413, "size")


def test_sums_and_models_with_moments_are_as_wide_as_the_rule_says(ask, federation):
    federation.document = DOCUMENT.model_copy(update={"rule": RuleChoice(name="fedadam"), "averaged": []})
    federation.job = federation.register()
    federation.client(0)
    client = ask(federation.clients[0])
    for width in (4, 8, 16):
        assert announced(client, bytes(width * PARAMETERS)) == (200, None)
    assert announced(client, bytes(12 * PARAMETERS)) == (413, "size")


def test_what_a_job_does_not_take_is_told(ask, federation):
    federation.client(0)
    response = ask(federation.clients[0]).announce(ContentId.of(b"seven b"))
    assert (
        response.json()["detail"]
        == "content of 7 bytes does not belong to job 1: it takes vectors of 600 or 1200 bytes"
    )


def test_who_has_a_bond_puts_vectors_and_documents(ask, federation):
    server = ask(federation.server)
    assert announced(server, VECTOR) == (403, "forbidden")
    federation.serve()
    assert announced(server, VECTOR) == (200, None)
    assert announced(server, LARGEST_DOCUMENT) == (200, None)
    assert announced(server, LARGEST_DOCUMENT + b"\0") == (413, "size")


def test_a_named_server_needs_no_bond_to_put(ask, federation):
    job = federation.register(server=federation.server)
    assert announced(ask(federation.server, job), VECTOR) == (200, None)


def test_a_server_that_was_proved_wrong_puts_nothing(ask, federation):
    federation.serve()
    federation.submit(0, 1, 2)
    server = ask(federation.server)
    federation.commit(made_up(7))
    assert announced(server, VECTOR) == (200, None)
    client = federation.client(0)
    with pytest.raises(RoundMovedOnError):
        client.model(client.round())
    with pytest.raises(Refused, match="may put nothing into job 1"):
        Grants(federation.ledger(), [federation.owner]).of(federation.job, federation.server)


def test_an_owner_puts_what_its_job_consists_of_before_and_after(ask, federation):
    assert announced(ask(federation.owner, 0), b"a document of a job to be") == (200, None)
    assert announced(ask(federation.owner, 0), bytes(1 << 20)) == (200, None)
    assert announced(ask(federation.owner), LARGEST_DOCUMENT) == (200, None)
    assert announced(ask(federation.owner), VECTOR) == (200, None)
    assert announced(ask(federation.owner), bytes(1 << 20)) == (413, "size")


def test_strangers_and_those_of_other_jobs_put_nothing(ask, federation):
    federation.client(0)
    another = federation.register()
    for asker in (ask(federation.clients[1]), ask(federation.clients[0], another), ask(federation.clients[0], 0)):
        assert announced(asker, VECTOR) == (403, "forbidden")
    assert announced(ask(federation.clients[0], 99), VECTOR) == (404, "unknown_job")


def test_jobs_of_strangers_are_not_kept(ask, federation, node):
    """Or whoever registers jobs could fill the disk."""
    federation.owner = node.accounts[9]
    job = federation.register()
    response = ask(node.accounts[9], job).announce(ContentId.of(VECTOR))
    assert response.status_code == 403
    assert f"--owner {node.accounts[9]}" in response.json()["detail"]


def test_a_grant_holds_for_some_seconds_without_the_ledger_and_no_longer(tmp_path):
    now = [0.0]
    with Node(port=0) as node:
        rpc = Rpc(node.url, timeout=30, patience=0.1)
        deployment, _ = deploy(rpc, Transactions(rpc, NodeSigner(node.accounts[0])))
        federation = Federation(node, deployment, tmp_path)
        federation.client(0)
        grants = Grants(LedgerContract(rpc, deployment.ledger), [federation.owner], lambda: now[0])
        granted = grants.of(federation.job, federation.clients[0])
    assert grants.of(federation.job, federation.clients[0]) == granted
    now[0] = 11.0
    with pytest.raises(RpcError):
        grants.of(federation.job, federation.clients[0])


@pytest.mark.parametrize("sums", [1, 2])
@pytest.mark.parametrize("is_sealed", [False, True])
def test_models_and_partial_sums_longer_than_a_block_may_be_put_sealed_or_not(sums, is_sealed):
    grant = Grant("1", "0x", (400_000, 800_000), documents=False)
    size = sums * 400_000
    grant.check(sealed_size(size) if is_sealed else size)
    with pytest.raises(Refused, match="does not belong to job 1"):
        grant.check(size + 4)
