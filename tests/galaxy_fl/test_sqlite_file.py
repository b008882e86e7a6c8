"""SQLite files: as a whole or not at all, one writer at a time, and errors that say what to do."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from galaxy_fl.exceptions import ContentError
from galaxy_fl.sqlite_file import Format, SqliteFile

FORMAT = Format(
    name="the memory for tests",
    version=3,
    schema="CREATE TABLE parent (id INTEGER PRIMARY KEY);"
    "CREATE TABLE child (parent INTEGER NOT NULL REFERENCES parent ON DELETE CASCADE);",
    remedy="throw it away",
    busy="stop the other",
    error=ContentError,
)


def opened(path: Path | None, **how: object) -> SqliteFile:
    return SqliteFile.open(path, FORMAT, **{"lock_seconds": 0.05, **how})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "file.sqlite"


def fill(file: SqliteFile) -> None:
    with file.transaction():
        file.query("INSERT INTO parent VALUES (1)")
        file.query("INSERT INTO child VALUES (1)")


@pytest.mark.parametrize("place", ["file", "memory"])
def test_what_is_written_is_read(path, place):
    file = opened(path if place == "file" else None)
    fill(file)
    file.query("DELETE FROM parent")
    assert file.query("SELECT * FROM child") == []
    file.close()


def test_it_is_there_again_in_the_one_format(path):
    file = opened(path)
    fill(file)
    file.close()
    file = opened(path)
    assert file.query("SELECT * FROM child") == [(1,)]
    assert file.query("PRAGMA journal_mode") == [("wal",)]
    assert file.query("PRAGMA user_version") == [(3,)]
    file.close()


def test_a_transaction_that_fails_leaves_nothing_nor_does_one_within_it():
    file = opened(None)

    def fail():
        with file.transaction():
            fill(file)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert file.query("SELECT * FROM parent") == []


KILLED = """
import os, signal, sys
from pathlib import Path
from galaxy_fl.sqlite_file import SqliteFile
from tests.galaxy_fl.test_sqlite_file import fill, opened
file = opened(Path(sys.argv[1]), lock_seconds=60)
fill(file)
with file.transaction():
    for number in range(2, 5000):
        file.query("INSERT INTO parent VALUES (?)", (number,))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_leaves_what_was_there_before(path):
    killed = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    file = opened(path)
    assert file.query("SELECT * FROM parent") == [(1,)]
    file.close()


def test_threads_take_turns():
    file = opened(None)
    file.query("INSERT INTO parent VALUES (0)")

    def count():
        for _ in range(50):
            with file.transaction(durable=False):
                ((number,),) = file.query("SELECT id FROM parent")
                file.query("UPDATE parent SET id = ?", (number + 1,))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.query("SELECT id FROM parent") == [(200,)]


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 1)])
def test_how_durable_it_is(path, durable, synchronous):
    file = opened(path)
    with file.transaction(durable=durable):
        assert file.query("PRAGMA synchronous") == [(synchronous,)]
    file.close()


def test_a_file_that_another_holds(path):
    holder = opened(path, exclusive=True)
    with pytest.raises(ContentError, match=f"{path} is in use: stop the other"):
        opened(path)
    holder.close()
    one, two = opened(path), opened(path)
    with one.transaction(), pytest.raises(ContentError, match="is in use: stop the other"), two.transaction():
        pass
    fill(two)
    one.close()
    two.close()


@pytest.mark.parametrize("version", [0, 2, 99])
def test_a_file_of_another_format(path, version):
    opened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(ContentError, match=f"has format {version}, expected 3: throw it away"):
        opened(path)


@pytest.mark.parametrize("damage", ["another file", "torn", "overwritten"])
def test_a_damaged_file(path, damage):
    file = opened(path)
    fill(file)
    file.query("PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()
    content = path.read_bytes()
    if damage == "another file":
        content = b"no database" * 1000
    elif damage == "torn":
        content = content[:5000]
    else:
        content = content[:100] + b"\xff" * (len(content) - 100)
    path.write_bytes(content)

    def use():
        file = opened(path)
        try:
            file.query("SELECT * FROM child")
        finally:
            file.close()

    with pytest.raises(ContentError, match=f"{path} is damaged .*: throw it away"):
        use()


def test_what_is_no_file(tmp_path):
    with pytest.raises(ContentError, match="can't be made or opened"):
        opened(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ContentError, match="can't be made or opened: .*Not a directory"):
        opened(tmp_path / "file" / "below")


def test_a_full_disk_is_told_with_what_sqlite_said():
    file = opened(None)
    file.query("PRAGMA max_page_count = 5")
    many = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n LIMIT 100000) INSERT INTO parent SELECT i FROM n"
    with pytest.raises(ContentError, match="can't be used .*full.*that has room") as caught:
        file.query(many)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert caught.value.__cause__.sqlite_errorcode == sqlite3.SQLITE_FULL
