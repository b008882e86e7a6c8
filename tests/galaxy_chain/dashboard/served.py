"""A dashboard of a federation, asked over HTTP as a browser asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from galaxy_chain.dashboard.ledger import Source
from galaxy_chain.dashboard.server import Dashboard
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.rpc.rpc import Rpc
from tests.end_to_end.processes import LONG
from tests.galaxy_chain.federation import Federation

__all__ = ["Asked", "served"]


class Asked:
    """Asks a dashboard about the federation's job."""

    def __init__(self, dashboard: Dashboard, federation: Federation) -> None:
        self.dashboard = dashboard
        self.federation = federation
        self.http = httpx.Client(base_url=dashboard.url, timeout=LONG)

    def get(self, path: str, **query: object) -> Any:
        """What a route under /api answers."""
        response = self.http.get(f"/api{path}", params={name.rstrip("_"): value for name, value in query.items()})
        assert response.status_code == 200, response.text
        return response.json()

    def refused(self, path: str, **query: object) -> tuple[int, str, str]:
        """Status, kind and detail of a refusal."""
        response = self.http.get(f"/api{path}", params={name.rstrip("_"): value for name, value in query.items()})
        assert response.headers["content-type"] == "application/problem+json"
        said = response.json()
        return response.status_code, said["type"].rpartition(":")[2], said["detail"]

    def job(self, below: str = "", **query: object) -> Any:
        """What a route of the federation's job answers."""
        return self.get(f"/jobs/{self.federation.job}{below}", **query)

    def until(self, is_there: Callable[[], Any]) -> Any:
        """What comes once it is there."""
        deadline = time.monotonic() + LONG
        while not (found := is_there()):
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.02)
        return found

    def seen(self, block: int | None = None) -> None:
        """Waits until the dashboard has seen the chain as it is now."""
        number = self.federation.rpc.number("eth_blockNumber") if block is None else block
        self.until(lambda: self.job()["block"] >= number)

    def verdict(self, round: int, attempt: int | None = None) -> Any:
        """The verdict on a round, once there is one."""
        query = {} if attempt is None else {"attempt": attempt}

        def there() -> Any:
            found = self.job(f"/rounds/{round}", **query)["attempt"]["verdict"]
            return found if found and found["judgement"] not in ("waiting", "computing") else None

        self.seen()
        return self.until(there)


@contextmanager
def served(federation: Federation, url: str | None = None, **settings: Any) -> Iterator[Asked]:
    """A dashboard of a federation's ledger and store, and what asks it.

    Args:
        url: Of the chain, where it is not asked directly.
        settings: Of the source.
    """
    where = federation.deployment
    rpc = Rpc(federation.node.url if url is None else url, timeout=5, patience=0.5)
    given: dict[str, Any] = {
        "ledger": LedgerContract(rpc, where.ledger, first_block=where.block, chain_id=where.chain_id),
        "store": federation.store,
        "store_name": "the store",
        "home": Path(federation.store.root.parent),
        "content": "/api/content/",
        "local": federation.store.root,
        "poll": 0.05,
    }
    with Dashboard(Source(**(given | settings)), heartbeat=0.2) as dashboard:
        asked = Asked(dashboard, federation)
        with asked.http:
            yield asked
