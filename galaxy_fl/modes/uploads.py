"""Updates on their way into a job's folder, in as many pieces as the network makes of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import HTTPException
from fastapi.concurrency import run_in_threadpool

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import sync
from galaxy_fl.modes.job_folder import JobFolder, State, UpdateFile
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.rounds.kept import digest_of

__all__ = ["Refused", "Uploads"]

_SILENCE = 60.0
"""How long a sender may say nothing in the middle of an upload, in seconds."""


class Refused(HTTPException):
    """What a client asked for is not done.

    Args:
        status: Of HTTP.
        error: For programs.
        message: For people.
    """

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(status, message, {"WWW-Authenticate": "Bearer"} if status == 401 else None)
        self.error = error


class _Turn:
    """Who may write to an upload: one request at a time, and while it is handed in, none."""

    def __init__(self, handing_in: bool) -> None:
        self.handing_in = handing_in


class Uploads:
    """All uploads of a server. Its methods run in the event loop, so that turns change between two pieces only."""

    def __init__(self) -> None:
        self._turns: dict[Path, _Turn] = {}

    def arrived(self, job: JobFolder, attempt: int, client: str) -> tuple[int, bool]:
        """How many bytes of an update are there, and whether it has been handed in."""
        state = _expect(job, attempt)
        if job.update_of(client, state.round, attempt) is not None:
            return 4 * job.parameters, True
        return _size(job.upload_file(state.round, attempt, client)), False

    async def receive(
        self, job: JobFolder, attempt: int, client: str, offset: int, pieces: AsyncIterator[bytes], announced: int
    ) -> int:
        """Takes the bytes of an update from an offset on, and gives how many are there now.

        A later request takes over from an earlier one, whose connection may be dead without the server's knowing.

        Args:
            announced: How many the sender says that it sends; 0 where it does not say.

        Raises:
            Refused: the round is over, they don't go on where the others ended, or they are too many.
        """
        state = _expect(job, attempt)
        if job.samples(client) == 0:
            raise Refused(409, "not_taking_part", f"{client} does not take part in job {job.job_id}")
        if job.update_of(client, state.round, attempt) is not None:
            raise Refused(409, "handed_in", f"{client} has handed in already")
        limit = 4 * job.parameters
        if offset + announced > limit:
            raise _too_long(limit)
        path = job.upload_file(state.round, attempt, client)
        self._check_turn(path)
        turn = self._turns[path] = _Turn(handing_in=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("ab", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if size != offset:
                    raise Refused(409, "offset", f"{size} bytes have arrived: go on there, not at {offset}")
                async for piece in _timely(pieces):
                    if self._turns.get(path) is not turn:
                        raise Refused(409, "offset", "another request sends this update")
                    if size + len(piece) > limit:
                        raise _too_long(limit)
                    size += file.write(piece)
        finally:
            if self._turns.get(path) is turn:
                del self._turns[path]
        return size

    async def hand_in(self, job: JobFolder, attempt: int, client: str, weight: int, sha256: str) -> None:
        """Hands in what has arrived. The same once more does nothing.

        Raises:
            Refused: the round is over, it is another update than before, not all of it is there, or not what was said.
        """
        update = UpdateFile(client, weight, sha256)
        state = job.state
        if attempt == state.previous_attempt and update.name in state.previous:
            return
        if (before := job.update_of(client, state.round, attempt)) is not None and attempt == state.attempt:
            if before != update:
                raise Refused(409, "already_submitted", f"{client} has handed in another update in attempt {attempt}")
            return
        state = _expect(job, attempt)
        try:
            job.check_weight(client, weight)
        except ConfigurationError as error:
            raise Refused(422, "weight", str(error)) from error
        path = job.upload_file(state.round, attempt, client)
        if (size := _size(path)) != 4 * job.parameters:
            raise Refused(409, "offset", f"{size} of {4 * job.parameters} bytes have arrived")
        self._check_turn(path)
        self._turns[path] = _Turn(handing_in=True)
        try:
            await run_in_threadpool(_keep, path, job.update_file(state.round, attempt, update), sha256)
        finally:
            del self._turns[path]

    def _check_turn(self, path: Path) -> None:
        turn = self._turns.get(path)
        if turn is not None and turn.handing_in:
            raise Refused(409, "busy", "this update is being handed in: ask again")


def _expect(job: JobFolder, attempt: int) -> State:
    state = job.state
    if state.attempt != attempt or state.phase is not Phase.COLLECTING:
        raise Refused(
            409,
            "round_moved_on",
            f"job {job.job_id} is at attempt {state.attempt} ({state.phase.value}), and takes nothing for {attempt}",
        )
    return state


def _too_long(limit: int) -> Refused:
    return Refused(413, "too_long", f"an update of this job has {limit} bytes")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _keep(path: Path, kept: Path, sha256: str) -> None:
    if (found := digest_of(path)) != sha256:
        path.unlink()
        raise Refused(422, "altered", f"the SHA-256 of what arrived is {found}, not {sha256}: send it again")
    sync(path)
    kept.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, kept)
    sync(kept.parent)


async def _timely(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(_SILENCE):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise Refused(408, "silence", f"nothing was sent for {_SILENCE:.0f} s") from None
        if piece is None:
            return
        yield piece
