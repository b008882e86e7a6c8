"""What makes a folder safe to share and to crash in: locks, durable names, errors that say what to do."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxy_fl.exceptions import ContentError

__all__ = ["explained", "lock_is_held", "locked", "sync_folder", "write_all"]

_FULL = "free space there (`galaxy-chain store gc` removes what nothing pins) or use a folder on another disk"
_DENIED = "give this user permission to read and write there, or use another folder"
_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: "mount the file system for writing, or use another folder",
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`), or use another file system",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENOENT: "check that it exists; a store's folders must not be moved or deleted while it is in use",
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


@contextmanager
def locked(path: Path, *, exclusive: bool = False) -> Iterator[None]:
    """Holds a lock that is shared with others or exclusive, between threads and between processes.

    The kernel lets go of it when its holder dies. Locks are those of one machine's file system.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def lock_is_held(path: Path) -> bool:
    """Whether somebody alive holds a lock on the file itself."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # should it be a pipe, there is nothing to wait for
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def write_all(descriptor: int, data: bytes) -> None:
    """Unbuffered, so that a full disk is noticed here and not again when the file is closed."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(path: Path) -> None:
    """Makes the names in a folder, those just renamed or removed, outlive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
