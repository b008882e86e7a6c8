"""Content on its way in, in as many pieces as the network makes of it.

What has arrived is content once all of it is there and is what its id says.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from galaxy_fl.content.content_id import ContentId
from galaxy_fl.content.problems import Refused
from galaxy_fl.exceptions import ContentAlteredError, ContentError
from galaxy_fl.files import explained, write_all

__all__ = ["Uploads", "Writing"]

_SILENCE = 60.0
"""How long a sender may say nothing in the middle of an upload, in seconds."""
_BATCH = 1 << 20


class _Turn:
    """The request that may write to an upload: the latest, because an earlier one may be dead unnoticed."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self.lock = lock


class Writing(Protocol):
    """What one writer does about one content.

    Attributes:
        path: Where its bytes gather, a file of this writer's own: nobody can spoil what somebody else sends.
    """

    content: ContentId
    path: Path

    def count(self) -> None:
        """Counts the content against what the writer may keep.

        Raises:
            Refused: it is too much.
        """

    def is_there(self) -> bool:
        """Whether sound content is there already."""

    def finish(self) -> None:
        """Makes the file content; it is gone from `path` then.

        Raises:
            ContentAlteredError: it is something else.
        """


class Uploads:
    """All uploads of a server. `receive` and `forget` run in one event loop."""

    def __init__(self) -> None:
        self._turns: dict[Path, _Turn] = {}

    def received(self, writing: Writing) -> int:
        """How many bytes have arrived."""
        try:
            return writing.path.stat().st_size
        except FileNotFoundError:
            return 0

    def forget(self, writing: Writing) -> None:
        """Removes what has arrived, unless more of it arrives just now: the content is there."""
        if writing.path not in self._turns:
            writing.path.unlink(missing_ok=True)

    async def receive(self, writing: Writing, offset: int, pieces: AsyncIterator[bytes], announced: int) -> int:
        """Takes bytes from an offset on; the last one makes them content. Returns how many are there.

        Args:
            announced: How many the sender says that it sends; 0 where it does not say.

        Raises:
            Refused: they don't continue where the others ended, are too many, or are something else.
            ContentError: they can't be written. If the disk is full, what has arrived is removed.
        """
        content, path = writing.content, writing.path
        if offset + announced > content.size:
            raise _too_many(content)
        before = self._turns.get(path)
        turn = self._turns[path] = _Turn(asyncio.Lock() if before is None else before.lock)
        size = offset
        try:
            async for piece in _batches(_timely(pieces)):
                async with turn.lock:
                    if self._turns.get(path) is not turn:
                        raise Refused(409, "offset", "another request sends this")
                    if size + len(piece) > content.size:
                        raise _too_many(content)
                    await run_in_threadpool(_append, path, size, piece)
                    size += len(piece)
                    if size == content.size:
                        await run_in_threadpool(_finish, writing)
                        break
        finally:
            if self._turns.get(path) is turn:
                del self._turns[path]
        return size


def _finish(writing: Writing) -> None:
    try:
        writing.finish()
    except ContentAlteredError as error:
        writing.path.unlink(missing_ok=True)
        raise Refused(422, "altered", f"what arrived is not {writing.content.cid}: send it again") from error


def _append(path: Path, offset: int, piece: bytes) -> None:
    with explained("write what arrives"):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if (size := os.fstat(descriptor).st_size) != offset:
            raise Refused(409, "offset", f"{size} bytes have arrived: continue there, not at {offset}")
        with explained("write what arrives"):
            write_all(descriptor, piece)
    except ContentError:  # the disk is full, or fails: others need the space
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _too_many(content: ContentId) -> Refused:
    return Refused(413, "too_large", f"{content.cid} has {content.size} bytes: send no more")


async def _batches(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Larger pieces; at least one, which may be empty. What came before the sender went away is not lost."""
    batch = bytearray()
    try:
        async for piece in pieces:
            batch += piece
            if len(batch) >= _BATCH:
                yield bytes(batch)
                batch.clear()
    except (ClientDisconnect, Refused):
        if batch:
            yield bytes(batch)
        raise
    yield bytes(batch)


async def _timely(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(_SILENCE):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise Refused(408, "silence", f"nothing was sent for {_SILENCE:.0f} s: continue") from None
        if piece is None:
            return
        yield piece
