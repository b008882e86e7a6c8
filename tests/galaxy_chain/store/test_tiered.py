from __future__ import annotations

import os
import subprocess
import sys

import pytest

from galaxy_chain.store.gateway import Gateway
from galaxy_chain.store.ipfs_node import IpfsNode
from galaxy_chain.store.open import open_store
from galaxy_chain.store.tiered import TieredStore
from galaxy_fl.content import BLOCK_SIZE, ContentId, LocalStore
from galaxy_fl.content.remote import RemoteError
from galaxy_fl.exceptions import ConfigurationError, ContentAlteredError, ContentError, ContentMissingError
from tests.galaxy_fl.content import test_local
from tests.galaxy_fl.content.conformance import ABSENT, StoreConformance
from tests.galaxy_fl.content.servers import Answer, forward, serve

from .conftest import QUICK, let_go
from .test_ipfs import TestIpfsStore as OnIpfs
from .test_ipfs import free_port, is_pinned

NOBODY = "http://127.0.0.1:{}"


@pytest.mark.extended
class TestTieredStoreOnIpfs(OnIpfs):
    @pytest.fixture
    def store(self, tmp_path, ipfs_node, ipfs):
        self.blocks, self.spoiled = ipfs.repository, {}
        local = LocalStore(tmp_path / "store")
        yield TieredStore(local, ipfs_node)
        for path, data in self.spoiled.items():
            path.write_bytes(data)
        let_go(ipfs_node, local)

    def alter(self, store, content, how):
        super().alter(store._own, content, how)


class TestTieredStoreWithAGateway(StoreConformance):
    """Of which nobody knows what was put."""

    @pytest.fixture
    def store(self, tmp_path):
        with serve(lambda asked: Answer(b"never heard of it", 404)) as url:
            yield TieredStore(LocalStore(tmp_path / "store"), gateways=[Gateway(url, timeouts=QUICK)])

    def alter(self, store, content, how):
        test_local.alter(store._local, content, how)


@pytest.fixture
def local(tmp_path):
    return LocalStore(tmp_path / "local")


@pytest.fixture
def gone():
    return IpfsNode(NOBODY.format(free_port()), timeouts=QUICK)


@pytest.fixture
def gateway(ipfs):
    return Gateway(ipfs.gateway, timeouts=QUICK)


def reads(store, content):
    yield lambda: store.get(content)
    yield lambda: store.path(content).read_bytes()
    yield lambda: store.block(content.digest)


@pytest.mark.parametrize("read", range(3))
def test_what_is_in_the_folder_is_read_without_asking_anybody(local, gone, read):
    store = TieredStore(local, gone, [Gateway(NOBODY.format(free_port()), timeouts=QUICK)])
    content = local.put(b"content")
    assert list(reads(store, content))[read]() == b"content"


@pytest.mark.parametrize("read", range(3))
def test_what_a_node_gives_is_kept(participant, ipfs_node, local, read):
    content = participant("one").put(b"content of a node")
    with serve(lambda asked: Answer(b"must not be asked", 418)) as url:
        store = TieredStore(local, ipfs_node, [Gateway(url, timeouts=QUICK)])
        assert list(reads(store, content))[read]() == b"content of a node"
    assert local.get(content) == b"content of a node"


@pytest.mark.parametrize("read", range(3))
def test_a_gateway_is_asked_where_the_node_can_not_be_reached(participant, gone, gateway, local, read):
    content = participant("one").put(b"content behind a gateway")
    store = TieredStore(local, gone, [gateway])
    assert list(reads(store, content))[read]() == b"content behind a gateway"
    assert local.get(content) == b"content behind a gateway"


def test_the_next_gateway_is_asked_where_one_lies_or_is_gone(participant, gateway, local):
    content = participant("one").put(os.urandom(2 * BLOCK_SIZE))
    with serve(lambda asked: Answer(bytes(2 * BLOCK_SIZE))) as liar:
        store = TieredStore(
            local,
            gateways=[Gateway(url, timeouts=QUICK) for url in (NOBODY.format(free_port()), liar)] + [gateway],
        )
        assert store.path(content).stat().st_size == 2 * BLOCK_SIZE
    assert [cid for cid, _ in local.contents()] == [content.cid]


def test_an_altered_copy_is_replaced_from_a_gateway(participant, gateway, local):
    content = participant("one").put(b"content")
    local.put(b"content")
    test_local.alter(local, content, "flip")
    assert TieredStore(local, gateways=[gateway]).get(content) == b"content"


def test_where_nobody_has_it_each_is_named_and_a_liar_does_not_make_it_altered(ipfs_node, local):
    with serve(lambda asked: Answer(b"a lie")) as liar:
        store = TieredStore(local, ipfs_node, [Gateway(liar, timeouts=QUICK)])
        for read in (lambda: store.path(ABSENT), lambda: store.block(ABSENT.digest)):
            with pytest.raises(ContentMissingError) as caught:
                read()
            assert ipfs_node.url in str(caught.value)
            assert liar in str(caught.value)


def test_what_is_put_and_pinned_is_in_the_node(participant, ipfs_node, local, ipfs):
    store = TieredStore(local, ipfs_node)
    content = store.put(os.urandom(100))
    assert participant("other").path(content).exists()
    store.pin(content)
    store.gc(0)
    assert is_pinned(ipfs.url, content)


def test_nothing_is_put_without_the_node(local, gone):
    with pytest.raises(RemoteError, match=gone.url):
        TieredStore(local, gone).put(b"content")


def test_a_pin_fetches_what_is_not_there(participant, gateway, local):
    content = participant("one").put(b"to be pinned")
    TieredStore(local, gateways=[gateway]).pin(content)
    assert local.pins() == {content.cid}
    assert local.get(content) == b"to be pinned"


def test_a_range_that_is_not_in_the_content_is_refused_without_asking_anybody(local, gone):
    content = local.put(b"content")
    with pytest.raises(ContentError, match="it has 7 bytes"):
        TieredStore(local, gone).get(content, 0, 8)


def test_an_altered_copy_that_nobody_has_better_is_altered(local):
    content = local.put(b"content")
    test_local.alter(local, content, "flip")
    with serve(lambda asked: Answer(b"", 404)) as url, pytest.raises(ContentAlteredError, match=url):
        TieredStore(local, gateways=[Gateway(url, timeouts=QUICK)]).path(content)


# Opening


def test_a_folder_alone_is_a_local_store(tmp_path):
    assert isinstance(open_store(tmp_path / "store"), LocalStore)


def test_a_store_with_a_node_and_a_gateway_reads_from_both(tmp_path, ipfs):
    content = open_store(tmp_path / "one", ipfs.url).put(b"content")
    for other in (
        open_store(tmp_path / "two", ipfs.url),
        open_store(tmp_path / "three", gateways=[ipfs.gateway]),
        open_store(tmp_path / "four", ipfs.url, [ipfs.gateway]),
    ):
        assert other.get(content) == b"content"


def test_addresses_are_checked_when_a_store_is_opened(tmp_path):
    with pytest.raises(ConfigurationError, match="IPFS node"):
        open_store(tmp_path / "store", "nonsense")
    with pytest.raises(ConfigurationError, match="gateway"):
        open_store(tmp_path / "store", gateways=["nonsense"])


def test_credentials_come_from_the_environment_and_are_taken_out_of_it(tmp_path, ipfs):
    """In a process of its own, for they are read once in each."""
    script = """
import os, sys
from pathlib import Path
from galaxy_chain.store.open import open_store
one, other = (open_store(Path(sys.argv[1]) / name, sys.argv[2]) for name in ("one", "other"))
print(other.get(one.put(b"content")).decode(), "GALAXY_IPFS_AUTH" in os.environ)
"""

    def answer(asked):
        known = asked.headers.get("authorization") == "Bearer open sesame"
        return forward(asked, ipfs.url) if known else Answer(b"", 401)

    with serve(answer) as url:
        said = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, str(tmp_path), url],
            env=os.environ | {"GALAXY_IPFS_AUTH": "Bearer open sesame"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    assert said.stdout == "content False\n"


def test_a_store_of_a_folder_loads_no_http_library(tmp_path):
    script = """
import sys
from pathlib import Path
from galaxy_chain.store.open import open_store
open_store(Path(sys.argv[1]))
assert not {"httpx", "requests", "ipfshttpclient"} & sys.modules.keys(), sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "store")], check=True)
    assert ContentId.of(b"") == LocalStore(tmp_path / "store").put(b"")
