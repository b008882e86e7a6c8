from __future__ import annotations

import json
import struct
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_fl.exceptions import VectorError
from galaxy_fl.vectors import (
    ChunkTree,
    Opening,
    Vector,
    chunk_count,
    commitment,
    depth,
    root_of,
    tree_root,
    verify,
)

TREES = json.loads((Path(__file__).parents[2] / "vectors" / "chunk_tree.json").read_text())["trees"]


def seeded(seed: str, count: int) -> Vector:
    numbers = [struct.unpack("<i", sha256(f"{seed}:{i}".encode()).digest()[:4])[0] for i in range(count)]
    return np.array(numbers, np.int32)


@st.composite
def trees(draw: st.DrawFn) -> tuple[int, int, ChunkTree]:
    chunk = draw(st.integers(1, 20))
    d = draw(st.integers(chunk + 1, chunk * 20))
    return d, chunk, ChunkTree(seeded(str(draw(st.integers(0, 5))), d), chunk)


@pytest.mark.usefixtures("every_kernels")
@pytest.mark.parametrize("case", TREES, ids=lambda case: case["seed"])
def test_trees_agree_with_the_test_vectors(case: dict[str, Any]) -> None:
    vector = seeded(case["seed"], case["d"])
    tree = ChunkTree(vector, case["C"])
    assert tree.root.hex() == tree_root(vector, case["C"]).hex() == case["root"]
    assert tree.depth == depth(case["d"], case["C"]) == case["depth"]
    assert commitment(tree.root, bytes.fromhex(case["address"])).hex() == case["commitment"]
    for expected in case["openings"]:
        path = tuple(bytes.fromhex(node) for node in expected["path"])
        opening = Opening(expected["index"], bytes.fromhex(expected["chunk"]), path)
        assert tree.opening(expected["index"]) == opening
        assert root_of(opening, case["d"], case["C"]) == tree.root


@given(trees())
def test_every_chunk_opens_to_the_root(made: tuple[int, int, ChunkTree]) -> None:
    d, chunk, tree = made
    for index in range(chunk_count(d, chunk)):
        opening = tree.opening(index)
        assert verify(opening, tree.root, d, chunk)
        assert len(opening.path) == tree.depth == depth(d, chunk)


@given(trees(), st.data())
def test_no_flipped_bit_verifies(made: tuple[int, int, ChunkTree], data: st.DataObject) -> None:
    d, chunk, tree = made
    opening = tree.opening(data.draw(st.integers(0, chunk_count(d, chunk) - 1)))

    def flip(content: bytes) -> bytes:
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        return (int.from_bytes(content, "big") ^ (1 << bit)).to_bytes(len(content), "big")

    level = data.draw(st.integers(0, tree.depth - 1))
    path = (*opening.path[:level], flip(opening.path[level]), *opening.path[level + 1 :])
    assert not verify(replace(opening, chunk=flip(opening.chunk)), tree.root, d, chunk)
    assert not verify(replace(opening, path=path), tree.root, d, chunk)
    assert not verify(opening, flip(tree.root), d, chunk)


@given(trees(), st.data())
def test_no_other_index_verifies(made: tuple[int, int, ChunkTree], data: st.DataObject) -> None:
    d, chunk, tree = made
    opening = tree.opening(data.draw(st.integers(0, chunk_count(d, chunk) - 1)))
    other = data.draw(st.integers(-3, 2 ** (tree.depth + 1)).filter(lambda index: index != opening.index))
    assert not verify(replace(opening, index=other), tree.root, d, chunk)


@given(trees(), st.data())
def test_no_other_length_verifies(made: tuple[int, int, ChunkTree], data: st.DataObject) -> None:
    d, chunk, tree = made
    opening = tree.opening(data.draw(st.integers(0, chunk_count(d, chunk) - 1)))
    assert not verify(replace(opening, path=opening.path[1:]), tree.root, d, chunk)
    assert not verify(replace(opening, path=opening.path[:-1]), tree.root, d, chunk)
    assert not verify(replace(opening, path=(*opening.path, bytes(32))), tree.root, d, chunk)
    assert not verify(replace(opening, chunk=opening.chunk + bytes(4)), tree.root, d, chunk)
    assert not verify(replace(opening, chunk=opening.chunk[:-1]), tree.root, d, chunk)
    assert not verify(replace(opening, path=(opening.path[0][:-1], *opening.path[1:])), tree.root, d, chunk)


def test_a_node_does_not_pass_for_a_leaf() -> None:
    """With chunks of 16 parameters a chunk is as long as two nodes: only the depth tells them apart."""
    tree = ChunkTree(seeded("node", 64), 16)
    opening = tree.opening(0)
    children = sha256(opening.chunk).digest() + opening.path[0]
    forged = Opening(0, children, opening.path[1:])
    assert root_of(replace(forged), 32, 16) == tree.root
    with pytest.raises(VectorError, match="1 nodes, expected 2"):
        root_of(forged, 64, 16)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"index": 3}, "no chunk 3, expected 0 to 2"),
        ({"index": -1}, "no chunk -1"),
        ({"chunk": bytes(31)}, "31 bytes, expected 32"),
        ({"path": ()}, "0 nodes, expected 2"),
        ({"path": (bytes(32), bytes(31))}, "31 bytes, expected 32"),
    ],
)
def test_a_malformed_opening_is_refused_with_the_reason(changed: dict[str, Any], says: str) -> None:
    opening = ChunkTree(seeded("malformed", 20), 8).opening(2)
    with pytest.raises(VectorError, match=says):
        root_of(replace(opening, **changed), 20, 8)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_chunk_that_does_not_exist_is_not_opened(index: int) -> None:
    with pytest.raises(VectorError, match=f"no chunk {index}"):
        ChunkTree(seeded("few", 20), 8).opening(index)


@pytest.mark.parametrize(("d", "chunk"), [(8, 8), (7, 8), (0, 8), (8, 0), (8, -1)])
def test_a_vector_must_be_longer_than_one_chunk(d: int, chunk: int) -> None:
    vector = np.zeros(d, np.int32)
    for attempt in (ChunkTree, tree_root):
        with pytest.raises(VectorError, match=f"{d} parameters in chunks of {chunk}"):
            attempt(vector, chunk)
    with pytest.raises(VectorError):
        verify(Opening(0, bytes(32), ()), bytes(32), d, chunk)


@pytest.mark.parametrize(
    ("chunks", "expected"), [(2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (2**20, 20), (2**20 + 1, 21)]
)
def test_depth_is_the_logarithm_rounded_up(chunks: int, expected: int) -> None:
    assert depth(chunks * 64, 64) == depth(chunks * 64 - 63, 64) == expected


def test_only_int32_vectors_have_trees() -> None:
    with pytest.raises(VectorError, match="float32"):
        tree_root(np.zeros(20, np.float32), 8)


@pytest.mark.parametrize(("root", "address"), [(31, 20), (32, 21), (32, 19), (33, 19)])
def test_a_commitment_takes_a_root_and_an_address(root: int, address: int) -> None:
    with pytest.raises(VectorError, match=f"got {root} and {address}"):
        commitment(bytes(root), bytes(address))
