"""One IPFS daemon for all tests of stores in a session, and stores on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from galaxy_chain.store.ipfs import IpfsStore
from galaxy_chain.store.ipfs_node import IpfsNode
from galaxy_fl.content import LocalStore
from galaxy_fl.content.remote import Timeouts
from tests.ipfs_daemon import Daemon, daemon

QUICK = Timeouts(search=1.5, restart=0.5)


@pytest.fixture(scope="session")
def ipfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon(tmp_path_factory.mktemp("ipfs")) as running:
        yield running


@pytest.fixture
def ipfs_node(ipfs: Daemon) -> IpfsNode:
    return IpfsNode(ipfs.url, timeouts=QUICK)


@pytest.fixture
def participant(ipfs_node: IpfsNode, tmp_path: Path) -> Iterator[Callable[[str], IpfsStore]]:
    """Somebody with a folder of that name, on the daemon that all share."""
    made: list[LocalStore] = []

    def make(name: str) -> IpfsStore:
        made.append(LocalStore(tmp_path / name))
        return IpfsStore(ipfs_node, made[-1])

    yield make
    for copies in made:
        let_go(ipfs_node, copies)


def let_go(node: IpfsNode, copies: LocalStore) -> None:
    """Unpins what a store has in the daemon: js-ipfs looks through all that is pinned for each block that it collects."""
    for path in copies.root.glob("ipfs/b*"):
        node.unpin(path.name)
