"""The embedded chain, of which these tests are too: each of its answers has to be read rightly."""

import pytest

from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.node import Node


@pytest.fixture(scope="session")
def node(embedded: Node) -> Node:
    """The embedded chain."""
    return embedded


@pytest.fixture(scope="session")
def deployment(embedded_deployment: Deployment) -> Deployment:
    """A ledger on it."""
    return embedded_deployment
