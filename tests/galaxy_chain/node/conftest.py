"""The embedded chain in place of Foundry's: these tests are about it."""

from __future__ import annotations

import pytest

from galaxy_chain.node import Node


@pytest.fixture(scope="session")
def node(embedded: Node) -> Node:
    """The chain of `galaxy-chain node`."""
    return embedded
