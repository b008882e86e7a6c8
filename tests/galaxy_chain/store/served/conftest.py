"""A server of content for a job on the embedded chain, and the accounts that ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from galaxy_chain.node import Node
from galaxy_chain.store.server import StoreServer
from galaxy_fl.content import LocalStore
from tests.galaxy_chain.federation import Federation
from tests.galaxy_chain.store.served.serving import Asker, store_server, writer


@pytest.fixture
def server(federation: Federation, tmp_path: Path) -> Iterator[StoreServer]:
    with store_server(federation, tmp_path / "served") as running:
        yield running


@pytest.fixture
def served(server: StoreServer, tmp_path: Path) -> LocalStore:
    """The server's folder, as its operator sees it."""
    return LocalStore(tmp_path / "served")


@pytest.fixture
def ask(server: StoreServer, node: Node, federation: Federation) -> Callable[..., Asker]:
    """As an account, in the job or in the one that is named (0: none); or as nobody."""

    def ask(address: str | None = None, job: int | None = None) -> Asker:
        who = None if address is None else writer(node, address, federation.job if job is None else job)
        return Asker(server, who)

    return ask


@pytest.fixture
def owner(ask: Callable[..., Asker], federation: Federation) -> Asker:
    """The owner, before there is a job: may put anything."""
    return ask(federation.owner, 0)
