from __future__ import annotations

import base64
import itertools
import os
import random
import socket
import threading
import tracemalloc
from pathlib import Path

import httpx
import pytest

from galaxy_chain.store.ipfs import IpfsStore
from galaxy_chain.store.ipfs_node import IpfsNode
from galaxy_fl.content import BLOCK_SIZE, ContentId, LocalStore
from galaxy_fl.content.content_id import parse
from galaxy_fl.content.dag import LINKS, walk
from galaxy_fl.content.remote import RemoteError, Timeouts
from galaxy_fl.exceptions import ConfigurationError, ContentAlteredError, ContentError, ContentMissingError
from tests.galaxy_fl.content import test_local
from tests.galaxy_fl.content.conformance import ABSENT, StoreConformance
from tests.galaxy_fl.content.servers import Answer, forward, serve
from tests.galaxy_fl.content.unixfs_reference import cid_of, fill
from tests.ipfs_daemon import daemon

from .conftest import QUICK


def call(url: str, command: str, *arguments: str, **options: str) -> httpx.Response:
    """The RPC as somebody else uses it."""
    query = [("arg", argument) for argument in arguments] + list(options.items())
    return httpx.post(f"{url}/api/v0/{command}", params=query, timeout=30)


def is_pinned(url: str, content: ContentId) -> bool:
    return call(url, "pin/ls", content.cid, type="recursive").status_code == 200


def block_file(repository: Path, cid: str) -> Path:
    digest, _ = parse(cid)
    name = base64.b32encode(b"\x12\x20" + digest).decode().rstrip("=")
    return next((repository / "blocks").glob(f"*/*{name}.data"))


def last_block(store: IpfsStore, content: ContentId) -> str:
    cids: list[str] = []

    def get(cid: str) -> bytes:
        cids.append(cid)
        return store.node.block(cid)

    assert sum(map(len, walk(content, get))) == content.size
    return cids[-1]


class TestIpfsStore(StoreConformance):
    """The folder is a test's own, the daemon that of all: what was spoiled in it is mended again."""

    @pytest.fixture
    def store(self, participant, ipfs):
        self.blocks = ipfs.repository
        self.spoiled: dict[Path, bytes] = {}
        yield participant("store")
        for path, data in self.spoiled.items():
            path.write_bytes(data)

    def alter(self, store, content, how):
        """Both the copy and the node's last block of it."""
        path = block_file(self.blocks, last_block(store, content))
        test_local.alter(store.copies, content, how)
        data = self.spoiled[path] = path.read_bytes()
        if how == "remove":
            path.unlink()
        else:
            middle = len(data) // 2
            flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
            path.write_bytes({"flip": flipped, "truncate": data[:-1], "extend": b"\1" + data}[how])


# Ids


@pytest.mark.parametrize("kind", ["random", "zero"])
@pytest.mark.parametrize(
    "size",
    [
        0,
        1,
        *(BLOCK_SIZE + difference for difference in (-1, 0, 1)),
        *(2 * BLOCK_SIZE + difference for difference in (-1, 0, 1)),
        LINKS * BLOCK_SIZE,
        LINKS * BLOCK_SIZE + 1,
    ],
)
def test_ids_are_those_of_the_daemon_at_every_boundary_of_the_tree(ipfs_node, tmp_path, size, kind):
    data = random.Random(size).randbytes(size) if kind == "random" else bytes(size)
    path = tmp_path / "content"
    path.write_bytes(data)
    assert ipfs_node.add(path) == ContentId.of(data).cid == cid_of(data)
    ipfs_node.unpin(ContentId.of(data).cid)


def test_a_node_that_gives_another_id_is_found_before_anybody_is_told_one(ipfs, tmp_path):
    """As one with other defaults that ignores what it is asked for."""
    before = call(ipfs.url, "pin/ls", type="recursive").json()
    with serve(lambda asked: forward(asked, ipfs.url, chunker="size-1000")) as url:
        store = IpfsStore(IpfsNode(url, timeouts=QUICK), LocalStore(tmp_path / "store"))
        with pytest.raises(ContentError, match=ContentId.of(bytes(2000)).cid):
            store.put(bytes(2000))
    assert call(ipfs.url, "pin/ls", type="recursive").json() == before


# Through the network


@pytest.mark.parametrize("size", [0, 7, BLOCK_SIZE, 3 * BLOCK_SIZE + 1])
def test_what_one_participant_puts_another_reads(participant, size):
    data = random.Random(size).randbytes(size)
    content = participant("one").put(data)
    other = participant("other")
    assert other.identify(content.cid) == content
    assert not other.has(content)
    assert other.get(content, size // 3, size // 2) == data[size // 3 : size // 2]
    assert other.has(content)
    assert participant("another").path(content).read_bytes() == data


def test_a_block_whose_size_nobody_has_said_is_read_from_the_network(participant):
    content = participant("one").put(b"a job document")
    other = participant("other")
    assert other.block(content.digest) == b"a job document"
    assert other.has(content)


def test_content_that_the_network_does_not_have_is_missing_after_a_bounded_wait(participant):
    store = participant("store")
    for read in (lambda: store.path(ABSENT), lambda: store.block(ABSENT.digest)):
        with pytest.raises(ContentMissingError, match=ABSENT.cid):
            read()


def test_a_copy_that_was_altered_is_replaced_from_the_node(participant):
    store = participant("store")
    content = store.put(b"content")
    test_local.alter(store.copies, content, "flip")
    assert store.get(content) == b"content"
    assert dict(store.verify()) == {content.cid: None}


def test_memory_does_not_grow_with_what_comes_from_the_network(participant):
    content = participant("one").put(bytes(64 << 20))
    other = participant("other")
    tracemalloc.start()
    try:
        assert other.path(content).stat().st_size == 64 << 20
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


# Nodes that lie, or that are not what they should be


@pytest.mark.parametrize("size", [10, BLOCK_SIZE + 1])
def test_other_bytes_are_refused_and_not_kept(tmp_path, size):
    content = ContentId.of(fill("count", size))
    with serve(lambda asked: Answer(bytes(size))) as url:
        store = IpfsStore(IpfsNode(url, timeouts=QUICK), LocalStore(tmp_path / "store"))
        with pytest.raises(ContentAlteredError, match=content.cid):
            store.path(content)
        if size <= BLOCK_SIZE:
            with pytest.raises(ContentAlteredError, match=content.cid):
                store.block(content.digest)
        assert list(store.contents()) == []


def test_a_body_without_end_is_not_read_further_than_the_content_is_long(tmp_path):
    sent = 0

    def pieces():
        nonlocal sent
        for _ in itertools.repeat(None):
            sent += 1 << 16
            yield bytes(1 << 16)

    with serve(lambda asked: Answer(pieces())) as url:
        store = IpfsStore(IpfsNode(url, timeouts=QUICK), LocalStore(tmp_path / "store"))
        with pytest.raises(ContentAlteredError, match="something else"):
            store.path(ContentId.of(bytes(1000)))
    assert sent < 64 << 20  # what the system's buffers took


@pytest.mark.parametrize("answer", [Answer(b"hello"), Answer(b"not here", 404), Answer(b"{}"), Answer(b"[]")])
def test_a_server_that_is_no_node_is_named(tmp_path, answer):
    with serve(lambda asked: answer) as url:
        store = IpfsStore(IpfsNode(url, timeouts=QUICK), LocalStore(tmp_path / "store"))
        with pytest.raises(ContentError, match=url):
            store.put(b"content")


def test_credentials_are_sent_with_everything_and_never_said(ipfs, tmp_path):
    def answer(asked):
        if asked.headers.get("authorization") != "Bearer open sesame":
            return Answer(b'{"Message": "who are you?"}', 401)
        return forward(asked, ipfs.url)

    with serve(answer) as url:
        knows = IpfsNode(url, authorization="Bearer open sesame", timeouts=QUICK)
        store = IpfsStore(knows, LocalStore(tmp_path / "store"))
        content = store.put(b"secret")
        store.pin(content)
        assert IpfsStore(knows, LocalStore(tmp_path / "other")).get(content) == b"secret"
        guesses = IpfsStore(IpfsNode(url, authorization="Bearer xyzzy", timeouts=QUICK), LocalStore(tmp_path / "thief"))
        for action in (lambda: guesses.path(content), lambda: guesses.put(b"guess"), lambda: guesses.gc(0)):
            with pytest.raises(RemoteError, match="credentials") as caught:
                action()
            assert "xyzzy" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:5001", "ftp://127.0.0.1", "http://", "http://127.0.0.1:5001/?a=b", "http://me:pass@host"]
)
def test_what_is_no_address_is_refused_without_saying_its_password(url):
    with pytest.raises(ConfigurationError) as caught:
        IpfsNode(url)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize("end", ["/api/v0", "/api/v0/"])
def test_the_address_of_the_rpc_itself_is_taken_for_what_it_is(ipfs, tmp_path, end):
    content = IpfsStore(IpfsNode(ipfs.url + end, timeouts=QUICK), LocalStore(tmp_path / "store")).put(b"by the rpc")
    assert IpfsStore(IpfsNode(ipfs.url), LocalStore(tmp_path / "other")).get(content) == b"by the rpc"


# Nodes that go and come


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_node_that_is_not_there_is_named(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    store = IpfsStore(IpfsNode(url, timeouts=QUICK), LocalStore(tmp_path / "store"))
    for action in (lambda: store.put(b"content"), lambda: store.path(ABSENT), lambda: store.block(ABSENT.digest)):
        with pytest.raises(RemoteError, match=url):
            action()


def test_a_put_and_a_read_outlast_a_restart_and_content_does_too(tmp_path):
    port = free_port()
    with daemon(tmp_path / "ipfs", port=port) as running:
        patient = IpfsNode(running.url, timeouts=Timeouts(search=5, restart=60))
        store = IpfsStore(patient, LocalStore(tmp_path / "store"))
        before = store.put(b"before")
        running.kill()
        results: list[object] = []
        other = IpfsStore(patient, LocalStore(tmp_path / "other"))
        threads = [
            threading.Thread(target=lambda action=action: results.append(action()))
            for action in (lambda: store.put(b"meanwhile"), lambda: other.get(before))
        ]
        for thread in threads:
            thread.start()
        with daemon(tmp_path / "ipfs", port=port):
            for thread in threads:
                thread.join()
            assert set(results) == {ContentId.of(b"meanwhile"), b"before"}
            assert is_pinned(running.url, before)
            assert is_pinned(running.url, ContentId.of(b"meanwhile"))


def test_a_server_that_is_busy_is_asked_again(ipfs, tmp_path):
    turns = itertools.count()

    def answer(asked):
        return Answer(b"", 503) if next(turns) % 2 == 0 else forward(asked, ipfs.url)

    with serve(answer) as url:
        busy = IpfsNode(url, timeouts=QUICK)
        content = IpfsStore(busy, LocalStore(tmp_path / "store")).put(b"in the end")
        assert IpfsStore(busy, LocalStore(tmp_path / "other")).get(content) == b"in the end"
        assert next(turns) == 4


def test_a_connection_that_breaks_halfway_is_begun_anew(ipfs, tmp_path, participant):
    content = participant("one").put(fill("count", 3 * BLOCK_SIZE))
    turns = itertools.count()

    def answer(asked):
        given = forward(asked, ipfs.url)
        if next(turns) == 0:
            return Answer(iter([given.body[:BLOCK_SIZE]]), headers={"Content-Length": str(len(given.body))})
        return given

    with serve(answer) as url:
        store = IpfsStore(IpfsNode(url, timeouts=QUICK), LocalStore(tmp_path / "store"))
        assert store.get(content) == fill("count", 3 * BLOCK_SIZE)
        assert next(turns) == 2


# What the node keeps


def test_what_is_put_is_pinned_in_the_node_until_gc_lets_it_go(participant, ipfs):
    store = participant("store")
    kept, lost = store.put(os.urandom(10)), store.put(os.urandom(10))
    assert is_pinned(ipfs.url, kept)
    assert is_pinned(ipfs.url, lost)
    store.pin(kept)
    store.gc()  # within the grace period
    assert is_pinned(ipfs.url, kept)
    assert is_pinned(ipfs.url, lost)
    store.gc(0)
    assert is_pinned(ipfs.url, kept)
    assert not is_pinned(ipfs.url, lost)
    with pytest.raises(ContentMissingError):
        participant("other").path(lost)
    store.unpin(kept)
    assert is_pinned(ipfs.url, kept)
    store.gc(0)
    assert not is_pinned(ipfs.url, kept)


def test_gc_leaves_alone_what_others_have_pinned_in_the_node(participant, ipfs, ipfs_node, tmp_path):
    path = tmp_path / "theirs"
    path.write_bytes(os.urandom(100))
    ipfs_node.add(path)
    theirs = ContentId.of_file(path)
    reader = participant("reader")
    reader.put(b"own")
    assert reader.path(theirs).exists()
    reader.gc(0)
    assert not reader.has(theirs)
    assert is_pinned(ipfs.url, theirs)


def test_gc_finds_what_a_put_that_died_had_left_in_the_node(participant, ipfs, ipfs_node, tmp_path):
    """It died after the node had taken the content, and the copy was collected since."""
    store = participant("store")
    content = store.put(os.urandom(100))
    test_local.alter(store.copies, content, "remove")
    participant("store").gc()
    assert not is_pinned(ipfs.url, content)


def test_gc_keeps_in_the_node_what_is_pinned_though_the_copy_is_gone(participant, ipfs):
    store = participant("store")
    data = os.urandom(100)
    content = store.put(data)
    store.pin(content)
    test_local.alter(store.copies, content, "remove")
    store.gc(0)
    assert store.get(content) == data


def test_a_pin_puts_back_what_the_node_has_lost(participant, ipfs):
    store = participant("store")
    content = store.put(os.urandom(100))
    call(ipfs.url, "pin/rm", content.cid)
    call(ipfs.url, "block/rm", content.cid)
    store.pin(content)
    assert is_pinned(ipfs.url, content)
    assert participant("other").path(content).exists()
    store.unpin(content)
    store.gc(0)


def test_a_pin_keeps_in_the_node_what_was_only_read(participant, ipfs):
    one, other = participant("one"), participant("other")
    content = one.put(os.urandom(2 * BLOCK_SIZE))
    call(ipfs.url, "pin/rm", content.cid)
    other.pin(content)
    assert is_pinned(ipfs.url, content)
    other.unpin(content)
    other.gc(0)


@pytest.mark.parametrize("how", ["flip", "remove"])
def test_verify_finds_what_the_node_has_lost_or_altered(participant, ipfs, how):
    store = participant("store")
    good, bad = store.put(os.urandom(10)), store.put(os.urandom(2 * BLOCK_SIZE))
    cid = last_block(store, bad)
    path = block_file(ipfs.repository, cid)
    data = path.read_bytes()
    if how == "flip":
        path.write_bytes(bytes(BLOCK_SIZE))
    else:
        path.unlink()
    verdicts = dict(store.verify())
    path.write_bytes(data)
    assert verdicts[good.cid] is None
    assert isinstance(verdicts[bad.cid], ContentAlteredError if how == "flip" else ContentMissingError)
    assert cid in str(verdicts[bad.cid])
