"""The coordinators of a job on a ledger: events in, transactions out, vectors in a content store."""

from galaxy_chain.coordinators.base import LedgerCoordinator, Patience
from galaxy_chain.coordinators.client import LedgerClientCoordinator
from galaxy_chain.coordinators.server import LedgerServerCoordinator

__all__ = ["LedgerClientCoordinator", "LedgerCoordinator", "LedgerServerCoordinator", "Patience"]
