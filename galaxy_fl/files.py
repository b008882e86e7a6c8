"""Files that outlive crashes and may be shared: replaced whole or not at all, locked by the living, safely named."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import secrets
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from galaxy_fl.exceptions import ConfigurationError, ContentError

__all__ = [
    "NAME_PATTERN",
    "NEW_PREFIX",
    "FileLock",
    "allow_open_files",
    "check_name",
    "clock_of",
    "clock_passes",
    "explained",
    "handing_over",
    "is_name",
    "lock_is_held",
    "make_folder",
    "replacing",
    "sync",
    "write_all",
    "write_durably",
]

# Names

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names of clients, jobs and accounts: each becomes the name of a file somewhere."""


def is_name(name: str) -> bool:
    """Returns whether a name, which may be a stranger's, is safe as a file's."""
    return re.fullmatch(NAME_PATTERN, name) is not None


def check_name(what: str, name: str) -> str:
    """Returns a name that is safe as a file's.

    Raises:
        ConfigurationError: it is not.
    """
    if not is_name(name):
        raise ConfigurationError(
            f"{what} is {name!r}, expected 1 to 64 letters, digits, '.', '_' or '-', with a letter or digit first"
        )
    return name


# Errors

_FULL = "free space there (in a content store, `galaxy-chain store gc` does) or use a folder on another disk"
_DENIED = "give this user permission to read and write there, or use another folder"
_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: "mount the file system for writing, or use another folder",
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`), or use another file system",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENOENT: "check that it exists; a folder must not be moved or deleted while it is in use",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "name a folder, not a file",
    errno.EEXIST: "name a folder, not a file",
}


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turns an OSError into a ContentError that says what could not be done, why, and what to do."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "look at the disk and at the system's log")
        where = f" ({error.filename})" if error.filename else ""
        raise ContentError(f"can't {action}: {error.strerror or error}{where}; {advice}") from error


# Durable writes

NEW_PREFIX = ".galaxy-"
"""Begins the names of files that are being written."""
_NEW_PATTERN = re.compile(re.escape(NEW_PREFIX) + r"[0-9a-f]{16}")
_TICKED = 0.02
"""Seconds in which the clock by which file systems stamp has gone on, wherever it ticks a hundred times a second."""
_SETTLED = 60.0
"""Seconds after which an unlocked new file is a dead writer's: one who has just made it needs a moment to lock it."""


@contextmanager
def replacing(path: Path, *, aside: Path | None = None, mode: int = 0o666, exclusive: bool = False) -> Iterator[Path]:
    """Yields a new file to write, which takes the place of `path` durably when the block ends without an error.

    Whenever the process or the machine dies, `path` is the old file or the new one, never half of one. What a dead
    writer left behind is removed by the next writer in the same folder. Missing folders are made.

    Args:
        aside: Folder for the new file, on the same file system; None for the folder of `path`.
        mode: Permissions, less the umask; 0o600 for secrets.
        exclusive: Whether a file that already exists stays, and FileExistsError is raised.

    Raises:
        OSError: it can't be written.
    """
    aside = path.parent if aside is None else aside
    make_folder(aside)
    make_folder(path.parent)
    _remove_leftovers(aside)
    new = aside / f"{NEW_PREFIX}{secrets.token_hex(8)}"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield new
        sync(new)
        if exclusive:
            os.link(new, path)
        else:
            os.replace(new, path)
        sync(path.parent)
    finally:
        new.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def handing_over(path: Path) -> Iterator[Path]:
    """Yields a new file to write, which takes the place of `path` when the block ends without an error.

    Whoever reads `path` finds the old file or the new one, never half of one; what the machine has left of either after
    a loss of power is for whoever keeps it to see to.

    Raises:
        OSError: it can't be written.
    """
    new = path.with_name(f"{NEW_PREFIX}{secrets.token_hex(8)}")
    try:
        yield new
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def write_durably(
    path: Path, content: str | bytes, *, aside: Path | None = None, mode: int = 0o666, exclusive: bool = False
) -> None:
    """Writes a file as `replacing` does; text as UTF-8.

    Raises:
        OSError: it can't be written.
    """
    with replacing(path, aside=aside, mode=mode, exclusive=exclusive) as new:
        new.write_bytes(content.encode() if isinstance(content, str) else content)


def _remove_leftovers(folder: Path) -> None:
    with suppress(OSError):  # another writer has removed them, or whoever may not shall not
        for entry in list(os.scandir(folder)):
            if (
                _NEW_PATTERN.fullmatch(entry.name)
                and entry.is_file(follow_symlinks=False)
                and time.time() - entry.stat().st_mtime > _SETTLED
                and not lock_is_held(Path(entry.path))
            ):
                os.unlink(entry.path)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Makes a folder durably, and those above it, where they are missing.

    Args:
        mode: Permissions of the innermost, less the umask; 0o700 for secrets.

    Raises:
        OSError: it can't be made.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir(mode=mode, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
    sync(path.parent)


def sync(path: Path) -> None:
    """Makes a file's bytes, or the names in a folder, outlive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clock_of(folder: Path) -> int:
    """Return the stamp that a change of a file in a folder has now, in nanoseconds; 0 where the file system does not
    tell. File systems stamp by a clock of their own, which ticks every few milliseconds."""
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except OSError:
        return 0
    try:
        return os.fstat(descriptor).st_ctime_ns
    finally:
        os.close(descriptor)


def clock_passes(stamp: int, folder: Path) -> bool:
    """Wait for a tick until a change of a file in a folder has a later stamp, and return whether it has.

    Args:
        stamp: In nanoseconds.
    """
    until = time.monotonic() + _TICKED
    while (now := clock_of(folder)) <= stamp:
        if now == 0 or time.monotonic() > until:
            return False
        time.sleep(0.001)
    return True


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Writes unbuffered, so that a full disk is noticed here and not again when the file is closed."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def allow_open_files(more: int) -> None:
    """Lets this process have so many more files open than it may by default, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    wanted = soft + more if hard == resource.RLIM_INFINITY else min(soft + more, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# Locks

_PROBED = 10.0
"""Seconds for which those who only look may keep a lock from being acquired: each does for microseconds."""


class FileLock:
    """A lock on a file, between threads and between processes of one machine.

    Released by `release`, by the end of a `with` block, when it is garbage, and by the kernel when its holder dies.
    The file stays. An exclusive lock excludes every other one, a shared lock the exclusive ones.

    Args:
        path: The file, which is made when the lock is first acquired.
        shared: Whether others may hold it at the same time, shared too.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self._path = path
        self._kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._close: weakref.finalize[[int], FileLock] | None = None

    @classmethod
    def claim(cls, path: Path, busy: str) -> FileLock:
        """Acquires the exclusive lock that says that a program is at work.

        Args:
            busy: The error's message where another program holds it.

        Raises:
            ConfigurationError: another program holds it, or the file can't be made.
        """
        lock = cls(path)
        try:
            make_folder(path.parent)
            acquired = lock.acquire(wait=False)
        except OSError as error:
            raise ConfigurationError(f"{path} can't be locked: {error.strerror}; use a folder that is yours") from error
        if not acquired:
            raise ConfigurationError(busy)
        return lock

    def acquire(self, *, wait: bool = True) -> bool:
        """Acquires the lock, and returns whether it is held; without `wait` only if nobody holds it now.

        Raises:
            OSError: the file can't be made.
        """
        assert self._close is None, f"{self._path} is locked by this already"
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if wait:
                fcntl.flock(descriptor, self._kind)
            elif not _try(descriptor, self._kind):
                os.close(descriptor)
                return False
        except BaseException:
            os.close(descriptor)
            raise
        self._close = weakref.finalize(self, os.close, descriptor)
        return True

    def release(self) -> None:
        """Releases the lock; does nothing where it is not held."""
        if self._close is not None:
            self._close()
            self._close = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _try(descriptor: int, kind: int) -> bool:
    """Locks an open file unless somebody holds it who does not only look; those who look lock it shared."""
    until = time.monotonic() + _PROBED
    while not _lock_now(descriptor, kind):
        if not _lock_now(descriptor, fcntl.LOCK_SH) or time.monotonic() > until:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # so that two who try at once don't keep it from each other
        time.sleep(0.001)
    return True


def _lock_now(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_is_held(path: Path) -> bool:
    """Returns whether somebody alive holds an exclusive lock on the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # should it be a pipe, there is nothing to wait for
    except FileNotFoundError:
        return False
    try:
        return not _lock_now(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
