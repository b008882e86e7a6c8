from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.store.server import StoreServer
from galaxy_chain.store.signed_request import Writer
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_fl.content import BLOCK_SIZE, ContentId, LocalStore
from galaxy_fl.content.http_store import HttpStore, http_store
from galaxy_fl.content.remote import RemoteError, Timeouts
from galaxy_fl.exceptions import ConfigurationError, ContentAlteredError, ContentError, ContentMissingError
from tests.galaxy_chain.federation import PARAMETERS
from tests.galaxy_chain.store.served.serving import store_server, writer
from tests.galaxy_fl.content import test_local
from tests.galaxy_fl.content.conformance import ABSENT, StoreConformance
from tests.galaxy_fl.content.servers import Answer, serve
from tests.galaxy_fl.content.unixfs_reference import fill

QUICK = Timeouts(search=5, restart=0.5)


@pytest.fixture
def server(federation, tmp_path) -> Iterator[StoreServer]:
    with store_server(federation, tmp_path / "served") as running:
        yield running


@pytest.fixture
def served(server, tmp_path):
    """The server's folder, as its operator sees it."""
    return LocalStore(tmp_path / "served")


@pytest.fixture
def participant(server, node, federation, tmp_path):
    """Somebody with a folder of that name: the owner without a job, an account in the job, or (None) a reader."""

    def participant(
        name: str, address: str | None = federation.owner, job: int = 0, url: str = server.url
    ) -> HttpStore:
        who = None if address is None else writer(node, address, job)
        return http_store(url, tmp_path / name, who, QUICK)

    return participant


class TestHttpStore(StoreConformance):
    @pytest.fixture
    def store(self, participant, served):
        self.served = served
        return participant("copies")

    def alter(self, store, content, how):
        """Both the copy and what the server has."""
        test_local.alter(store.copies, content, how)
        test_local.alter(self.served, content, how)


# Two who share a server


@pytest.mark.parametrize("size", [0, 5, BLOCK_SIZE + 1])
def test_what_one_puts_everybody_reads(participant, size):
    data = fill("count", size)
    content = participant("one").put(data)
    assert participant("reader", None).identify(content.cid) == content
    asking = participant("asking", None)
    assert asking.reaches(content)
    assert not asking.reaches(ContentId(content.digest, size + 1))
    assert not asking.has(content)  # nothing of it was read
    assert participant("reader", None).get(content) == data
    assert participant("another").path(content).read_bytes() == data
    assert participant("third", None).get(content, size // 2) == data[size // 2 :]


def test_a_block_is_read_by_its_digest_alone(participant):
    content = participant("one").put(b"a document")
    reader = participant("reader", None)
    assert reader.block(content.digest) == b"a document"
    assert reader.has(content)
    with pytest.raises(ContentMissingError, match=ABSENT.cid):
        reader.block(ABSENT.digest)


def test_content_that_is_no_block_is_not_read_as_one(participant):
    content = participant("one").put(bytes(BLOCK_SIZE + 1))
    with pytest.raises(ContentError):
        participant("reader", None).block(content.digest)


def test_what_a_reader_puts_and_pins_stays_in_its_folder(participant, served):
    reader = participant("reader", None)
    content = reader.put(b"recomputed")
    reader.pin(content)
    reader.unpin(content)
    assert reader.get(content) == b"recomputed"
    assert not served.has(content)


def test_a_damaged_copy_is_fetched_again(participant):
    store = participant("one")
    content = store.put(b"content")
    test_local.alter(store.copies, content, "flip")
    assert store.get(content) == b"content"
    assert [error for _, error in store.verify()] == [None]


def test_pinning_keeps_content_from_the_operators_collection_until_it_is_unpinned(participant, served):
    store = participant("one")
    content = store.put(b"kept")
    store.pin(content)
    assert served.gc(0).removed == 0
    store.unpin(content)
    assert served.gc(0).removed == 1


def test_pinning_sends_what_the_server_has_lost(participant, served):
    store = participant("one")
    content = store.put(b"kept here")
    served.gc(0)
    store.pin(content)
    assert served.get(content) == b"kept here"
    assert served.pins() == {content.cid}


def test_collecting_the_copies_leaves_the_server_alone(participant, served):
    store = participant("one")
    content = store.put(b"content")
    assert store.gc(0).removed == 1
    assert served.has(content)
    assert store.get(content) == b"content"


def test_putting_what_the_server_has_begins_its_grace_anew(participant, served):
    content = participant("one").put(b"content")
    os.utime(served.path(content), (0, 0))
    participant("another").put(b"content")
    assert served.gc(3600).removed == 0


def test_an_account_that_a_development_node_signs_for_can_put(server, node, federation, tmp_path):
    who = Writer(NodeSigner(federation.owner), Rpc(node.url))
    store = http_store(server.url, tmp_path / "copies", who, QUICK)
    content = store.put(b"content")
    store.pin(content)
    assert http_store(server.url, tmp_path / "reader").get(content) == b"content"


def test_a_client_that_has_joined_puts_its_updates(participant, federation, served):
    federation.client(0)
    store = participant("client", federation.clients[0], federation.job)
    content = store.put(bytes(4 * PARAMETERS))
    assert served.has(content)


# Networks that break


class Cutting:
    """A network that cuts each connection after so many bytes from the client (up) or from the server (down)."""

    def __init__(self, up: int | None = None, down: int | None = None) -> None:
        self.limits = up, down
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.connections = 0
        self.sockets: list[socket.socket] = []

    @contextmanager
    def to(self, port: int) -> Iterator[None]:
        thread = threading.Thread(target=self.accept, args=(port,))
        thread.start()
        try:
            yield
        finally:
            self.listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in (self.listener, *self.sockets):
                each.close()

    def accept(self, port: int) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", port))
            self.sockets += client, server
            for source, target, limit in ((client, server, self.limits[0]), (server, client, self.limits[1])):
                threading.Thread(target=self.pump, args=(source, target, limit), daemon=True).start()

    def pump(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                piece = piece if limit is None else piece[: limit - passed]
                target.sendall(piece)
                passed += len(piece)
                if passed == limit:
                    break
        for end in (target, source):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        # What has arrived is taken away: behind a full buffer nobody would learn that the connection is cut.
        with suppress(OSError):
            while source.recv(1 << 16):
                pass


@contextmanager
def behind(network: Cutting, federation, folder) -> Iterator[StoreServer]:
    with store_server(federation, folder, urls=[network.url]) as server, network.to(server.port):
        yield server


def test_an_upload_that_breaks_off_again_and_again_goes_on_where_it_was(federation, node, tmp_path):
    """No connection takes as much as the content: without going on it would never be there."""
    data = fill("count", 6 << 20)
    network = Cutting(up=2_500_000)
    with behind(network, federation, tmp_path / "served"):
        store = http_store(network.url, tmp_path / "copies", writer(node, federation.owner), QUICK)
        content = store.put(data)
    assert LocalStore(tmp_path / "served").get(content) == data
    assert network.connections >= 3
    assert not list((tmp_path / "served" / "uploads").iterdir())


def test_a_download_that_breaks_off_again_and_again_goes_on_where_it_was(federation, tmp_path):
    data = fill("count", 6 << 20)
    content = LocalStore(tmp_path / "served").put(data)
    network = Cutting(down=2_500_000)
    with behind(network, federation, tmp_path / "served"):
        assert http_store(network.url, tmp_path / "copies", timeouts=QUICK).get(content) == data
    assert network.connections == 3


def test_a_network_that_lets_nothing_through_is_said(federation, node, tmp_path):
    network = Cutting(up=100)
    with behind(network, federation, tmp_path / "served"):
        store = http_store(network.url, tmp_path / "copies", writer(node, federation.owner), QUICK)
        with pytest.raises(RemoteError, match="can't be reached"):
            store.put(b"content")


# Servers that are no good


@pytest.mark.parametrize("url", ["", "store", "ftp://host", "http://user:secret@host", "http://host/?a=b"])
def test_what_is_no_address_of_a_store(tmp_path, url):
    with pytest.raises(ConfigurationError):
        http_store(url, tmp_path / "copies")


def test_a_server_that_is_not_there_is_said_and_what_is_here_can_be_read(tmp_path, node, federation):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = http_store(f"http://127.0.0.1:{port}", tmp_path / "copies", writer(node, federation.owner), QUICK)
    with pytest.raises(RemoteError, match=f"127.0.0.1:{port} can't be reached.*start it"):
        store.put(b"content")
    assert store.get(ContentId.of(b"content")) == b"content"
    with pytest.raises(RemoteError, match="can't be reached"):
        store.get(ABSENT)


@pytest.mark.parametrize(
    "body",
    [b"", b"not what", b"what was asked for and more", bytes(1 << 20)],
    ids=["nothing", "something else", "more", "much more"],
)
def test_a_server_that_gives_something_else_is_not_believed(tmp_path, body):
    content = ContentId.of(b"what was asked for")
    with serve(lambda asked: Answer(body)) as url:
        store = http_store(url, tmp_path / "copies", timeouts=QUICK)
        with pytest.raises(ContentAlteredError, match=content.cid):
            store.get(content)
        with pytest.raises((ContentAlteredError, RemoteError)):
            store.block(content.digest)
    assert list(store.contents()) == []


def test_a_server_that_never_ends_is_left(tmp_path):
    def without_end() -> Iterator[bytes]:
        while True:
            yield bytes(1 << 16)

    with serve(lambda asked: Answer(without_end())) as url:
        store = http_store(url, tmp_path / "copies", timeouts=QUICK)
        with pytest.raises(ContentAlteredError, match="sends more than the"):
            store.get(ABSENT)
        with pytest.raises(RemoteError, match="more than 262144 bytes"):
            store.block(ABSENT.digest)


@pytest.mark.parametrize("status", [200, 404, 418, 500])
def test_something_that_is_no_content_store_is_said(tmp_path, node, federation, status):
    with serve(lambda asked: Answer(b"<html>", status)) as url:
        store = http_store(url, tmp_path / "copies", writer(node, federation.owner), QUICK)
        with pytest.raises(RemoteError, match="is that (its address|the address of a Galaxy content store)"):
            store.put(b"content")


def test_a_server_that_is_busy_is_asked_again(participant, server, served, tmp_path):
    content = participant("one").put(b"content")
    busy = [503, 429]

    def answer(asked: object) -> Answer:
        return Answer(b"", busy.pop()) if busy else Answer(b"content")

    with serve(answer) as url:
        assert http_store(url, tmp_path / "copies", timeouts=QUICK).get(content) == b"content"
    assert busy == []


def test_the_refusal_of_the_server_is_told(participant, federation, server):
    stranger = participant("stranger", federation.clients[2], federation.job)
    with pytest.raises(RemoteError, match=f"{federation.clients[2]} may put nothing into job .*join first") as caught:
        stranger.put(bytes(4 * PARAMETERS))
    assert caught.value.status == 403
    misnamed = participant("misnamed", url=f"http://localhost:{server.port}")
    with pytest.raises(RemoteError, match=rf"use one of the store's own addresses, {server.url}"):
        misnamed.put(b"content")
    with pytest.raises(RemoteError, match="no such job"):
        participant("lost", federation.owner, 99).put(b"content")


def test_threads_share_one_instance(participant):
    store, failures = participant("one"), []
    contents = [fill("count", 1000 * number) for number in range(12)]

    def work(offset: int) -> None:
        try:
            for number in range(12):
                data = contents[(number + offset) % 12]
                assert store.get(store.put(data)) == data
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in (0, 0, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(store.contents())) == 12
