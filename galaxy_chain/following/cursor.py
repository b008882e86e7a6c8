"""What is known of the logs of one contract, in one SQLite file: the window, the logs, and how far they are final.

Each step is one transaction, so that whatever is read after a crash belongs together. It is a copy of what the chain
has: a file that is lost or damaged is made again.
"""

from __future__ import annotations

import json
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxy_chain.following.window import Window
from galaxy_chain.rpc.rpc import Block
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["Cursor", "Log"]

VERSION = 1
LOCK_SECONDS = 5.0
"""How long another process may take to let the file go."""

SCHEMA = """
CREATE TABLE cursor (subject TEXT NOT NULL, final INTEGER NOT NULL);
CREATE TABLE block (number INTEGER PRIMARY KEY, identity TEXT NOT NULL, parent TEXT NOT NULL, time INTEGER NOT NULL);
CREATE TABLE log (
    block INTEGER NOT NULL, identity TEXT NOT NULL, place INTEGER NOT NULL, entry TEXT NOT NULL,
    PRIMARY KEY (identity, place)
) WITHOUT ROWID;
CREATE INDEX log_block ON log (block, place);
"""


@dataclass(frozen=True)
class Log:
    """A log entry: in which block, at which place among all of the block's logs, and as the RPC gives it."""

    block: int
    identity: str
    place: int
    entry: Mapping[str, Any]


class Cursor:
    """The file, held by this process alone.

    Args:
        database: Is made if it is not there; None for one in memory.
        subject: Whose logs they are: a file of others is refused.

    Raises:
        ConfigurationError: it can't be used: it is another's, damaged, or held by another process.
    """

    def __init__(self, database: Path | None, subject: str) -> None:
        self._name = "the memory for events" if database is None else str(database)
        try:
            if database is not None:
                database.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                ":memory:" if database is None else database,
                timeout=LOCK_SECONDS,
                isolation_level=None,
                check_same_thread=False,  # a job may be opened in one thread and followed in another
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"{self._name} can't be made or opened: {error}") from error
        weakref.finalize(self, self._connection.close)
        self._query("PRAGMA locking_mode = EXCLUSIVE")
        self._query("PRAGMA journal_mode = WAL")
        # The last steps may be lost with the machine, never a part of one: they are taken again from the chain.
        self._query("PRAGMA synchronous = NORMAL")
        with self.step():
            self._prepare(subject)

    def _prepare(self, subject: str) -> None:
        ((version,),) = self._query("PRAGMA user_version")
        if version == 0 and not self._query("SELECT 1 FROM sqlite_master"):
            for statement in filter(str.strip, SCHEMA.split(";")):
                self._query(statement)
            self._query(f"PRAGMA user_version = {VERSION}")
            self._query("INSERT INTO cursor VALUES (?, -1)", (subject,))
        elif version != VERSION:
            raise ConfigurationError(
                f"{self._name} has format {version}, expected {VERSION}: delete it, it is made again from the chain"
            )
        rows = self._query("SELECT subject, final FROM cursor")
        if len(rows) != 1 or not isinstance(rows[0][1], int):
            raise self._damaged(ValueError("it does not say whose it is"))
        found = rows[0][0]
        if found != subject:
            raise ConfigurationError(f"{self._name} is of {found}, not of {subject}: name another file")

    def _query(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows that a statement gives."""
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:
            if (
                getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
            ):  # what the module itself raises has none
                raise ConfigurationError(
                    f"{self._name} is in use: another process takes part in this job in the same role with the same "
                    "account. Stop that one, or give this one a folder of its own (--home)"
                ) from error
            raise ConfigurationError(
                f"{self._name} can't be used ({error}): the folder has to be one that this process may write to and "
                "that has room"
            ) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter of what is damaged, or in its message
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(f"{self._name} is damaged ({error}): delete it, it is made again from the chain")

    @contextmanager
    def step(self) -> Iterator[None]:
        """All that is done within is done, or none of it."""
        self._query("BEGIN IMMEDIATE")
        try:
            yield
            self._query("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._query("ROLLBACK")
            raise

    def close(self) -> None:
        """Lets the file go."""
        self._connection.close()

    @property
    def window(self) -> Window:
        """The newest blocks."""
        rows = self._query("SELECT number, identity, parent, time FROM block ORDER BY number")
        return Window(Block(number, identity, parent, time, None) for number, identity, parent, time in rows)

    @property
    def final(self) -> int:
        """The number of the newest block that counts as final; -1 for none."""
        ((number,),) = self._query("SELECT final FROM cursor")
        return int(number)

    def set_final(self, number: int) -> None:
        """Sets it."""
        self._query("UPDATE cursor SET final = ?", (number,))

    def has_logs(self, above: int) -> bool:
        """Whether there are logs of blocks above that number."""
        return bool(self._query("SELECT 1 FROM log WHERE block > ? LIMIT 1", (above,)))

    def logs(self, above: int = -1, to: int = 2**62) -> list[Log]:
        """The logs of the blocks above one number and up to another, in order."""
        rows = self._query(
            "SELECT block, identity, place, entry FROM log WHERE block > ? AND block <= ? ORDER BY block, place",
            (above, to),
        )
        try:
            return [Log(block, identity, place, json.loads(entry)) for block, identity, place, entry in rows]
        except (TypeError, ValueError, RecursionError) as error:
            raise self._damaged(error) from error

    def blocks_with_logs(self) -> list[tuple[int, str]]:
        """The number and the hash of every block with logs, ascending."""
        return self._query("SELECT DISTINCT block, identity FROM log ORDER BY block")

    def move(self, before: Window, after: Window) -> None:
        """Writes the window: only what has changed."""
        known, stays = set(before.blocks), set(after.blocks)
        for block in before.blocks:
            if block not in stays:
                self._query("DELETE FROM block WHERE number = ?", (block.number,))
        for block in after.blocks:
            if block not in known:
                row = (block.number, block.identity, block.parent, block.time)
                self._query("INSERT INTO block VALUES (?, ?, ?, ?)", row)

    def take_back(self, above: int) -> None:
        """Deletes the logs of all blocks above that number."""
        self._query("DELETE FROM log WHERE block > ?", (above,))

    def add(self, logs: Iterable[Log]) -> None:
        """Adds logs, none of which is there."""
        for log in logs:
            entry = json.dumps(log.entry, separators=(",", ":"))
            self._query("INSERT INTO log VALUES (?, ?, ?, ?)", (log.block, log.identity, log.place, entry))
