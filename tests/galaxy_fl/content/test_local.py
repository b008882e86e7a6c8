from __future__ import annotations

import errno
import io
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from galaxy_fl.content import ContentId, Finished, GcReport, LocalStore, local
from galaxy_fl.exceptions import ContentAlteredError, ContentError

from .conformance import StoreConformance
from .unixfs_reference import fill
from .writers import numbered

REPOSITORY = Path(__file__).parents[3]


def object_file(store: LocalStore, content: ContentId) -> Path:
    return store.root / "objects" / content.cid[-2] / content.cid


def alter(store: LocalStore, content: ContentId, how: str) -> None:
    path = object_file(store, content)
    if how == "remove":
        path.unlink()
        return
    path.chmod(0o644)
    with path.open("r+b") as file:
        if how == "flip":
            file.seek(content.size // 2)
            byte = file.read(1)[0]
            file.seek(content.size // 2)
            file.write(bytes([byte ^ 1]))
        else:
            file.truncate(content.size - 1 if how == "truncate" else content.size + 1)


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def start(action: str, root: Path, *numbers: int, wrap: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *wrap,
            sys.executable,
            "-m",
            "tests.galaxy_fl.content.writers",
            action,
            str(root),
            *map(str, numbers),
        ],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> dict[str, str]:
    with process:
        return json.loads(process.communicate()[0])


class TestLocalStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path):
        return LocalStore(tmp_path / "store")

    def alter(self, store, content, how):
        alter(store, content, how)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


# Layout


def test_files_are_sharded_by_the_last_character_but_one_and_readable_only(store):
    content = store.put(b"")
    path = store.path(content)
    assert str(path.relative_to(store.root)) == f"objects/k/{content.cid}"
    assert path.stat().st_mode & 0o222 == 0


def test_a_store_holds_its_marker_its_content_and_its_pins_and_nothing_else(store):
    content = store.put(b"content")
    store.pin(content)
    cid = content.cid
    assert files(store.root) == {"VERSION", "lock", f"objects/{cid[-2]}/{cid}", f"pins/{cid}"}


def test_another_instance_sees_content_and_pins(store):
    content = store.put(b"content")
    store.pin(content)
    other = LocalStore(store.root)
    assert other.get(content) == b"content"
    assert other.pins() == {content.cid}


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ContentError, match=r"thesis\.tex"):
        LocalStore(tmp_path)
    assert files(tmp_path) == {"thesis.tex"}


def test_a_store_of_another_layout_is_refused(store):
    (store.root / "VERSION").write_text("galaxy store 1\n")
    with pytest.raises(ContentError, match="galaxy store 1"):
        LocalStore(store.root)


def test_a_file_is_not_a_store(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(ContentError, match="name a folder"):
        LocalStore(path)


def test_a_relative_root_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = LocalStore(Path("store"))
    content = store.put(b"here")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store.get(content) == b"here"


def test_files_that_are_not_content_are_neither_listed_nor_collected(store):
    store.put(b"content")
    stranger = store.root / "objects" / "notes.txt"
    hidden = next((store.root / "objects").glob("?")) / ".hidden"
    stranger.write_text("mine")
    hidden.write_text("mine")
    assert len(list(store.contents())) == len(list(store.verify())) == 1
    assert store.gc(0).removed == 1
    assert stranger.exists()
    assert hidden.exists()


# Altered files


def test_the_error_names_id_file_expected_and_found(store):
    content = store.put(b"content")
    alter(store, content, "extend")
    with pytest.raises(ContentAlteredError) as caught:
        store.get(content)
    for part in (content.cid, str(object_file(store, content)), "8 bytes, not 7", "put the content again"):
        assert part in str(caught.value)
    alter(store, content, "truncate")
    store.put(b"content")
    alter(store, content, "flip")
    with pytest.raises(ContentAlteredError, match=ContentId.of(b"conuent").cid):
        store.get(content)


def test_an_alteration_is_found_however_soon_after_reading_it_comes(store):
    """The file system's clock ticks in milliseconds: many changes leave every time of the file as it was."""
    content = store.put(b"content")
    path = object_file(store, content)
    path.chmod(0o644)
    for _ in range(50):
        assert store.get(content) == b"content"
        path.write_bytes(b"CONTENT")
        with pytest.raises(ContentAlteredError):
            store.get(content)
        path.write_bytes(b"content")


def test_an_alteration_of_what_was_just_put_is_found(store):
    """What is large is not read again after it was put, unless it has changed."""
    data = fill("count", 2_000_000)
    for _ in range(10):
        content = store.put(memoryview(data))
        assert store.path(content).read_bytes() == data
        alter(store, content, "flip")
        with pytest.raises(ContentAlteredError):
            store.path(content)


def test_what_one_instance_has_written_another_of_the_process_does_not_hash_again(store, monkeypatch):
    """Clients that share a process have an instance each."""
    data = fill("count", 2_000_000)
    other, content = LocalStore(store.root), store.put(memoryview(data))
    monkeypatch.setattr(local, "Hasher", None)
    assert other.path(content).read_bytes() == data
    monkeypatch.undo()
    alter(store, content, "flip")
    with pytest.raises(ContentAlteredError):
        other.path(content)


def test_a_write_through_a_memory_map_is_found(store):
    """A second write to a mapped page leaves every time of the file as it was, until it is written back."""
    content = store.put(b"content")
    path = object_file(store, content)
    path.chmod(0o644)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[:] = b"content"
        assert store.get(content) == b"content"
        view[:] = b"CONTENT"
        with pytest.raises(ContentAlteredError):
            store.get(content)


def test_an_alteration_is_found_though_the_modification_time_was_set_back(store):
    data = fill("count", 4096)
    content = store.put(data)
    path = object_file(store, content)
    while time.time_ns() < path.stat().st_ctime_ns + 2_100_000_000:  # until reading is remembered
        time.sleep(0.1)
    assert store.get(content) == data
    before = path.stat()
    alter(store, content, "flip")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)
    with pytest.raises(ContentAlteredError):
        store.path(content)


def test_a_file_swapped_for_another_of_the_same_size_is_found(store):
    content, other = store.put(b"content"), store.put(b"another")
    store.path(content)
    shutil.copy2(object_file(store, other), object_file(store, content).with_name("swap"))
    object_file(store, content).with_name("swap").replace(object_file(store, content))
    with pytest.raises(ContentAlteredError):
        store.path(content)


# Finished files


def finished(folder, size=2_000_000):
    path = folder / "finished"
    path.write_bytes(fill("count", size))
    return Finished.of(path)


def test_a_finished_file_is_linked_and_neither_copied_nor_hashed_again(store, tmp_path, monkeypatch):
    source = finished(tmp_path)
    monkeypatch.setattr(local, "_YOUNG", float("inf"))  # however busy the machine is
    monkeypatch.setattr(local, "Hasher", None)
    path = store.path(store.put(source))
    assert path.samefile(source.path)
    assert path.stat().st_mode & 0o222 == 0


def test_a_finished_file_that_cannot_be_linked_is_copied(store, tmp_path, monkeypatch):
    """As from another file system."""

    def link(source, target, **more):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    source = finished(tmp_path)
    path = store.path(store.put(source))
    assert not path.samefile(source.path)
    assert path.read_bytes() == source.path.read_bytes()


def test_an_alteration_of_a_finished_file_is_found(store, tmp_path):
    for number in range(10):
        source = finished(tmp_path, 2_000_000 + number)
        content = store.put(source)
        assert store.path(content)
        alter(store, content, "flip")
        with pytest.raises(ContentAlteredError):
            store.path(content)
        source.path.unlink()


def test_a_finished_file_of_another_day_is_put_today(store, tmp_path):
    source = finished(tmp_path)
    os.utime(source.path, (0, 0))
    content = store.put(Finished.of(source.path))
    assert store.gc(3600) == GcReport(0, 0)
    assert store.has(content)


def test_what_another_process_has_just_put_is_hashed_once(store, monkeypatch):
    program = (
        "import sys, pathlib, galaxy_fl.content as c; c.LocalStore(pathlib.Path(sys.argv[1])).put(bytes(2_000_000))"
    )
    subprocess.run([sys.executable, "-c", program, store.root], check=True)
    content = ContentId.of(bytes(2_000_000))
    time.sleep(0.02)  # a tick of the file system's clock
    reader = LocalStore(store.root)
    assert reader.path(content)
    monkeypatch.setattr(local, "Hasher", None)
    assert reader.path(content)


# Files that are there already


def test_many_are_pinned_where_files_have_one_name(store, monkeypatch):
    def link(*names):
        raise OSError(errno.EMLINK, "Too many links")

    monkeypatch.setattr(local.os, "link", link)
    contents = [store.put(bytes([number])) for number in range(5)]
    store.pin(*contents)
    assert store.pins() == {content.cid for content in contents}
    assert store.gc(0) == GcReport(0, 0)


@pytest.mark.parametrize("size", [0, 5, 262_144, 262_145])
def test_content_is_found_by_its_id_alone(store, size):
    content = store.put(fill("count", size))
    assert store.find(content.cid) == content
    assert store.find(ContentId.of(b"nobody has this").cid) is None
    with pytest.raises(ContentError, match="is not a content id"):
        store.find("nothing")


def test_a_file_of_a_size_that_its_id_cannot_have_is_altered(store):
    content = store.put(fill("count", 262_144))
    alter(store, content, "extend")
    with pytest.raises(ContentAlteredError, match="it has 262145 bytes"):
        store.find(content.cid)


def test_a_file_is_moved_in_and_has_its_full_grace(store):
    content = ContentId.of(b"arrived")
    path = store.root / "arrived"
    path.write_bytes(b"arrived")
    os.utime(path, (0, 0))
    store.adopt(path, content)
    assert not path.exists()
    assert store.get(content) == b"arrived"
    assert store.path(content).stat().st_mode & 0o222 == 0
    assert store.gc(3600) == GcReport(0, 0)


def test_a_file_that_is_there_already_is_not_moved_over_it(store):
    content = store.put(b"arrived")
    inode = store.path(content).stat().st_ino
    path = store.root / "arrived"
    path.write_bytes(b"arrived")
    store.adopt(path, content)
    assert not path.exists()
    assert store.path(content).stat().st_ino == inode


def test_a_file_that_is_something_else_stays_outside(store):
    path = store.root / "arrived"
    path.write_bytes(b"another")
    with pytest.raises(ContentAlteredError, match="not bafk"):
        store.adopt(path, ContentId.of(b"arrived"))
    assert path.read_bytes() == b"another"
    assert list(store.contents()) == []


# Collecting


def test_putting_again_renews_the_grace_period(store):
    content = store.put(b"old")
    os.utime(object_file(store, content), (0, 0))
    store.put(b"old")
    assert store.gc(3600) == GcReport(0, 0)
    os.utime(object_file(store, content), (0, 0))
    assert store.gc(3600) == GcReport(1, 3)


def test_gc_and_writers_that_throw_away_what_is_there_already_do_not_disturb_each_other(store):
    store.put(b"known")
    over, failures = threading.Event(), []

    def work() -> None:
        try:
            while not over.is_set():
                store.put(io.BytesIO(b"known"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert {store.gc() for _ in range(300)} == {GcReport(0, 0)}
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_mapped_file_outlives_its_collection(store):
    with store.path(store.put(b"in use")).open("rb") as file:
        assert store.gc(0).removed == 1
        assert file.read() == b"in use"


def test_threads_share_one_instance(store):
    contents, failures = [ContentId.of(numbered(number)) for number in range(24)], []

    def work(offset: int) -> None:
        try:
            for number in range(24):
                number = (number + offset) % 24
                store.put(numbered(number))
                assert store.get(contents[number]) == numbered(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in (0, 5, 5, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert dict(store.verify()) == {content.cid: None for content in contents}


# Several processes


def test_processes_that_start_write_and_collect_at_once_lose_nothing(tmp_path):
    """Four writers make the folder, their contents overlap, and a collector runs all the while."""
    root = tmp_path / "store"
    writers = [start("put_many", root, first, first + 40) for first in (0, 0, 20, 30)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    store = LocalStore(root)
    while any(writer.poll() is None for writer in writers):
        assert store.gc() == GcReport(0, 0)
    for writer in writers:
        assert writer.communicate()[0] == "done\n"
        assert writer.returncode == 0
    assert dict(store.verify()) == {ContentId.of(numbered(number)).cid: None for number in range(70)}
    assert store.pins() == {ContentId.of(numbered(number)).cid for number in range(0, 70, 3)}
    assert not list((root / "temporary").iterdir())


def test_a_writer_killed_halfway_leaves_nothing_that_can_be_seen_and_gc_cleans_up(store):
    before = files(store.root)
    with start("put_halting", store.root) as writer:
        assert writer.stdout.readline() == "halfway\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    assert list(store.contents()) == []
    assert not store.has(ContentId.of(bytes(3 << 20)))
    assert len(files(store.root) - before) == 1  # so that there is something to clean
    assert store.gc() == GcReport(removed=1, freed_bytes=2 << 20)
    assert files(store.root) == before


def test_gc_does_not_touch_what_a_living_writer_has_begun(store):
    with start("put_halting", store.root) as writer:
        assert writer.stdout.readline() == "halfway\n"
        assert store.gc(0) == GcReport(0, 0)
        assert list(store.contents()) == []
        assert writer.communicate("go on\n")[0] == ContentId.of(bytes(3 << 20)).cid + "\n"
    assert store.get(ContentId.of(bytes(3 << 20))) == bytes(3 << 20)


# A disk that refuses


def test_a_file_that_may_not_grow_is_reported_and_leaves_nothing(store):
    store.put(b"small")
    before = files(store.root)
    said = outcome(start("put_limited", store.root, 1_500_000))
    assert said["read"] == "small"
    assert "File too large" in said["error"]
    assert "ulimit -f" in said["error"]
    assert files(store.root) == before
    assert store.gc() == GcReport(0, 0)


def test_a_full_disk_is_reported_and_leaves_nothing(store):
    """On a file system of 2 MiB of its own, in a mount namespace; where the system gives none, skipped."""
    wrap = ("unshare", "--user", "--map-root-user", "--mount")
    if shutil.which("unshare") is None or subprocess.run([*wrap, "true"], capture_output=True).returncode:
        pytest.skip("this system lets users have no mount namespace")
    store.put(b"small")
    script = 'mount -t tmpfs -o size=2m full "$0" && cp -r "$1"/. "$0" && shift && "$@"; find "$0" -type f'
    folder = store.root.parent / "full"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.galaxy_fl.content.writers", "explain", str(folder)]
    process = subprocess.run(
        [*wrap, "sh", "-c", script, str(folder), str(store.root), *command],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    first, *found = process.stdout.splitlines()
    said = json.loads(first)
    assert said["read"] == "small"
    assert "No space left on device" in said["error"]
    assert "store gc" in said["error"]
    assert {str(Path(path).relative_to(folder)) for path in found} == files(store.root)


@pytest.fixture
def open_folder():
    """A folder that users without rights can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_folder_without_permission_to_write_can_be_read(open_folder):
    store = LocalStore(open_folder / "store")
    store.put(b"small")
    for path in (store.root, *store.root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = files(store.root)
    said = outcome(start("put_as_nobody", store.root))
    for path in (store.root, *store.root.rglob("*/")):
        path.chmod(0o755)
    assert said["read"] == "small"
    assert "Permission denied" in said["error"]
    assert "give this user permission" in said["error"]
    assert files(store.root) == before


def test_content_that_may_not_be_read_is_an_error_not_missing(open_folder):
    store = LocalStore(open_folder / "store")
    path = store.path(store.put(b"small"))
    path.chmod(0)
    said = outcome(start("put_as_nobody", store.root))
    assert str(path) in said["error"]
    assert "give this user permission" in said["error"]


def test_a_store_cannot_be_made_where_nothing_may_be_made(open_folder):
    open_folder.chmod(0o555)
    said = outcome(start("put_as_nobody", open_folder / "store"))
    open_folder.chmod(0o755)
    assert "Permission denied" in said["error"]
    assert "give this user permission" in said["error"]
    assert not list(open_folder.iterdir())
