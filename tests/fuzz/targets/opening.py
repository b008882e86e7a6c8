"""Openings of chunks, taken from anybody."""

from __future__ import annotations

from hashlib import sha256

from galaxy_fl.exceptions import VectorError
from galaxy_fl.vectors import Opening, root_of, verify
from tests.fuzz.clean import refused
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    parameters, chunk_parameters = reader.integer(reader.pick((1, 8))), reader.integer(reader.pick((1, 8)))
    index = reader.integer(reader.pick((1, 8))) - reader.pick((0, 1))
    chunk = reader.take(4 * chunk_parameters if reader.integer() % 8 and chunk_parameters < 256 else reader.integer())
    path = tuple(reader.take(32 if reader.integer() % 8 else reader.integer()) for _ in range(reader.integer() % 16))
    opening = Opening(index, chunk, path)
    try:
        root = root_of(opening, parameters, chunk_parameters)
    except VectorError as error:
        if 1 <= chunk_parameters < parameters:
            assert not verify(opening, bytes(32), parameters, chunk_parameters)
        return refused(error)
    assert verify(opening, root, parameters, chunk_parameters)
    assert not verify(opening, bytes(32), parameters, chunk_parameters)
    assert root == _root(chunk, path, index)
    return True


def _root(chunk: bytes, path: tuple[bytes, ...], index: int) -> bytes:
    node = sha256(chunk).digest()
    for bit, sibling in enumerate(path):
        pair = (sibling, node) if index >> bit & 1 else (node, sibling)
        node = sha256(b"".join(pair)).digest()
    return node
