"""Chunk trees: how one piece of a vector is proved against 32 bytes (protocol section 2).

A Merkle tree (R. Merkle, "A Digital Signature Based on a Conventional Encryption Function", CRYPTO 1987)
whose depth and chunk length are known from the job's terms, so that a leaf can't pass for a node.

Sums of vectors have the same tree, with chunks of as many int64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from mmap import ACCESS_READ, mmap
from typing import BinaryIO

import numpy as np

from galaxy_fl.exceptions import VectorError
from galaxy_fl.vectors.kernels import kernels
from galaxy_fl.vectors.vector import SUM_DTYPE, VECTOR_DTYPE, Sums, Vector, as_sums, as_vector

__all__ = [
    "ChunkTree",
    "Opening",
    "chunk_count",
    "commitment",
    "depth",
    "fitting_chunk",
    "root_of",
    "tree_root",
    "usual_chunk",
    "verify",
]

_DIGEST_BYTES = 32
_ADDRESS_BYTES = 20
_SMALL_CHUNK, _LARGE_CHUNK = 64, 256
_DEEPEST = 16


@dataclass(frozen=True)
class Opening:
    """One chunk of a vector, and what proves it.

    Attributes:
        index: which chunk, from 0.
        chunk: its bytes, 4 (of a sum 8) a parameter; the last chunk of a vector is padded with zeros.
        path: the siblings on the way to the root, the leaf's own first, 32 bytes each.
    """

    index: int
    chunk: bytes
    path: tuple[bytes, ...]


class ChunkTree:
    """The tree of a vector, kept whole so that any chunk can be opened.

    It refers to the vector and does not copy it; with 64 parameters a chunk the nodes take `d` bytes.

    Args:
        vector: int32, or int64 for a sum, `d` parameters.
        chunk_parameters: C.
        file: An empty binary file for the nodes, which are mapped from there; None to keep them in memory.

    Attributes:
        root: 32 bytes.
        depth: length of every path.

    Raises:
        VectorError: the vector is neither int32 nor int64, or not longer than one chunk.
    """

    def __init__(self, vector: Vector | Sums, chunk_parameters: int, file: BinaryIO | None = None) -> None:
        self._vector = _as_lanes(vector)
        self._chunk_parameters = chunk_parameters
        levels = _levels(self._vector, chunk_parameters)
        self._levels: list[bytearray] | list[memoryview] = list(levels) if file is None else _filed(levels, file)
        self.root = bytes(self._levels[-1])
        self.depth = len(self._levels) - 1

    def opening(self, index: int) -> Opening:
        """Return the opening of chunk `index`.

        Raises:
            VectorError: there is no such chunk.
        """
        _check_index(index, chunk_count(len(self._vector), self._chunk_parameters))
        start = index * self._chunk_parameters
        chunk = self._vector[start : start + self._chunk_parameters].tobytes()
        path = []
        for level, nodes in enumerate(self._levels[:-1]):
            sibling = _DIGEST_BYTES * ((index >> level) ^ 1)
            path.append(bytes(nodes[sibling : sibling + _DIGEST_BYTES]))
        return Opening(index, chunk.ljust(self._vector.itemsize * self._chunk_parameters, b"\0"), tuple(path))


def chunk_count(parameters: int, chunk_parameters: int) -> int:
    """Return how many chunks a vector has.

    Raises:
        VectorError: the vector is not longer than one chunk, so that its tree's root would be the digest
            of its content; or a chunk is empty.
    """
    if not 1 <= chunk_parameters < parameters:
        raise VectorError(
            f"{parameters} parameters in chunks of {chunk_parameters}: a chunk needs at least one parameter "
            "and a vector more than one chunk; choose smaller chunks"
        )
    return -(-parameters // chunk_parameters)


def fitting_chunk(parameters: int, most: int) -> int:
    """Return the largest chunk that a ledger takes: a multiple of 8, at most `most`, and smaller than the vector.

    Raises:
        VectorError: the vector has fewer than 9 parameters: it lacks its padding.
    """
    chunk_parameters = min(most, (parameters - 1) // 8 * 8)
    chunk_count(parameters, chunk_parameters)
    return chunk_parameters


def usual_chunk(parameters: int) -> int:
    """Return how many parameters a chunk has where nobody says otherwise: 64, or 256 if the tree were deeper than 16.

    Why, is in section 2 of the protocol.
    """
    return _SMALL_CHUNK if parameters <= _SMALL_CHUNK << _DEEPEST else _LARGE_CHUNK


def depth(parameters: int, chunk_parameters: int) -> int:
    """Return the tree's depth, ceil(log2(chunks)).

    Raises:
        VectorError: as `chunk_count`.
    """
    return (chunk_count(parameters, chunk_parameters) - 1).bit_length()


def tree_root(vector: Vector | Sums, chunk_parameters: int) -> bytes:
    """Return the root (32 bytes) of the tree of a vector or a sum; keeps no more than its leaves.

    Raises:
        VectorError: the vector is neither int32 nor int64, or not longer than one chunk.
    """
    lanes = _as_lanes(vector)
    levels = depth(len(lanes), chunk_parameters)
    return kernels().fold(_leaves(lanes, chunk_parameters), levels)


def root_of(opening: Opening, parameters: int, chunk_parameters: int, *, of_sum: bool = False) -> bytes:
    """Return the root that an opening leads to.

    Args:
        opening: taken from anybody.
        parameters: d, the vector's length.
        chunk_parameters: C.
        of_sum: whether it is of a sum, int64, and not of a vector.

    Raises:
        VectorError: the opening's index, chunk or path is not of this shape of tree.
    """
    _check_index(opening.index, chunk_count(parameters, chunk_parameters))
    size = chunk_parameters * (SUM_DTYPE if of_sum else VECTOR_DTYPE).itemsize
    if len(opening.chunk) != size:
        raise VectorError(f"the chunk has {len(opening.chunk)} bytes, expected {size}")
    levels = depth(parameters, chunk_parameters)
    if len(opening.path) != levels:
        raise VectorError(f"the path has {len(opening.path)} nodes, expected {levels}")
    node = sha256(opening.chunk).digest()
    position = opening.index
    for sibling in opening.path:
        # Were another length let through, bytes could wander between a node and its neighbour.
        if len(sibling) != _DIGEST_BYTES:
            raise VectorError(f"a node of the path has {len(sibling)} bytes, expected {_DIGEST_BYTES}")
        node = sha256(sibling + node if position & 1 else node + sibling).digest()
        position >>= 1
    return node


def verify(opening: Opening, root: bytes, parameters: int, chunk_parameters: int, *, of_sum: bool = False) -> bool:
    """Tell whether an opening, taken from anybody, belongs to the tree of this root.

    Raises:
        VectorError: `parameters` and `chunk_parameters` make no tree. A malformed opening is just false.
    """
    chunk_count(parameters, chunk_parameters)
    try:
        return root_of(opening, parameters, chunk_parameters, of_sum=of_sum) == root
    except VectorError:
        return False


def commitment(root: bytes, address: bytes) -> bytes:
    """Bind a tree's root (32 bytes) to its sender's address (20 bytes), and hide it (section 4).

    Raises:
        VectorError: root or address has another length.
    """
    if len(root) != _DIGEST_BYTES or len(address) != _ADDRESS_BYTES:
        raise VectorError(
            f"a commitment takes a root of {_DIGEST_BYTES} and an address of {_ADDRESS_BYTES} bytes, "
            f"got {len(root)} and {len(address)}"
        )
    return sha256(root + address).digest()


def _as_lanes(vector: Vector | Sums) -> Vector | Sums:
    return as_sums(vector) if vector.dtype == np.int64 else as_vector(vector)


def _levels(vector: Vector | Sums, chunk_parameters: int) -> Iterator[bytearray]:
    """Yield the tree's levels, 32 bytes a node, leaves first; all but the root's have an even number of nodes.

    The nodes beyond stand over padding alone and are all alike on a level: one is computed.
    """
    levels = depth(len(vector), chunk_parameters)
    nodes = _leaves(vector, chunk_parameters)
    padding = bytes(_DIGEST_BYTES)
    for _ in range(levels):
        if len(nodes) % (2 * _DIGEST_BYTES):
            nodes += padding
        yield nodes
        nodes = kernels().digests(nodes, 2 * _DIGEST_BYTES)
        padding = sha256(padding + padding).digest()
    yield nodes


def _filed(levels: Iterable[bytearray], file: BinaryIO) -> list[memoryview]:
    """Write the levels to a file one after the other, and return them as it has them."""
    lengths = [file.write(level) for level in levels]
    file.flush()
    nodes = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
    ends = list(accumulate(lengths))
    return [nodes[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _leaves(vector: Vector | Sums, chunk_parameters: int) -> bytearray:
    chunk_bytes = vector.itemsize * chunk_parameters
    content = vector.view(np.uint8).data
    whole = len(content) // chunk_bytes * chunk_bytes
    leaves = kernels().digests(content[:whole], chunk_bytes)
    if rest := bytes(content[whole:]):
        leaves += sha256(rest.ljust(chunk_bytes, b"\0")).digest()
    return leaves


def _check_index(index: int, chunks: int) -> None:
    if not 0 <= index < chunks:
        raise VectorError(f"there is no chunk {index}, expected 0 to {chunks - 1}")
