"""Which sources a library was built from: the build writes it into the library, and whoever loads it compares."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

__all__ = ["sources_digest"]


def sources_digest(folder: Path) -> str:
    """Return the digest of the names and contents of the C sources in a folder."""
    digest = sha256()
    for path in sorted(folder.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + sha256(path.read_bytes()).digest())
    return digest.hexdigest()
