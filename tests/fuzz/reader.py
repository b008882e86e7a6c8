"""Reads values off the fuzzer's bytes; past their end all is zero, so that every input means something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Reader"]

T = TypeVar("T")


class Reader:
    """Bytes, read from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        return self._position < len(self._data)

    def take(self, length: int) -> bytes:
        """The next bytes, exactly so many."""
        taken = self._data[self._position : self._position + length]
        self._position += length
        return taken.ljust(length, b"\0")

    def integer(self, length: int = 1) -> int:
        """An unsigned integer of so many bytes, big-endian."""
        return int.from_bytes(self.take(length))

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, by the next byte."""
        return choices[self.integer() % len(choices)]

    def rest(self) -> bytes:
        """All that is left."""
        taken = self._data[self._position :]
        self._position = len(self._data)
        return taken
