"""Sums that were found right: a file that the clients of one machine share, so that each is recomputed once.

What is remembered is sha256 over all that a sum's being right depends on, so it holds for every job and ledger.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from galaxy_fl.aggregation.sum_tree import Node
from galaxy_fl.exceptions import AggregationError
from galaxy_fl.files import make_folder

__all__ = ["NodeCache", "bounds_key", "finish_key", "flat_key", "node_key"]

LARGEST_FILE = 2**25
"""Bytes, of half a million keys; a larger file is begun anew by the next start, at the price of recomputing once."""
MOST_KEYS = 2**17
"""Keys that a process remembers without a file; it begins anew beyond them, at the same price."""


def node_key(
    d: int, chunk_parameters: int, level: int, root: bytes, children: Iterable[tuple[bytes, int, bool]]
) -> bytes:
    """Return the key of "the node with that root is the sum of these children, which are within their bounds".

    Args:
        d: Number of parameters.
        chunk_parameters: C.
        level: The node's, from 1.
        root: The node's, 32 bytes.
        children: All of them in order, the excluded ones too: commitment (level 1) or root, weight, whether excluded.

    Raises:
        AggregationError: a root, a commitment or a number is out of range.
    """
    return _key(b"node", _number(d), _number(chunk_parameters), _number(level), _digest(root), *_shown(children))


def flat_key(
    d: int,
    chunk_parameters: int,
    rule: str,
    rule_word: bytes,
    model: bytes,
    updates: Iterable[tuple[bytes, int, bool]],
    next: bytes,
) -> bytes:
    """Return the key of "the rule makes the next model of the model and these updates".

    Args:
        d: Number of parameters.
        chunk_parameters: C.
        rule: The rule's name.
        rule_word: Its word, 32 bytes.
        model, next: Roots of the models, 32 bytes.
        updates: All entries in order, the excluded ones too: commitment, weight, whether excluded.

    Raises:
        AggregationError: a root, a commitment or a number is out of range.
    """
    named = sha256(rule.encode()).digest()
    numbers = (_number(d), _number(chunk_parameters), named, _digest(rule_word), _digest(model), _digest(next))
    return _key(b"flat", *numbers, *_shown(updates))


def bounds_key(d: int, chunk_parameters: int, node: Node) -> bytes:
    """Return the key of "the vector of this node has its root and lies within the bounds of its weight"."""
    return _key(b"bounds", _number(d), _number(chunk_parameters), _digest(node.root), _number(node.weight))


def finish_key(
    d: int, chunk_parameters: int, rule: str, rule_word: bytes, model: bytes, node: Node, next: bytes
) -> bytes:
    """Return the key of "the rule makes the next model of the model and the root's sum".

    Args:
        d: Number of parameters.
        chunk_parameters: C.
        rule: The rule's name.
        rule_word: Its word, 32 bytes.
        model, next: Roots of the models, 32 bytes.
        node: The root of the tree of sums.

    Raises:
        AggregationError: a root or a number is out of range.
    """
    named = sha256(rule.encode()).digest()
    numbers = (_number(d), _number(chunk_parameters), named, _digest(rule_word), _digest(model))
    return _key(b"finish", *numbers, _digest(node.root), _number(node.weight), _digest(next))


def _shown(children: Iterable[tuple[bytes, int, bool]]) -> list[bytes]:
    return [_digest(child) + _number(weight) + bytes([excluded]) for child, weight, excluded in children]


def _key(kind: bytes, *parts: bytes) -> bytes:
    return sha256(sha256(b"galaxy sums: " + kind).digest() + b"".join(parts)).digest()


def _number(value: int) -> bytes:
    if not 0 <= value < 2**64:
        raise AggregationError(f"{value} is not a number from 0 to 2**64 - 1")
    return value.to_bytes(8)


def _digest(value: bytes) -> bytes:
    if len(value) != 32:
        raise AggregationError(f"{value.hex()} has {len(value)} bytes, expected 32")
    return value


class NodeCache:
    """A set of keys, each of something that was found right, for the threads and processes of one machine.

    It is trusted: keep the file where only this user can write.

    Args:
        file: Keeps them, a line each; None for this process alone.

    Raises:
        OSError: the file can't be read, or its folder can't be made.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: set[bytes] = set()
        self._read = 0
        self._lock = threading.Lock()
        if file is not None:
            make_folder(file.parent, 0o700)
            if file.exists() and file.stat().st_size > LARGEST_FILE:
                file.unlink(missing_ok=True)
            self._look()

    def __contains__(self, key: bytes) -> bool:
        with self._lock:
            if key not in self._known:
                self._look()
            return key in self._known

    def add(self, key: bytes) -> None:
        """Remember a key.

        Raises:
            OSError: the file can't be written.
        """
        with self._lock:
            if key in self._known:
                return
            if self._file is None and len(self._known) >= MOST_KEYS:
                self._known.clear()
            self._known.add(_digest(key))
            if self._file is None:
                return
            # One write to the end of the file, whole among those of other processes. It begins a line, because a crash
            # may have cut the one before. What a loss of power takes is computed again.
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, b"\n" + key.hex().encode() + b"\n")
            finally:
                os.close(descriptor)

    def _look(self) -> None:
        """Read what other processes have added since."""
        if self._file is None:
            return
        try:
            with self._file.open("rb") as file:
                if (size := os.fstat(file.fileno()).st_size) == self._read:
                    return
                if size < self._read:  # another process has begun it anew
                    self._read = 0
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.split(b"\n"):
            if re.fullmatch(rb"[0-9a-f]{64}", line):
                self._known.add(bytes.fromhex(line.decode()))
