"""A running development chain for every test of the ledger layer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from web3 import HTTPProvider, Web3

from galaxy_chain.node import Node


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
