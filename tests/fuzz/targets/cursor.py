"""The file of a job's events: another's, or this release's with some bytes overwritten or a log entry from elsewhere."""

from __future__ import annotations

import sqlite3
from functools import cache

from galaxy_chain.following.cursor import Cursor, Log
from galaxy_chain.following.window import Window
from galaxy_chain.rpc.values import Block
from galaxy_fl.exceptions import ConfigurationError
from tests.fuzz.clean import refused
from tests.fuzz.folder import file_with, folder
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

SUBJECT = "a subject"
HASH = "0x" + "11" * 32


def fuzz(data: bytes) -> bool:
    for left_behind in folder().glob("events.db*"):
        left_behind.unlink()
    reader = Reader(data)
    kind = reader.pick(("another's", "overwritten", "entry"))
    if kind == "another's":
        content = reader.rest()
    else:
        content = _sound()
        if kind == "overwritten":
            place = reader.integer(2) % len(content)
            piece = reader.rest()
            content = content[:place] + piece + content[place + len(piece) :]
    path = file_with("events.db", content)
    if kind == "entry":
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE log SET entry = CAST(? AS TEXT)", (reader.rest(),))
        connection.close()
    try:
        cursor = Cursor(path, SUBJECT)
    except ConfigurationError as error:
        return refused(error)
    try:
        assert isinstance(cursor.logs(), list)
        assert isinstance(cursor.window.blocks, tuple)
        assert isinstance(cursor.final, int)
    except ConfigurationError as error:
        return refused(error)
    finally:
        cursor.close()
    return True


@cache
def _sound() -> bytes:
    """A file as this release makes it."""
    path = folder() / "sound.db"
    cursor = Cursor(path, SUBJECT)
    with cursor.step():
        cursor.add([Log(1, HASH, 0, {"data": "0x"})])
        cursor.move(Window(), Window([Block(1, HASH, HASH, 5, None)]))
    cursor.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return path.read_bytes()
