"""What the server knows beside the content: whose it is, who pinned it, and which signatures were used."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxy_fl.exceptions import ContentError

__all__ = ["Database"]

_TABLES = """
CREATE TABLE IF NOT EXISTS charges (
    space TEXT, cid TEXT, size INTEGER NOT NULL, address TEXT NOT NULL, PRIMARY KEY (space, cid)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pins (
    cid TEXT, space TEXT, address TEXT, PRIMARY KEY (cid, space, address)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS used (once TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
"""


class Database:
    """A SQLite file, for the threads of one process.

    Raises:
        ContentError: it can't be used.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.executescript(_TABLES)
        except sqlite3.Error as error:
            raise ContentError(f"{path} can't be used ({error}): look at the disk and at its permissions") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One thread's, and done as a whole or not at all. Those within it belong to it."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection

    def close(self) -> None:
        with self._lock:
            self._connection.close()
