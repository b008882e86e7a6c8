from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_chain.store.gateway import Gateway
from galaxy_fl.content import BLOCK_SIZE, ContentId, LocalStore
from galaxy_fl.content.content_id import parse
from galaxy_fl.content.dag import walk
from galaxy_fl.content.remote import RemoteError
from galaxy_fl.exceptions import ConfigurationError, ContentAlteredError, ContentMissingError
from tests.galaxy_fl.content.conformance import ABSENT
from tests.galaxy_fl.content.servers import Answer, Asked, serve
from tests.galaxy_fl.content.unixfs_reference import bytes_field, cid_bytes, fill, leaf, text

from .conftest import QUICK

SIZES = [0, 5, BLOCK_SIZE, BLOCK_SIZE + 1, 5 * BLOCK_SIZE + 3]
RAW = "application/vnd.ipld.raw"


def random_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.fixture
def local(tmp_path):
    return LocalStore(tmp_path / "local")


@pytest.fixture
def trustless(ipfs_node):
    """A gateway as in the specification, block by block, in front of the daemon, whose own gives wholes alone."""

    def answer(asked: Asked) -> Answer:
        assert asked.query == {"format": "raw"}
        assert asked.headers["accept"] == RAW
        try:
            return Answer(ipfs_node.block(asked.resource.removeprefix("/ipfs/")), headers={"Content-Type": RAW})
        except ContentMissingError:
            return Answer(b"not found", 404)

    with serve(answer) as url:
        yield url


@pytest.fixture(params=["whole", "blocks"])
def gateway(request, ipfs, trustless):
    return Gateway(ipfs.gateway if request.param == "whole" else trustless, timeouts=QUICK)


@pytest.mark.parametrize("size", SIZES)
def test_content_is_read_from_a_gateway_of_either_kind(participant, gateway, local, size):
    content = participant("one").put(random_bytes(size))
    assert gateway.identify(content.cid) == content
    assert gateway.reaches(content)
    assert not gateway.reaches(ABSENT)
    gateway.fetch(content, local)
    assert local.get(content) == random_bytes(size)


def test_a_block_whose_size_nobody_has_said_is_read(participant, gateway):
    content = participant("one").put(b"a job document")
    assert gateway.block(content.digest) == b"a job document"


def test_content_that_a_gateway_does_not_find_is_missing_after_a_bounded_wait(gateway, local):
    with pytest.raises(ContentMissingError, match=ABSENT.cid):
        gateway.fetch(ABSENT, local)
    with pytest.raises(ContentMissingError, match=ABSENT.cid):
        gateway.block(ABSENT.digest)


@pytest.mark.parametrize("status", [404, 410, 500])
def test_an_answer_that_says_missing_is_missing(local, status):
    with (
        serve(lambda asked: Answer(b"no providers found", status)) as url,
        pytest.raises(ContentMissingError, match="no providers found"),
    ):
        Gateway(url, timeouts=QUICK).fetch(ABSENT, local)


@pytest.mark.parametrize("status", [302, 403, 418, 503])
def test_a_refusal_is_neither_missing_nor_altered(local, status):
    with serve(lambda asked: Answer(b"", status)) as url, pytest.raises(RemoteError, match=url):
        Gateway(url, timeouts=QUICK).fetch(ABSENT, local)


@pytest.mark.parametrize("size", [5, 5 * BLOCK_SIZE + 3])
@pytest.mark.parametrize("headers", [{}, {"Content-Type": RAW}])
def test_other_bytes_are_refused_and_not_kept(local, size, headers):
    content = ContentId.of(random_bytes(size))
    with (
        serve(lambda asked: Answer(bytes(min(size, BLOCK_SIZE)), headers=headers)) as url,
        pytest.raises(ContentAlteredError, match=content.cid),
    ):
        Gateway(url, timeouts=QUICK).fetch(content, local)
    assert list(local.contents()) == []
    assert local.gc(0).removed == 0


def test_the_first_wrong_block_ends_it(participant, ipfs_node, local):
    content = participant("one").put(random_bytes(5 * BLOCK_SIZE))
    turns = itertools.count()

    def answer(asked):
        block = ipfs_node.block(asked.resource.removeprefix("/ipfs/"))
        return Answer(block if next(turns) != 2 else b"\0" + block[1:], headers={"Content-Type": RAW})

    with serve(answer) as url, pytest.raises(ContentAlteredError, match="another one"):
        Gateway(url, timeouts=QUICK).fetch(content, local)
    assert next(turns) == 3


@pytest.mark.parametrize("headers", [{}, {"Content-Type": RAW}, {"Content-Encoding": "gzip"}])
@pytest.mark.parametrize("size", [5, 5 * BLOCK_SIZE])
def test_a_body_without_end_is_not_read_further_than_the_content_is_long(local, headers, size):
    sent = 0

    def pieces():
        nonlocal sent
        for _ in itertools.repeat(None):
            sent += 1 << 16
            yield bytes(1 << 16)

    with (
        serve(lambda asked: Answer(pieces(), headers=headers)) as url,
        pytest.raises(ContentAlteredError, match="something else"),
    ):
        Gateway(url, timeouts=QUICK).fetch(ContentId.of(bytes(size)), local)
    assert sent < 64 << 20  # what the system's buffers took


@pytest.mark.parametrize(("host", "allowed"), [("localhost", True), ("127.0.0.1", False)])
def test_a_gateway_may_send_to_its_own_host_and_nowhere_else(participant, trustless, local, host, allowed):
    content = participant("one").put(b"content")
    port = trustless.rpartition(":")[2]
    with serve(lambda asked: Answer(b"", 301, {"Location": f"http://{host}:{port}{asked.path}"})) as url:
        gateway = Gateway(url.replace("127.0.0.1", "localhost"), timeouts=QUICK)
        if allowed:
            gateway.fetch(content, local)
            assert local.get(content) == b"content"
        else:
            with pytest.raises(RemoteError, match=r"127\.0\.0\.1, which is another host"):
                gateway.fetch(content, local)


def test_what_is_no_address_is_refused():
    with pytest.raises(ConfigurationError, match="gateway"):
        Gateway("dweb.link")


# Trees


class Blocks(dict[str, bytes]):
    """Blocks by their cid, as a source of them."""

    def add(self, codec: int, block: bytes) -> str:
        cid = text(cid_bytes(codec, block))
        self[cid] = block
        return cid

    def node(self, *children: str) -> str:
        links = [bytes_field(2, bytes_field(1, bytes((1, parse(c)[1], 0x12, 32)) + parse(c)[0])) for c in children]
        return self.add(0x70, b"".join(links))


@pytest.mark.parametrize("children", [0, 1, 3, 174])
def test_a_tree_of_another_shape_is_refused(children):
    blocks = Blocks()
    block = fill("count", BLOCK_SIZE)
    cid = blocks.node(*[blocks.add(0x55, block)] * children)
    content = ContentId(parse(cid)[0], 2 * BLOCK_SIZE)
    with pytest.raises(ContentAlteredError, match=content.cid):
        list(walk(content, blocks.__getitem__))


def test_a_tree_that_unfolds_without_bound_costs_no_more_than_its_size():
    """Ten levels of nodes that name one child 174 times."""
    blocks, asked = Blocks(), 0
    cid = blocks.add(0x55, b"")
    for _ in range(10):
        cid = blocks.node(*[cid] * 174)

    def get(cid: str) -> bytes:
        nonlocal asked
        asked += 1
        return blocks[cid]

    with pytest.raises(ContentAlteredError):
        list(walk(ContentId(parse(cid)[0], 174 * BLOCK_SIZE), get))
    assert asked == 2


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_a_root_of_any_bytes_is_refused(root):
    blocks = Blocks()
    content = ContentId(parse(blocks.add(0x70, root))[0], 2 * BLOCK_SIZE)
    with pytest.raises(ContentAlteredError, match=content.cid):
        list(walk(content, blocks.__getitem__))


def test_a_leaf_of_another_length_is_refused():
    blocks = Blocks()
    short = blocks.add(0x55, b"short")
    content = ContentId(parse(blocks.node(text(leaf(b"short").cid), short))[0], 2 * BLOCK_SIZE)
    with pytest.raises(ContentAlteredError, match=short):
        list(walk(content, blocks.__getitem__))
