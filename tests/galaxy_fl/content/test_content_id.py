from __future__ import annotations

import base64
import hashlib
import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_fl.content.content_id import BLOCK_SIZE, Codec, ContentId, Hasher, blocks, parse
from galaxy_fl.exceptions import ContentError

from . import unixfs_reference as reference

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "content_ids.json").read_text())
EMPTY = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


@pytest.mark.usefixtures("every_kernels")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['fill']}-{v['size']}")
def test_id_equals_that_of_an_independent_implementation_and_of_the_slow_reference(vector):
    data = reference.fill(vector["fill"], vector["size"])
    assert hashlib.sha256(data).hexdigest() == vector["sha256"]
    content = ContentId.of(data)
    assert content.size == vector["size"]
    assert content.cid == vector["cid"] == reference.cid_of(data)


def test_vectors_cover_every_boundary_of_blocks_and_of_tree_levels():
    full = reference.LINKS * BLOCK_SIZE
    boundaries = {
        0,
        1,
        BLOCK_SIZE - 1,
        BLOCK_SIZE,
        BLOCK_SIZE + 1,
        full - 1,
        full,
        full + 1,
        2 * full,
        2 * full + 1,
    }
    assert boundaries <= {v["size"] for v in VECTORS}


@pytest.mark.parametrize(
    ("data", "cid"),
    [
        (b"", EMPTY),
        (b"hello world\n", "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"),
        (b"hello\n", "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"),
        (b"Hello IPFS\n", "bafkreidfdrlkeq4m4xnxuyx6iae76fdm4wgl5d4xzsb77ixhyqwumhz244"),
    ],
)
def test_ids_of_small_files_are_those_published_by_ipfs(data, cid):
    assert ContentId.of(data).cid == reference.cid_of(data) == cid


def test_id_of_a_tree_of_two_levels_is_that_published_for_kubo():
    """512 blocks; the id that aleph-rs pins against kubo's `ipfs add --cid-version=1`."""
    hasher = Hasher()
    for _ in range(128):
        hasher.update(b"deadbeef" * (1 << 17))
    published = "bafybeiawhayvhrtunmsazigmne75kqyyb2z7oqlvky3abpk4tbkqyzv6iu"
    assert hasher.finish().cid == published
    leaf = reference.leaf(b"deadbeef" * (BLOCK_SIZE // 8))
    assert reference.text(reference.root([leaf] * 512).cid) == published


def test_reference_builds_the_file_node_of_the_unixfs_specification():
    """`multiblock.txt` of the specification's test vectors: five raw leaves, 1,026 bytes, Tsize 1,271."""
    published = [
        ("bafkreie5noke3mb7hqxukzcy73nl23k6lxszxi5w3dtmuwz62wnvkpsscm", 256),
        ("bafkreih4ephajybraj6wnxsbwjwa77fukurtpl7oj7t7pfq545duhot7cq", 256),
        ("bafkreigu7buvm3cfunb35766dn7tmqyh2um62zcio63en2btvxuybgcpue", 256),
        ("bafkreicll3huefkc3qnrzeony7zcfo7cr3nbx64hnxrqzsixpceg332fhe", 256),
        ("bafkreifst3pqztuvj57lycamoi7z34b4emf7gawxs74nwrc2c7jncmpaqm", 2),
    ]
    leaves = [reference.Node(base64.b32decode(cid[1:].upper() + "======"), size, size) for cid, size in published]
    node = reference.root(leaves)
    assert (node.file_size, node.tree_size) == (1026, 1271)
    assert reference.text(node.cid) == "bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa"


@given(st.binary(max_size=2000))
def test_id_of_a_single_block_is_its_sha256(data):
    content = ContentId.of(data)
    assert content.digest == hashlib.sha256(data).digest()
    assert content.codec is Codec.RAW


@settings(deadline=None)
@given(size=st.integers(0, 5 * BLOCK_SIZE), cuts=st.lists(st.integers(0, 5 * BLOCK_SIZE), max_size=8))
def test_any_split_of_a_stream_gives_the_id_of_the_whole(size, cuts):
    data = reference.fill("count", size)
    hasher = Hasher()
    edges = [0, *sorted(min(cut, size) for cut in cuts), size]
    for start, stop in pairwise(edges):
        hasher.update(memoryview(data)[start:stop])
    content = hasher.finish()
    assert content == ContentId.of(data)
    assert content.cid == reference.cid_of(data)


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE, BLOCK_SIZE + 1, 9 * BLOCK_SIZE + 7])
def test_bytes_views_arrays_and_files_have_the_same_id(tmp_path, size):
    data = reference.fill("count", size)
    path = tmp_path / "content"
    path.write_bytes(data)
    expected = ContentId.of(data)
    assert ContentId.of(bytearray(data)) == expected
    assert ContentId.of(memoryview(data)) == expected
    assert ContentId.of_file(path) == expected
    assert b"".join(blocks(io.BytesIO(data))) == data


@pytest.mark.parametrize("count", [0, 3, 700_000])
def test_a_view_of_int32_counts_bytes_not_items(count):
    vector = np.arange(count, dtype="<i4")
    assert ContentId.of(memoryview(vector)) == ContentId.of(vector.tobytes())


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**40))
def test_cid_and_size_give_back_the_content_id(digest, size):
    content = ContentId(digest, size)
    assert parse(content.cid) == (digest, content.codec)
    assert ContentId.from_cid(content.cid, size) == content
    assert len(content.cid) == 59


@given(st.binary(min_size=32, max_size=32), st.integers(0, 58), st.characters())
def test_a_changed_character_never_gives_the_same_id(digest, position, character):
    cid = ContentId(digest, 0).cid
    changed = cid[:position] + character + cid[position + 1 :]
    try:
        found = parse(changed)
    except ContentError:
        assert changed != cid
    else:
        assert (found == (digest, Codec.RAW)) == (changed == cid)


@given(st.text(max_size=70))
def test_arbitrary_text_is_not_an_id_and_the_error_shows_it(text):
    with pytest.raises(ContentError) as caught:
        parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        EMPTY.upper(),
        EMPTY[:-1],
        EMPTY + "a",
        EMPTY + "=",
        EMPTY[:-1] + "v",  # the same bytes, but a trailing bit that must be zero is set
        "z" + EMPTY[1:],
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",  # CIDv0
        "bafyreihdb57fdysx5h35urvxz64ros7zvywshber7id6t6c6fek37jgyfe",  # dag-cbor
        "bafkqaaa",  # identity
        "",
        "b",
        "../../etc/passwd",
    ],
)
def test_other_spellings_and_other_ids_are_refused(text):
    with pytest.raises(ContentError, match="is not a content id"):
        parse(text)


@pytest.mark.parametrize(("size", "other"), [(0, BLOCK_SIZE + 1), (BLOCK_SIZE, 2**30), (BLOCK_SIZE + 1, BLOCK_SIZE)])
def test_codec_and_size_must_agree(size, other):
    cid = ContentId(bytes(32), size).cid
    with pytest.raises(ContentError, match=f"content of {other} bytes"):
        ContentId.from_cid(cid, other)


def test_digest_and_size_are_checked():
    with pytest.raises(ContentError, match="not 31"):
        ContentId(bytes(31), 0)
    with pytest.raises(ContentError, match="-1 bytes"):
        ContentId(bytes(32), -1)


def test_a_finished_hasher_is_spent():
    hasher = Hasher()
    hasher.finish()
    with pytest.raises(ValueError, match="finalized"):
        hasher.update(b"late")
    with pytest.raises(ValueError, match="finalized"):
        hasher.finish()
