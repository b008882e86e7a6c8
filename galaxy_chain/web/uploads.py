"""Content on its way in, in as many pieces as the network makes of it.

What has arrived is in `uploads/` below the store, a file for a space, an account and a content: nobody can spoil what
somebody else sends. It is content once all of it is there and is what its id says.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from galaxy_chain.store import ContentId, LocalStore
from galaxy_chain.web.grants import Grant
from galaxy_chain.web.problems import Refused
from galaxy_fl.exceptions import ContentAlteredError, ContentError
from galaxy_fl.files import explained, write_all

__all__ = ["Uploads"]

_SILENCE = 60.0
"""How long a sender may say nothing in the middle of an upload, in seconds."""
_STALE = 86_400.0
"""How long an upload that does not go on is kept, in seconds."""
_BATCH = 1 << 20


class _Turn:
    """Whose turn it is to write to an upload: the latest request's, for an earlier one may be dead unnoticed."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self.lock = lock


class Uploads:
    """All uploads into a store. `receive` and `forget` run in one event loop."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._folder = store.root / "uploads"
        self._turns: dict[Path, _Turn] = {}
        with explained(f"write to the store {store.root}"):
            self._folder.mkdir(exist_ok=True)

    def arriving(self, space: str, cid: str) -> bool:
        """Whether an upload of this content has begun, and goes on; those that do not are removed."""
        found = False
        for path in self._folder.glob(f"{space}.*.{cid}"):
            try:
                stale = path.stat().st_mtime < time.time() - _STALE
            except FileNotFoundError:  # it has become content
                continue
            if stale:
                path.unlink(missing_ok=True)
            found = found or not stale
        return found

    def received(self, grant: Grant, content: ContentId) -> int:
        """How many bytes have arrived."""
        try:
            return self._path(grant, content).stat().st_size
        except FileNotFoundError:
            return 0

    def forget(self, grant: Grant, content: ContentId) -> None:
        """Removes what has arrived, unless more of it arrives just now: the content is there."""
        path = self._path(grant, content)
        if path not in self._turns:
            path.unlink(missing_ok=True)

    async def receive(
        self, grant: Grant, content: ContentId, offset: int, pieces: AsyncIterator[bytes], announced: int
    ) -> int:
        """Takes bytes from an offset on; the last one makes them content. Gives how many are there.

        Args:
            announced: How many the sender says that it sends; 0 where it does not say.

        Raises:
            Refused: they don't go on where the others ended, are too many, or are something else.
            ContentError: they can't be written. If the disk is full, what has arrived is removed.
        """
        if offset + announced > content.size:
            raise _too_many(content)
        path = self._path(grant, content)
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
                        await run_in_threadpool(self._finish, path, content)
                        break
        finally:
            if self._turns.get(path) is turn:
                del self._turns[path]
        return size

    def _finish(self, path: Path, content: ContentId) -> None:
        try:
            self._store.adopt(path, content)
        except ContentAlteredError as error:
            path.unlink(missing_ok=True)
            raise Refused(422, "altered", f"what arrived is not {content.cid}: send it again") from error

    def _path(self, grant: Grant, content: ContentId) -> Path:
        return self._folder / f"{grant.space}.{grant.address}.{content.cid}"


def _append(path: Path, offset: int, piece: bytes) -> None:
    with explained("write what arrives"):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if (size := os.fstat(descriptor).st_size) != offset:
            raise Refused(409, "offset", f"{size} bytes have arrived: go on there, not at {offset}")
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
            raise Refused(408, "silence", f"nothing was sent for {_SILENCE:.0f} s: go on") from None
        if piece is None:
            return
        yield piece
