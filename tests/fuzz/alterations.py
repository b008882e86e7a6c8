"""Inputs that are nearly right: those of the corpus with something altered, in their bytes or in their JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

__all__ = ["altered"]

Draw = Callable[[st.SearchStrategy[Any]], Any]

STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 2**256, 10**400, 1e308, -0.5, "", "0x", "-0x1", "0x" + "f" * 80, "x", "\ud800", "\0",
    "9" * 5000, [], {}, [[]], {"a": {}}, json.loads("[" * 150 + "]" * 150),
)  # fmt: skip
"""What a number, a text or a whole branch of JSON may be instead."""
PIECES = (
    b"",
    b"\0",
    b"\xff",
    b"\0" * 32,
    b"\xff" * 32,
    b"\x7f" + b"\xff" * 7,
    b"\n",
    b"[" * 40,
    b"\xed\xa0\x80",
    b"0x",
)


@st.composite
def altered(draw: Draw, corpus: Sequence[bytes]) -> bytes:
    """One of the corpus with one to three alterations."""
    data: bytes = draw(st.sampled_from(corpus))
    for _ in range(draw(st.integers(1, 3))):
        alter = draw(st.sampled_from((_json, _json, _splice, _repeat)))
        data = alter(draw, data)
    return data


def _splice(draw: Draw, data: bytes) -> bytes:
    start = draw(st.integers(0, len(data)))
    stop = start + draw(st.sampled_from((0, 1, 2, 32, len(data))))
    piece: bytes = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
    return data[:start] + piece + data[stop:]


def _repeat(draw: Draw, data: bytes) -> bytes:
    start = draw(st.integers(0, len(data)))
    stop = draw(st.integers(start, len(data)))
    return data[:stop] + data[start:stop] * draw(st.integers(1, 3)) + data[stop:]


def _json(draw: Draw, data: bytes) -> bytes:
    """One of its lines of JSON, altered at one place; a byte or two before it may say what it is for."""
    lines = data.split(b"\n")
    index = draw(st.integers(0, len(lines) - 1))
    start = min((place for place in map(lines[index].find, (b"{", b"[")) if place >= 0), default=0)
    try:
        value = json.loads(lines[index][start:])
    except (ValueError, RecursionError):
        return _splice(draw, data)
    lines[index] = lines[index][:start] + json.dumps(_altered(draw, value)).encode()
    return b"\n".join(lines)


def _altered(draw: Draw, value: Any) -> Any:
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(STRANGE))
    place = draw(st.sampled_from([*value] if isinstance(value, dict) else range(len(value))))
    changed = value.copy()
    if draw(st.integers(0, 4)) == 0:
        del changed[place]
    else:
        changed[place] = _altered(draw, value[place])
    return changed
