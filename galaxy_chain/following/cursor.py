"""What is known of the logs of one contract, in one SQLite file: the window, the logs, and how far they are final.

Each step is one transaction, so that whatever is read after a crash belongs together. It is a copy of what the chain
has: a file that is lost or damaged is made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxy_chain.following.window import Window
from galaxy_chain.rpc.values import Block
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.sqlite_file import Format, SqliteFile

__all__ = ["Cursor", "Log"]

LOCK_SECONDS = 5.0
"""How long another process may take to let the file go."""

FORMAT = Format(
    name="the memory for events",
    version=1,
    schema="""
CREATE TABLE cursor (subject TEXT NOT NULL, final INTEGER NOT NULL);
CREATE TABLE block (number INTEGER PRIMARY KEY, identity TEXT NOT NULL, parent TEXT NOT NULL, time INTEGER NOT NULL);
CREATE TABLE log (
    block INTEGER NOT NULL, identity TEXT NOT NULL, place INTEGER NOT NULL, entry TEXT NOT NULL,
    PRIMARY KEY (identity, place)
) WITHOUT ROWID;
CREATE INDEX log_block ON log (block, place);
""",
    remedy="delete it, it is made again from the chain",
    busy="another process takes part in this job in the same role with the same account. Stop that one, or give this "
    "one a folder of its own (--home)",
)


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
        self._file = SqliteFile.open(database, FORMAT, lock_seconds=LOCK_SECONDS, exclusive=True)
        self._query = self._file.query
        try:
            with self.step():
                self._check(subject)
        except BaseException:
            self.close()
            raise

    def _check(self, subject: str) -> None:
        rows = self._query("SELECT subject, final FROM cursor")
        if not rows and not self._query("SELECT 1 FROM block UNION ALL SELECT 1 FROM log LIMIT 1"):
            self._query("INSERT INTO cursor VALUES (?, -1)", (subject,))
            return
        if len(rows) != 1 or not isinstance(rows[0][1], int):
            raise self._file.damaged(ValueError("it does not say whose it is"))
        found = rows[0][0]
        if found != subject:
            raise ConfigurationError(f"{self._file.name} is of {found}, not of {subject}: name another file")

    def step(self) -> AbstractContextManager[None]:
        """All that is done within is done, or none of it."""
        # The last steps may be lost with the machine, never a part of one: they are taken again from the chain.
        return self._file.transaction(durable=False)

    def close(self) -> None:
        """Lets the file go."""
        self._file.close()

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
            raise self._file.damaged(error) from error

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
