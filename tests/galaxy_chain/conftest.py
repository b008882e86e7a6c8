"""A running development chain for every test of the ledger layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from web3 import HTTPProvider, Web3

from galaxy_chain.accounts import NodeSigner
from galaxy_chain.deployment import Deployment, deploy
from galaxy_chain.ledger.rpc import Rpc
from galaxy_chain.ledger.transactions import Transactions
from galaxy_chain.node import Node
from tests.galaxy_chain.federation import Federation


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """The embedded chain, answering on a free port; 20 funded accounts, chain id 1337."""
    with Node(port=0, accounts=20) as running:
        yield running


@pytest.fixture
def web3(node: Node) -> Iterator[Web3]:
    """A client of the chain, which is put back afterwards as the test found it."""
    client = Web3(HTTPProvider(node.url))
    snapshot = client.provider.make_request("evm_snapshot", [])["result"]
    yield client
    client.provider.make_request("evm_setAutomine", [True])
    assert client.provider.make_request("evm_revert", [snapshot])["result"] is True


@pytest.fixture(scope="session")
def deployment(node: Node) -> Deployment:
    """A ledger with its rules on the chain, there before any test's snapshot."""
    rpc = Rpc(node.url)
    return deploy(rpc, Transactions(rpc, NodeSigner(node.accounts[0])))[0]


@pytest.fixture
def federation(node: Node, deployment: Deployment, web3: Web3, tmp_path: Path) -> Federation:
    """A job with a server and three clients, of which nobody has done anything yet."""
    return Federation(node, deployment, tmp_path)
