"""SQLite files: opened one way, changed as a whole or not at all, with errors that say what to do."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxy_fl.exceptions import ConfigurationError, GalaxyError
from galaxy_fl.files import make_folder

__all__ = ["Format", "SqliteFile"]


@dataclass(frozen=True, slots=True)
class Format:
    """What a kind of file has in it, and what its errors tell people to do."""

    name: str
    """The kind, for one in memory."""
    version: int
    """At least 1; raised whenever `schema` changes."""
    schema: str
    """Statements that make the tables, separated by semicolons."""
    remedy: str
    """What to do with a file that is damaged or has another version."""
    busy: str
    """Who holds a file that is in use, and what to do."""
    error: type[GalaxyError] = ConfigurationError
    """The class of all errors."""


class SqliteFile:
    """An open file, for all threads of this process.

    A transaction that has ended outlives the process; a durable one outlives a loss of power, too.

    Attributes:
        name: The file, for messages.
        threads: The lock that a thread holds during queries and transactions; for reads that belong together.
    """

    def __init__(self, connection: sqlite3.Connection, name: str, format: Format) -> None:
        self.name = name
        self.threads = threading.RLock()
        self._connection = connection
        self._format = format
        weakref.finalize(self, connection.close)

    @classmethod
    def open(cls, path: Path | None, format: Format, *, lock_seconds: float, exclusive: bool = False) -> SqliteFile:
        """Opens a file, or makes it with its folder if it does not exist.

        Args:
            path: None for one in memory, which ends with the process.
            lock_seconds: How long another process may hold the file before it counts as in use.
            exclusive: Whether this process alone may have it open.

        Raises:
            GalaxyError: the format's error: it can't be used, is damaged, has another format, or is in use.
        """
        name = format.name if path is None else str(path)
        try:
            if path is not None:
                make_folder(path.parent)
            connection = sqlite3.connect(
                ":memory:" if path is None else path,
                timeout=lock_seconds,
                isolation_level=None,
                check_same_thread=False,  # `threads` keeps them apart
            )
        except (OSError, sqlite3.Error) as error:
            raise format.error(f"{name} can't be made or opened: {error}") from error
        file = cls(connection, name, format)
        try:
            file._prepare(exclusive)
        except BaseException:
            file.close()
            raise
        return file

    def _prepare(self, exclusive: bool) -> None:
        if exclusive:
            self.query("PRAGMA locking_mode = EXCLUSIVE")
        self.query("PRAGMA journal_mode = WAL")
        self.query("PRAGMA foreign_keys = ON")
        with self.transaction():
            ((version,),) = self.query("PRAGMA user_version")
            if version == 0 and not self.query("SELECT 1 FROM sqlite_master"):
                for statement in filter(str.strip, self._format.schema.split(";")):
                    self.query(statement)
                self.query(f"PRAGMA user_version = {self._format.version}")
            elif version != self._format.version:
                raise self._format.error(
                    f"{self.name} has format {version}, expected {self._format.version}: {self._format.remedy}"
                )

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns the rows of a statement.

        Raises:
            GalaxyError: the format's error, which was raised from SQLite's.
        """
        try:
            with self.threads:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:
            # what the module itself raises has no code
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise self._format.error(f"{self.name} is in use: {self._format.busy}") from error
            raise self._format.error(
                f"{self.name} can't be used ({error}): the folder has to be one that this process may write to and "
                "that has room"
            ) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter of what is damaged, or in its message
            raise self.damaged(error) from error

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Do all that is done within, or none of it, one thread of one process at a time.

        One within another belongs to it.

        Args:
            durable: It is on the disk at the end. Otherwise the machine may lose it as a whole, this process can't.
        """
        with self.threads:
            if self._connection.in_transaction:
                yield
                return
            self.query(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self.query("BEGIN IMMEDIATE")
            try:
                yield
                self.query("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self.query("ROLLBACK")
                raise

    def damaged(self, error: Exception) -> GalaxyError:
        """The error to raise where what was read makes no sense."""
        return self._format.error(f"{self.name} is damaged ({error}): {self._format.remedy}")

    def close(self) -> None:
        """Closes the file, which another process may then use."""
        with self.threads:
            self._connection.close()
