"""A file that is as it will stay, and what it holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from galaxy_fl.content.content_id import ContentId, Hasher
from galaxy_fl.files import clock_passes

__all__ = ["LARGE", "Finished", "stamp_of"]

LARGE = 1 << 20
"""Bytes from which on it is worth something not to hash content a second time."""
_READ_SIZE = 1 << 20

Stamp = tuple[int, int, int, int]
"""Of a file: device, inode, size, and when it was modified, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A file that nobody writes to any more: a store has it as its own, where it would copy another.

    Attributes:
        path: Where it is. Whoever has it there may take the name away, but not write to what it names.
        content: What it holds.
        stamp: Of the file when it was hashed.
        settled: Whether a write since then shows in the stamp, because the file system's clock had gone on before.
    """

    path: Path
    content: ContentId
    stamp: Stamp
    settled: bool

    @classmethod
    def of(cls, path: Path) -> Finished:
        """Hash a file, once: whoever puts it next does without.

        Raises:
            OSError: it can't be read.
        """
        with path.open("rb", buffering=0) as file:
            stamp = stamp_of(file.fileno())
            settled = stamp[2] >= LARGE and clock_passes(stamp[3], path.parent)
            hasher = Hasher()
            while piece := file.read(_READ_SIZE):
                hasher.update(piece)
        return cls(path, hasher.finish(), stamp, settled)


def stamp_of(descriptor: int) -> Stamp:
    """Return the stamp of an open file."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
