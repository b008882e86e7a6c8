"""The development chain, the ledger and the job of three clients that the tests of the ledger layer have."""

from tests.galaxy_chain.conftest import deployment, federation, node, web3

__all__ = ["deployment", "federation", "node", "web3"]
