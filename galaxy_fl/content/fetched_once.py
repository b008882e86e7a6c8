"""Large content that many clients of a machine have in common: one of them fetches and verifies it, for all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from galaxy_fl.content.content_id import ContentId
from galaxy_fl.exceptions import ConfigurationError, ContentMissingError
from galaxy_fl.files import FileLock, explained, make_folder

__all__ = ["expect_room", "fetched_once"]

Stamp = tuple[int, int, int, int]
_verified: dict[tuple[Path, ContentId], tuple[Path, Stamp]] = {}
"""By folder, what this process has found, and its file's stamps then."""


def fetched_once(content: ContentId, folder: Path, fetch: Callable[[], Path]) -> Path:
    """Return the verified file of a content.

    Of all threads and processes that ask at the same time one fetches, and a process that has found it verifies it
    again only where the file was changed.

    Args:
        content: What is wanted.
        folder: Where those meet who have the content in common; it may be made.
        fetch: Returns the verified file, fetched if need be.

    Raises:
        ContentError: what `fetch` raises, or the folder can't be used.
    """
    lock = FileLock(folder / f"{content.cid}.lock")
    with explained(f"lock {folder}"):
        make_folder(folder)
        lock.acquire()
    try:
        path, stamp = _verified.get((folder, content), (None, None))
        if path is None or _stamp(path) != stamp:
            path = fetch()
            if (now := _stamp(path)) is None:
                raise ContentMissingError(f"{path} is gone")
            _verified[folder, content] = path, now
        return path
    finally:
        lock.release()


def expect_room(content: ContentId, folder: Path, what: str) -> None:
    """Make sure that a content fits the disk, before a byte of it is fetched: its size is what a stranger says.

    Args:
        content: What is wanted.
        folder: Where it would be put; it may be made.
        what: What it is, for people.

    Raises:
        ConfigurationError: there is no room for it.
        ContentError: the folder can't be used.
    """
    with explained(f"look at {folder}"):
        make_folder(folder)
        free = shutil.disk_usage(folder).free
    if content.size > free:
        raise ConfigurationError(
            f"{what} has {content.size:,} bytes, and the disk of {folder} has {free:,} free: free as many, or keep the "
            "folder on another disk; take no part in a job that you don't believe to be so large"
        )


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
