"""What an input says of sizes costs nothing by itself; what it costs to find out that it lies is bounded."""

from __future__ import annotations

import gzip
import os
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from galaxy_chain.exceptions import RpcError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.rpc.transport import LARGEST_ANSWER
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.data.datasets import load as load_dataset
from galaxy_fl.exceptions import ContentAlteredError, ContentError, DataError
from tests.fuzz.hostile_server import HostileServer
from tests.fuzz.targets import load

CORPUS = Path(__file__).with_name("corpus")
MEGABYTE = 2**20
CONTENT = b"what was put"


def peak(action: Callable[[], object]) -> int:
    """The most bytes that were in use at once."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "name",
    [
        "abi/event_of_declared_length",
        "abi/answer_long",
        "dag/field_too_long",
        "layout/more_parameters_than_an_integer_shows",
        "layout/nothing_of_something_huge",
        "opening/huge",
        "rpc_http/head_chunk",
        "rpc_http/head_long",
        "vector_file/declared_far_too_large",
    ],
)
def test_a_declared_size_takes_no_memory(name: str) -> None:
    fuzz, data = load(name.partition("/")[0]), (CORPUS / name).read_bytes()
    fuzz(data)  # once for what is imported and cached
    assert peak(lambda: fuzz(data)) < 4 * MEGABYTE


@pytest.fixture
def bomb() -> HostileServer:
    """A node whose few bytes are 256 megabytes, packed twice."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = deflate.compress(bytes(16 * MEGABYTE)) + deflate.flush(zlib.Z_FULL_FLUSH)
    packed = gzip.compress(block * 16 + deflate.flush())
    server = HostileServer()
    server.answers = lambda body: b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate, gzip\r\n\r\n" + packed
    return server


def test_an_answer_that_unfolds_is_given_up_in_time(bomb: HostileServer) -> None:
    def ask() -> None:
        with pytest.raises(RpcError):
            Rpc(bomb.url).request("eth_chainId")

    assert peak(ask) < 2 * LARGEST_ANSWER


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_a_pipe_in_the_place_of_content_is_not_waited_for(store: LocalStore) -> None:
    content = store.put(CONTENT)
    path = store.path(content)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ContentAlteredError, match="it has 0 bytes, not 12"):
        store.get(content)
    with pytest.raises(ContentError):
        store.block(content.digest)
    assert list(store.verify()) == list(store.contents()) == []
    os.mkfifo(store.root / "temporary" / "pipe")
    assert store.gc().removed == 1
    assert store.put(CONTENT) == content
    assert store.get(content) == CONTENT


def test_a_pipe_for_empty_content(store: LocalStore) -> None:
    content = ContentId.of(b"")
    store.put(b"")
    path = store.path(content)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ContentError, match="can't read"):
        store.get(content)


def test_a_huge_version_file_is_not_read(store: LocalStore) -> None:
    with (store.root / "VERSION").open("wb") as file:
        file.truncate(2**40)

    def open_again() -> None:
        with pytest.raises(ContentError, match="has the layout"):
            LocalStore(store.root)

    assert peak(open_again) < MEGABYTE


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sys:nothing", r"'sys' \(built in\) has no function 'nothing'"),
        ("builtins:dict", "it can't be seen how to call the function"),
        (":x", "unknown data set ':x'.*or module:function of your own"),
    ],
)
def test_a_data_set_that_is_no_function_of_a_file(name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_dataset(name, "train")
