"""A running development chain for every test of the ledger layer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from web3 import HTTPProvider, Web3

from galaxy_chain.ledger.deployment import Deployment, deploy
from galaxy_chain.node import Node
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from tests.galaxy_chain.federation import Federation
from tests.galaxy_chain.foundry import Chain, foundry
from tests.galaxy_chain.terminal import Terminal


@pytest.fixture(scope="session")
def node() -> Iterator[Chain]:
    """A chain, answering on a free port; 20 funded accounts, chain id 1337."""
    with foundry() as running:
        yield running


@pytest.fixture(scope="session")
def embedded() -> Iterator[Node]:
    """The chain of `galaxy-chain node`, of which all the same is true; for tests of how the two get on."""
    with Node(port=0, accounts=20) as running:
        yield running


@pytest.fixture
def web3(node: Chain) -> Iterator[Web3]:
    """A client of the chain, which is put back afterwards as the test found it."""
    client = Web3(HTTPProvider(node.url))
    snapshot = client.provider.make_request("evm_snapshot", [])["result"]
    client.provider.make_request("evm_setTime", [int(time.time())])  # which Foundry's node has put back, too
    yield client
    client.provider.make_request("evm_setAutomine", [True])
    assert client.provider.make_request("evm_revert", [snapshot])["result"] is True


@pytest.fixture(scope="session")
def deployment(node: Chain) -> Deployment:
    """A ledger with its rules on the chain, there before any test's snapshot."""
    rpc = Rpc(node.url)
    return deploy(rpc, Transactions(rpc, NodeSigner(node.accounts[0])))[0]


@pytest.fixture(scope="session")
def embedded_deployment(embedded: Node) -> Deployment:
    """The same on the embedded chain."""
    rpc = Rpc(embedded.url)
    return deploy(rpc, Transactions(rpc, NodeSigner(embedded.accounts[0])))[0]


@pytest.fixture
def embedded_federation(embedded: Node, embedded_deployment: Deployment, tmp_path: Path) -> Iterator[Federation]:
    """The same job as `federation`, on the embedded chain."""
    rpc = Rpc(embedded.url)
    snapshot = rpc.request("evm_snapshot")
    yield Federation(embedded, embedded_deployment, tmp_path)
    assert rpc.request("evm_revert", snapshot) is True


@pytest.fixture
def federation(node: Chain, deployment: Deployment, web3: Web3, tmp_path: Path) -> Federation:
    """A job with a server and three clients, of which nobody has done anything yet."""
    return Federation(node, deployment, tmp_path)


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal in a folder of its own, without settings."""
    for name in list(os.environ):
        if name.startswith("GALAXY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return Terminal(tmp_path, monkeypatch, capsys)


@pytest.fixture
def at_ledger(terminal: Terminal, federation: Federation, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal whose folder has the ledger's file, and the node in its environment."""
    monkeypatch.setenv("GALAXY_RPC", federation.rpc.url)
    monkeypatch.setenv("GALAXY_STORE", str(federation.store.root))
    federation.deployment.write(terminal.folder / ".galaxy" / "ledger.json")
    return terminal
