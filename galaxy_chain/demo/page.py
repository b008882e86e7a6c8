"""The dashboard of a demonstration, in its own process: apart from it, because few ask for one."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from galaxy_chain.dashboard.ledger import Source
from galaxy_chain.dashboard.server import Dashboard
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.rpc.rpc import Rpc
from galaxy_fl.content import LocalStore

__all__ = ["dashboard"]

POLL = 0.2


def dashboard(url: str, deployment: Deployment, home: Path) -> Dashboard:
    """A dashboard of the demonstration's ledger on a free port of this machine; shows it in a `with` block.

    Args:
        url: The chain's.
        deployment: The ledger's.
        home: Where the store, the metrics and the reports are.
    """
    rpc = Rpc(url, timeout=10, patience=3)
    folder = home / "store"
    return Dashboard(
        Source(
            ledger=LedgerContract(
                rpc, deployment.ledger, first_block=deployment.block, chain_id=deployment.chain_id
            ),
            store=LocalStore(folder),
            store_name=str(folder),
            home=home,
            reports=home,
            content="/api/content/",
            local=folder,
            options=f" --rpc {quote(url)} --home {quote(str(home))}",
            poll=POLL,
        )
    )  # fmt: skip
