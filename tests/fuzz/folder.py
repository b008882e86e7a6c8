"""A folder of this process for parsers that read files."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

__all__ = ["file_with", "folder"]


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="galaxy-fuzz-")


def folder() -> Path:
    """It lasts as long as the process."""
    return Path(_temporary().name)


def file_with(name: str, content: bytes) -> Path:
    """A file of that content."""
    path = folder() / name
    path.write_bytes(content)
    return path
