"""The store in a folder: the default, and what every other backend keeps its copies in.

    VERSION            marks the folder as a store, and its layout
    objects/k/<cid>    content, never changed once it is there; sharded by the last character but one
    pins/<cid>         empty files
    temporary/         what is being written; each file is locked by its writer as long as that lives
    lock               shared by writers for moments, exclusive for gc

A put writes to a temporary file, syncs it, renames it, and syncs the folder: content is there as a whole
or not at all, whenever the process or the machine dies. Any number of processes of one user on one machine
may share the folder; reading needs no lock and no permission to write.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError
from galaxy_fl.files import (
    NEW_PREFIX,
    FileLock,
    clock_of,
    clock_passes,
    explained,
    lock_is_held,
    sync,
    write_all,
    write_durably,
)
from galaxy_fl.joint_work import JointWork

from .content_id import BLOCK_SIZE, Codec, ContentId, Hasher, blocks, parse
from .finished import LARGE, Finished, stamp_of
from .store import GcReport, Source

__all__ = ["LocalStore"]

_LAYOUT = b"galaxy store 2\n"
_READ_SIZE = 1 << 20

_SETTLED_NS = 2_000_000_000
"""A file changed more recently may change again under the same times: clocks tick, and stamps come late."""

_REMEMBERED = 10_000

_YOUNG = 1.0
"""Seconds for which a file that was written counts as put now. Its times are left alone then: they tell of writes."""

_Fingerprint = tuple[int, int, int, int, int]


class _Known:
    """What a process knows of the files of a folder, whoever in it has asked."""

    def __init__(self) -> None:
        self.verified: dict[ContentId, _Fingerprint] = {}
        self.hashing: JointWork[tuple[ContentId, _Fingerprint], None] = JointWork()


_folders: WeakValueDictionary[Path, _Known] = WeakValueDictionary()


def _known_of(root: Path) -> _Known:
    # Without a lock, which a forked process would wait for ever for: two that begin at once know something each.
    known = _folders.get(root)
    if known is None:
        known = _folders[root] = _Known()
    return known


class LocalStore:
    """A `Store` in the folder `root`, which is made if it is not there.

    A file that was hashed is not hashed again by this process as long as its (device, inode, size,
    modification time, change time) stay the same: a write changes the last of them, which no program can
    set back. As clocks tick, and some file systems stamp late, a file that changed within the last two seconds
    is not remembered, unless it is large and its file system's clock has gone on since. What can escape is a write
    through a memory map made writable long before, one whose stamp was set back while a finished file was linked,
    and a failing disk: for these there is `verify`, which hashes everything afresh.

    Raises ContentError if the folder can't be used, or holds something that is not a store.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._objects = self.root / "objects"
        self._pins = self.root / "pins"
        self._temporary = self.root / "temporary"
        self._lock = self.root / "lock"
        self._known = _known_of(self.root)
        self._open()

    def _open(self) -> None:
        marker = self.root / "VERSION"
        with explained(f"open the store {self.root}"):
            if not marker.exists():
                self._create(marker)
            with marker.open("rb") as file:
                layout = file.read(100)
        if layout != _LAYOUT:
            raise ContentError(
                f"the store {self.root} has the layout {layout!r} where this release reads {_LAYOUT!r}: use"
                " the release of Galaxy that made it, or another folder"
            )

    def _create(self, marker: Path) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        ours = {marker.name, "objects", "pins", "temporary", "lock"}
        found = {entry.name for entry in self.root.iterdir() if not entry.name.startswith(NEW_PREFIX)}
        strangers = sorted(found - ours)
        if strangers:
            raise ContentError(
                f"{self.root} is not a store: it has no VERSION file but {strangers[0]!r} in it; name an"
                " empty folder, or one that is not there yet"
            )
        with FileLock(self._lock):
            for folder in (self._objects, self._pins, self._temporary):
                folder.mkdir(exist_ok=True)
            write_durably(marker, _LAYOUT)  # last: whoever sees the marker sees a whole store

    # Writing

    def put(self, source: Source) -> ContentId:
        if isinstance(source, Finished):
            return self._link(source)
        if isinstance(source, bytes | bytearray | memoryview) and memoryview(source).nbytes < LARGE:
            content = ContentId.of(source)
            if not self.renew(content):
                with self._temporary_file() as (path, descriptor):
                    with explained(f"write to the store {self.root}"):
                        for piece in _pieces(source):
                            write_all(descriptor, piece)
                    self._commit(path, descriptor, content)
            return content
        hasher = Hasher()
        with self._temporary_file() as (path, descriptor):
            for piece in _pieces(source):
                hasher.update(piece)
                with explained(f"write to the store {self.root}"):
                    write_all(descriptor, piece)
            content = hasher.finish()
            if not self.renew(content):
                self._commit(path, descriptor, content)
                if content.size >= LARGE:
                    self._remember_own(content, descriptor)
        return content

    def _link(self, source: Finished) -> ContentId:
        """Has a finished file as the content's own. One that was written to all the same, or can't be linked, is put
        as any other."""
        content, target = source.content, self._object(source.content)
        with explained(f"read {source.path}"):
            descriptor = os.open(source.path, os.O_RDONLY)
        try:
            with explained(f"write to the store {self.root}"):
                if stamp_of(descriptor) != source.stamp:
                    return self.put(source.path)
                os.fchmod(descriptor, 0o444)
                if not (young := 0 <= time.time() - source.stamp[3] / 1e9 < _YOUNG):
                    os.utime(descriptor)
                os.fsync(descriptor)
                try:  # without the lock, for gc finds it before, or after, or not at all
                    self._make_parent(target)
                    os.link(source.path, target)
                except OSError:  # it is there, or on another file system, or has too many names
                    return content if self.renew(content) else self.put(source.path)
                sync(target.parent)
            found = _fingerprint(descriptor)
            if young and source.settled and found[:4] == source.stamp:
                self._remember(content, found)
        finally:
            os.close(descriptor)
        return content

    def adopt(self, path: Path, content: ContentId) -> None:
        """Moves a file of the store's own file system in, as a put would copy it. Nobody writes to it any more.

        Raises:
            ContentAlteredError: it is something else; the file stays where it is.
        """
        with explained(f"read {path}"), path.open("rb") as file:
            hasher = Hasher()
            for piece in blocks(file):
                hasher.update(piece)
            found = hasher.finish()
            if found != content:
                raise ContentAlteredError(
                    f"{path} is {found} ({found.size} bytes), not {content} ({content.size} bytes)"
                )
            if self.renew(content):
                path.unlink()
                return
            os.fchmod(file.fileno(), 0o444)
            os.utime(file.fileno())
            self._commit(path, file.fileno(), content)

    @contextmanager
    def _temporary_file(self) -> Iterator[tuple[Path, int]]:
        path = self._temporary / secrets.token_hex(16)
        with explained(f"write to the store {self.root}"), FileLock(self._lock, shared=True):
            # Under the shared lock: gc never sees the file without the lock that says its writer lives.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield path, descriptor
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def _commit(self, path: Path, descriptor: int, content: ContentId) -> None:
        target = self._object(content)
        with explained(f"write to the store {self.root}"):
            os.fsync(descriptor)
            with FileLock(self._lock, shared=True):
                self._make_parent(target)
                os.replace(path, target)
            sync(target.parent)

    def _make_parent(self, target: Path) -> None:
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)
            sync(self._objects)

    def _remember_own(self, content: ContentId, descriptor: int) -> None:
        """Remembers a file that nobody else has had open, and whose bytes were hashed as they were written: a write
        from now on has another stamp once the file system's clock has gone on."""
        before = _fingerprint(descriptor)
        if clock_passes(before[4], self._temporary) and _fingerprint(descriptor) == before:
            self._remember(content, before)

    def renew(self, content: ContentId) -> bool:
        """Whether sound content is there already; if so its grace period begins anew."""
        path = self._object(content)
        with explained(f"write to the store {self.root}"):
            with FileLock(self._lock, shared=True):
                try:
                    with self._verified_file(content):
                        os.utime(path)
                except (ContentMissingError, ContentAlteredError):
                    return False
            sync(path.parent)  # another process may have renamed it a moment ago
        return True

    # Reading

    def path(self, content: ContentId) -> Path:
        with self._verified_file(content):
            return self._object(content)

    def get(self, content: ContentId, start: int = 0, stop: int | None = None) -> bytes:
        stop = content.size if stop is None else stop
        if not 0 <= start <= stop <= content.size:
            raise ContentError(
                f"bytes {start} to {stop} of {content.cid} can't be read: it has {content.size} bytes; ask"
                " for 0 ≤ start ≤ stop ≤ size"
            )
        with self._verified_file(content) as descriptor, explained(f"read {self._object(content)}"):
            data = bytearray()
            while piece := os.pread(descriptor, stop - start - len(data), start + len(data)):
                data += piece
        if len(data) != stop - start:
            raise self._altered(content, f"it was cut to {start + len(data)} bytes while it was read")
        return bytes(data)

    def block(self, digest: bytes) -> bytes:
        content = ContentId(digest, 0)  # all sizes up to a block's have the same cid
        path = self._object(content)
        with explained(f"read {path}"):
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                raise self._missing(content.cid) from None
        if size > BLOCK_SIZE:
            raise self._altered(content, f"it has {size} bytes, more than a block")
        return self.get(ContentId(digest, size))

    def probe(self, digest: bytes) -> None:
        self.block(digest)

    def has(self, content: ContentId) -> bool:
        # Clients ask this after every update of a round: a string and a system call, no path.
        cid = content.cid
        try:
            found = os.stat(f"{self._objects}/{cid[-2]}/{cid}")
        except FileNotFoundError:
            return False
        except OSError as error:
            with explained(f"read the store {self.root}"):
                raise error
        return stat.S_ISREG(found.st_mode) and found.st_size == content.size

    def reaches(self, content: ContentId) -> bool:
        return self.has(content)

    def find(self, cid: str) -> ContentId | None:
        """The content of that id with the size that is there; it is not hashed. None: there is none.

        Raises:
            ContentAlteredError: a file of that size can't be it.
        """
        digest, codec = parse(cid)
        path = self._object(ContentId(digest, 0 if codec is Codec.RAW else BLOCK_SIZE + 1))
        with explained(f"read {path}"):
            try:
                content = ContentId(digest, path.stat().st_size)
            except FileNotFoundError:
                return None
        if content.codec is not codec:
            raise _altered(cid, path, f"it has {content.size} bytes")
        return content

    def identify(self, cid: str) -> ContentId:
        if (found := self.find(cid)) is None:
            raise self._missing(cid)
        return found

    def contents(self) -> Iterator[tuple[str, int]]:
        for path in self._files():
            try:
                yield path.name, path.stat().st_size
            except FileNotFoundError:  # collected meanwhile
                continue

    def verify(self) -> Iterator[tuple[str, ContentError | None]]:
        for path in self._files():
            try:
                with explained(f"read {path}"):
                    found = ContentId.of_file(path)
            except ContentError as error:
                if path.exists():  # else collected meanwhile
                    yield path.name, error
                continue
            yield (
                path.name,
                None if found.cid == path.name else _altered(path.name, path, f"its bytes are {found}"),
            )

    @contextmanager
    def _verified_file(self, content: ContentId) -> Iterator[int]:
        path = self._object(content)
        with explained(f"read {path}"):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # should it be a pipe: nothing to wait for
            except FileNotFoundError:
                raise self._missing(f"{content.cid} ({content.size} bytes)") from None
        try:
            with explained(f"read {path}"):
                self._verify(content, descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _verify(self, content: ContentId, descriptor: int) -> None:
        before = _fingerprint(descriptor)
        if self._known.verified.get(content) == before:
            return
        if (size := before[2]) != content.size:
            raise self._altered(content, f"it has {size} bytes, not {content.size}")
        if size < LARGE:
            self._hash(content, descriptor, before)
        else:  # many clients of a process ask for a model at the same time
            self._known.hashing.do((content, before), lambda: self._hash(content, descriptor, before))

    def _hash(self, content: ContentId, descriptor: int, before: _Fingerprint) -> None:
        size, changed = before[2], before[4]
        settled = changed < time.time_ns() - _SETTLED_NS or (size >= LARGE and changed < clock_of(self._temporary))
        hasher = Hasher()
        position = 0
        while piece := os.pread(descriptor, min(_READ_SIZE, size + 1), position):
            hasher.update(piece)
            position += len(piece)
        found = hasher.finish()
        if found != content:
            raise self._altered(content, f"its bytes are {found}")
        if settled and _fingerprint(descriptor) == before:
            self._remember(content, before)

    def _remember(self, content: ContentId, found: _Fingerprint) -> None:
        if len(self._known.verified) >= _REMEMBERED:
            self._known.verified.clear()
        self._known.verified[content] = found

    def _missing(self, what: str) -> ContentMissingError:
        return ContentMissingError(
            f"{what} is not in the store {self.root}: fetch it from whoever made it, or recompute it, and put it"
        )

    def _altered(self, content: ContentId, what: str) -> ContentAlteredError:
        return _altered(content.cid, self._object(content), what)

    def _object(self, content: ContentId) -> Path:
        cid = content.cid
        # 32 folders: each that has to be made costs as much as a file, and waits for the disk.
        return self._objects / cid[-2] / cid

    def _files(self) -> Iterator[Path]:
        with explained(f"read the store {self.root}"):
            shards = sorted(self._objects.iterdir())
        for shard in shards:
            with explained(f"read the store {self.root}"):
                paths = sorted(shard.iterdir()) if shard.is_dir() else []
            yield from (path for path in paths if _is_cid(path.name) and path.is_file())

    # Keeping

    def pin(self, *contents: ContentId) -> None:
        with explained(f"pin in the store {self.root}"), FileLock(self._lock, shared=True):
            for content in contents:
                if not self.has(content):
                    raise ContentMissingError(
                        f"{content.cid} ({content.size} bytes) can't be pinned: it is not in the store"
                        f" {self.root}; put it first"
                    )
            pins = [self._pins / content.cid for content in contents]
            for pin in pins[:1]:
                pin.touch()
            for pin in pins[1:]:
                # A name more of the same empty file: a new one each takes ten times as long.
                try:
                    os.link(pins[0], pin)
                except FileExistsError:
                    pass
                except OSError:  # it has as many as it can, or was unpinned a moment ago, or there are no links here
                    pin.touch()
            sync(self._pins)

    def unpin(self, *contents: ContentId) -> None:
        with explained(f"unpin in the store {self.root}"):
            for content in contents:
                (self._pins / content.cid).unlink(missing_ok=True)
            sync(self._pins)

    def pins(self) -> frozenset[str]:
        with explained(f"read the store {self.root}"):
            return frozenset(path.name for path in self._pins.iterdir() if _is_cid(path.name))

    def gc(self, grace_seconds: float = 3600.0) -> GcReport:
        removed = freed = 0
        with explained(f"collect in the store {self.root}"), FileLock(self._lock):
            pinned = self.pins()
            latest = time.time() - grace_seconds
            unpinned = (path for path in self._files() if path.name not in pinned)
            old = (path for path in unpinned if path.stat().st_mtime <= latest)
            for path in (*old, *self._temporary.iterdir()):
                try:
                    if path.parent == self._temporary and lock_is_held(path):
                        continue
                    size = path.stat().st_size
                    path.unlink()
                except FileNotFoundError:  # a writer has just removed its temporary file
                    continue
                removed += 1
                freed += size
        return GcReport(removed, freed)


def _pieces(source: Source) -> Iterator[bytes | memoryview]:
    if isinstance(source, bytes | bytearray | memoryview):
        flat = memoryview(source)
        flat = flat.cast("B") if flat.nbytes else memoryview(b"")  # an empty view can't be cast
        for start in range(0, len(flat), _READ_SIZE):
            yield flat[start : start + _READ_SIZE]
        return
    if isinstance(source, Finished):
        source = source.path
    if not isinstance(source, Path):
        yield from blocks(source)
        return
    with explained(f"read {source}"), source.open("rb") as file:
        yield from blocks(file)


def _fingerprint(descriptor: int) -> _Fingerprint:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _altered(cid: str, path: Path, what: str) -> ContentAlteredError:
    return ContentAlteredError(
        f"{path} is no longer {cid}: {what}; delete the file, look after the disk, and put the content again"
        " or fetch it from whoever made it"
    )


def _is_cid(name: str) -> bool:
    try:
        parse(name)
    except ContentError:
        return False
    return True
