"""A running development chain for every test of the ledger layer."""

from __future__ import annotations

import os
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
from tests.galaxy_chain.terminal import Terminal


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
