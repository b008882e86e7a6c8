"""What the server knows beside the content: whose it is, who pinned it, and which signatures were used."""

from __future__ import annotations

from pathlib import Path

from galaxy_fl.exceptions import ContentError
from galaxy_fl.sqlite_file import Format, SqliteFile

__all__ = ["open_database"]

FORMAT = Format(
    name="the memory of the store",
    version=1,
    schema="""
CREATE TABLE charges (
    space TEXT, cid TEXT, size INTEGER NOT NULL, address TEXT NOT NULL, PRIMARY KEY (space, cid)
) WITHOUT ROWID;
CREATE TABLE pins (
    cid TEXT, space TEXT, address TEXT, PRIMARY KEY (cid, space, address)
) WITHOUT ROWID;
CREATE TABLE used (once TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
""",
    remedy="move it away: content stays, but who pinned it, and what counts against quotas, is forgotten",
    busy="another process holds it: stop that one",
    error=ContentError,
)


def open_database(path: Path) -> SqliteFile:
    """Opens the server's file, or makes it.

    Raises:
        ContentError: it can't be used, is damaged, or has another format.
    """
    return SqliteFile.open(path, FORMAT, lock_seconds=5.0)
