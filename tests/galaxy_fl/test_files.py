"""Files that outlive crashes: whole or not at all whenever the writer dies, and locked as long as somebody lives."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from galaxy_fl.exceptions import ConfigurationError, ContentError
from galaxy_fl.files import (
    NEW_PREFIX,
    FileLock,
    check_name,
    explained,
    lock_is_held,
    make_folder,
    replacing,
    write_durably,
)

DYING = """\
import os, signal, sys
from pathlib import Path
from galaxy_fl.files import write_durably

folder, exclusive = Path(sys.argv[1]), sys.argv[2] == "exclusive"
EVENTS = {"open", "os.mkdir", "os.remove", "os.rename", "os.link", "fcntl.flock"}

def live(until):  # dies just before it opens, locks, makes, renames, links or removes for the time `until`
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if event in EVENTS:
            seen += 1
            if seen == until:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    write_durably(folder / "deep" / "file", "new", exclusive=exclusive)
    os._exit(0)

died = 0
while True:
    place = folder / "deep" / "file"
    if not exclusive:
        place.parent.mkdir(exist_ok=True)
        place.write_text("old")
    child = os.fork()
    if child == 0:
        live(died + 1)
    _, status = os.waitpid(child, 0)
    found = place.read_text() if place.exists() else None
    assert found in (("new", None) if exclusive else ("new", "old")), (died, found)
    print(found)
    if status == 0:
        break
    died += 1
    if exclusive:
        place.unlink(missing_ok=True)
"""
"""Writes a file again and again, and dies at every point where it changes something."""


@pytest.mark.parametrize(("how", "before"), [("replacing", "old"), ("exclusive", "None")])
def test_whoever_dies_while_it_writes_leaves_the_old_or_the_new(tmp_path, how, before):
    done = subprocess.run(
        [sys.executable, "-c", DYING, tmp_path, how], cwd=Path.cwd(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *seen, last = done.stdout.split()
    assert last == "new"
    assert {before, "new"} == set(seen)  # before and after it is in place
    assert seen == sorted(seen, key=[before, "new"].index)
    left = [path for path in (tmp_path / "deep").iterdir() if path.name.startswith(NEW_PREFIX)]
    assert left
    for path in left:
        os.utime(path, (0, 0))
    write_durably(tmp_path / "deep" / "other", b"")
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"file", "other"}


def test_what_a_living_writer_writes_stays(tmp_path):
    with replacing(tmp_path / "slow") as slow:
        slow.write_text("half")
        os.utime(slow, (0, 0))
        write_durably(tmp_path / "fast", "whole")
        (tmp_path / f"{NEW_PREFIX}notes").write_text("a user's own")
        os.utime(tmp_path / f"{NEW_PREFIX}notes", (0, 0))
    write_durably(tmp_path / "fast", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"fast", "slow", f"{NEW_PREFIX}notes"}


@pytest.mark.parametrize("aside", ["aside", None])
def test_nothing_is_seen_of_a_file_that_is_being_written(tmp_path, aside):
    path = tmp_path / "deep" / "file"
    where = None if aside is None else tmp_path / aside
    with replacing(path, aside=where) as new:
        new.write_bytes(b"half")
        assert not path.exists()
        new.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"

    def fail():
        with replacing(path, aside=where) as new:
            new.write_bytes(b"half")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert path.read_bytes() == b"whole"
    assert [found.name for found in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_permissions_hold_from_the_first_byte(tmp_path, mode):
    with replacing(tmp_path / "secret", mode=mode) as new:
        assert stat.S_IMODE(new.stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == mode


def test_a_file_that_must_be_new_replaces_nothing(tmp_path):
    path = tmp_path / "key"
    write_durably(path, "one", exclusive=True)
    with pytest.raises(FileExistsError):
        write_durably(path, "another", exclusive=True)
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_made_with_those_above_it(tmp_path):
    make_folder(tmp_path / "one" / "two", 0o700)
    make_folder(tmp_path / "one" / "two")
    assert stat.S_IMODE((tmp_path / "one" / "two").stat().st_mode) == 0o700
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "file" / "two")


def test_a_file_that_can_not_be_written_is_explained(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    said = "can't write it: Not a directory .*/file.*; name a folder, not a file"
    with pytest.raises(ContentError, match=said), explained("write it"):
        write_durably(tmp_path / "file" / "x", "")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-x", "a b", "x" * 65, "a\n", "ä", "a\0"])
def test_names_that_are_not_safe(name):
    with pytest.raises(ConfigurationError, match="client_id is .*, expected 1 to 64 letters"):
        check_name("client_id", name)


@pytest.mark.parametrize("name", ["a", "0", "a.b_c-D9", "x" * 64])
def test_safe_names(name):
    assert check_name("client_id", name) == name


# Locks


def test_a_lock_is_anothers_until_it_is_released(tmp_path):
    path = tmp_path / "deep" / "lock"
    assert not lock_is_held(path)
    lock = FileLock.claim(path, "busy")
    assert lock_is_held(path)
    with pytest.raises(ConfigurationError, match="busy"):
        FileLock.claim(path, "busy")
    lock.release()
    lock.release()
    assert not lock_is_held(path)
    del lock
    forgotten = FileLock.claim(path, "busy")
    assert lock_is_held(path)
    del forgotten
    assert not lock_is_held(path)


def test_a_lock_that_can_not_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="can't be locked: Not a directory; use a folder that is yours"):
        FileLock.claim(tmp_path / "file" / "lock", "busy")


def test_shared_locks_exclude_exclusive_ones_only(tmp_path):
    path = tmp_path / "lock"
    with FileLock(path, shared=True), FileLock(path, shared=True):
        assert not lock_is_held(path)  # exclusively
    with FileLock(path):
        assert not FileLock(path, shared=True).acquire(wait=False)
        assert not FileLock(path).acquire(wait=False)
    assert FileLock(path, shared=True).acquire(wait=False)


def test_an_exclusive_lock_waits_for_the_shared_ones(tmp_path):
    path = tmp_path / "lock"
    order = []

    def collect():
        with FileLock(path):
            order.append("collected")

    with FileLock(path, shared=True):
        thread = threading.Thread(target=collect)
        thread.start()
        order.append("written")
    thread.join(60)
    assert order == ["written", "collected"]


def test_those_who_look_keep_nobody_from_claiming(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    over = threading.Event()

    def look():
        while not over.is_set():
            lock_is_held(path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(200):
            FileLock.claim(path, "busy").release()
    finally:
        over.set()
        for looker in lookers:
            looker.join()


@pytest.mark.parametrize("how", ["killed", "ends"])
def test_the_lock_of_a_process_that_is_gone_is_free(tmp_path, how):
    path = tmp_path / "lock"
    program = (
        "import sys; from pathlib import Path; from galaxy_fl.files import FileLock;"
        "lock = FileLock.claim(Path(sys.argv[1]), 'busy'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert lock_is_held(path)
        with pytest.raises(ConfigurationError, match="busy"):
            FileLock.claim(path, "busy")
        if how == "killed":
            holder.kill()
        else:
            holder.communicate("")
    assert not lock_is_held(path)
    FileLock.claim(path, "busy").release()
