from __future__ import annotations

from pathlib import Path

import pytest
from web3 import Web3

from galaxy_chain.ledger.deployment import Deployment
from tests.galaxy_chain.foundry import Chain
from tests.galaxy_chain.seal.sealed import SealedFederation


@pytest.fixture
def sealed(node: Chain, deployment: Deployment, web3: Web3, tmp_path: Path) -> SealedFederation:
    """A sealed job of which nobody has done anything yet."""
    return SealedFederation(node, deployment, tmp_path)
