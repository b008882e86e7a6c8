"""Nodes that a whole session uses; each test deploys a ledger of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.processes import anvil, embedded


@pytest.fixture(scope="session")
def embedded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded(tmp_path_factory.mktemp("node"), "--accounts", 20) as url:
        yield url


@pytest.fixture(scope="session")
def anvil_url() -> Iterator[str]:
    with anvil("--accounts", 20) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working directory of everybody in a test: they share its .galaxy, with ledger file and store."""
    return tmp_path
