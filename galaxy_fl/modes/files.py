"""Files that several programs share: named safely, written whole or not at all, locked by whoever lives."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxy_fl.exceptions import ConfigurationError, ContentError

__all__ = ["NAME_PATTERN", "FileLock", "check_name", "lock_is_held", "published", "sync"]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What clients and jobs are called: each is the name of a file somewhere."""

_PROBED = 0.5
"""How long a lock may be held by those who only look whether it is, in seconds."""


def check_name(what: str, name: str) -> str:
    """Gives back a name that is safe as a file's.

    Raises:
        ConfigurationError: it is not.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigurationError(
            f"{what} is {name!r}, expected 1 to 64 letters, digits, '.', '_' or '-', with a letter or digit first"
        )
    return name


@contextmanager
def published(path: Path, aside: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yields a file in the folder `aside`, on the same file system, to be written; then it takes its place at `path`,
    durably. Nobody ever sees half of it. Both folders are made where they are missing.

    Raises:
        ContentError: it can't be written.
    """
    new = aside / f".{secrets.token_hex(8)}"
    try:
        aside.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        try:
            yield new
            sync(new)
            os.replace(new, path)
            sync(path.parent)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise ContentError(
            f"{path} can't be written: {error.strerror or error}; free space there, or mend the folder's permissions"
        ) from error


def sync(path: Path) -> None:
    """Makes a file's bytes, or the names in a folder, outlive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileLock:
    """An exclusive lock on a file, which the kernel lets go of when its holder dies. It holds on one machine.

    Args:
        path: The file, made if it is not there.
        busy: What to say where another program holds it.

    Raises:
        ConfigurationError: another program holds it, or the file can't be made.
    """

    def __init__(self, path: Path, busy: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigurationError(f"{path} can't be locked: {error.strerror}; use a folder that is yours") from error
        self.release = weakref.finalize(self, os.close, descriptor)
        """Lets go of it; may be called again."""
        until = time.monotonic() + _PROBED
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    self.release()
                    raise ConfigurationError(busy) from None
                time.sleep(0.01)


def lock_is_held(path: Path) -> bool:
    """Whether somebody alive holds a `FileLock` on the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
