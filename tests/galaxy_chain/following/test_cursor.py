"""The follower's file: written whole or not at all, of one job, held by one process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from galaxy_chain.following import cursor as cursor_module
from galaxy_chain.following.cursor import Cursor, Log
from galaxy_chain.following.window import Window
from galaxy_chain.rpc.values import Block
from galaxy_fl.exceptions import ConfigurationError


def identity(number: int) -> str:
    return f"0x{number:064x}"


def block(number: int) -> Block:
    return Block(number, identity(number), identity(number - 1), 10 * number, None)


def log(number: int, place: int = 0) -> Log:
    return Log(number, identity(number), place, {"data": "0x00"})


def filled(path: Path | None) -> Cursor:
    cursor = Cursor(path, "job 1")
    with cursor.step():
        cursor.move(Window(), Window(map(block, range(1, 5))))
        cursor.add([log(2, 1), log(2, 0), log(4)])
        cursor.set_final(3)
    return cursor


def contents(cursor: Cursor) -> tuple[object, ...]:
    return cursor.window.blocks, cursor.logs(), cursor.final


def test_a_new_one_is_empty():
    cursor = Cursor(None, "job 1")
    assert contents(cursor) == ((), [], -1)
    assert not cursor.has_logs(-1)


def test_what_was_written_is_there_again(tmp_path):
    before = filled(tmp_path / "new" / "folder" / "events")
    known = contents(before)
    before.close()
    assert contents(Cursor(tmp_path / "new" / "folder" / "events", "job 1")) == known
    assert known == (tuple(map(block, range(1, 5))), [log(2, 0), log(2, 1), log(4)], 3)


def test_logs_of_a_range():
    cursor = filled(None)
    assert cursor.logs(above=2) == [log(4)]
    assert cursor.logs(above=1, to=3) == [log(2, 0), log(2, 1)]
    assert (cursor.has_logs(3), cursor.has_logs(4)) == (True, False)


def test_taking_back_and_moving():
    cursor = filled(None)
    with cursor.step():
        cursor.take_back(2)
        window = cursor.window
        cursor.move(window, window.moved(2, [block(3), block(4), block(5)]))
    assert cursor.logs() == [log(2, 0), log(2, 1)]
    assert cursor.window.blocks == tuple(map(block, range(1, 6)))


def test_a_step_that_fails_leaves_nothing():
    cursor = filled(None)
    known = contents(cursor)

    def fail() -> None:
        with cursor.step():
            cursor.take_back(0)
            cursor.set_final(9)
            cursor.move(cursor.window, Window())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert contents(cursor) == known


def test_a_log_is_there_once():
    cursor = filled(None)
    with pytest.raises(ConfigurationError), cursor.step():
        cursor.add([log(4)])
    assert cursor.logs() == [log(2, 0), log(2, 1), log(4)]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.galaxy_chain.following.test_cursor import filled, log
cursor = filled(Path(sys.argv[1]))
with cursor.step():
    cursor.take_back(0)
    cursor.add([log(number) for number in range(10, 5000)])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_in_a_step_leaves_the_step_before(tmp_path):
    root = Path(__file__).resolve().parents[3]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "events"], env=os.environ | {"PYTHONPATH": str(root)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert contents(Cursor(tmp_path / "events", "job 1")) == contents(filled(None))


def test_another_jobs_file_is_refused(tmp_path):
    filled(tmp_path / "events").close()
    with pytest.raises(ConfigurationError, match="is of job 1, not of job 2: name another file"):
        Cursor(tmp_path / "events", "job 2")


def test_a_file_that_another_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cursor_module, "LOCK_SECONDS", 0.05)
    holding = filled(tmp_path / "events")
    with pytest.raises(ConfigurationError, match="in use: another process takes part.*--home"):
        Cursor(tmp_path / "events", "job 1")
    holding.close()
    Cursor(tmp_path / "events", "job 1")


def test_a_file_of_another_format_is_refused(tmp_path):
    filled(tmp_path / "events").close()
    with sqlite3.connect(tmp_path / "events") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="has format 99, expected 1: delete it"):
        Cursor(tmp_path / "events", "job 1")


def test_a_file_of_another_program_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "events") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(ConfigurationError, match="has format 0, expected 1"):
        Cursor(tmp_path / "events", "job 1")


def test_a_damaged_file_is_said_to_be(tmp_path):
    (tmp_path / "events").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigurationError, match="events is damaged .*delete it"):
        Cursor(tmp_path / "events", "job 1")


def test_what_is_no_file_is_said_to_be(tmp_path):
    with pytest.raises(ConfigurationError, match="can't be made or opened"):
        Cursor(tmp_path, "job 1")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="can't be made or opened"):
        Cursor(tmp_path / "file" / "events", "job 1")
