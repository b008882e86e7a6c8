"""The content of a cluster's jobs: what their folders hold, by content id, and updates on their way into them.

A client sends one update of one vector's length an attempt, so that none fills the disk; what is no longer needed goes
when the job's folder is pruned.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from fastapi import Request

from galaxy_fl.content.content_id import ContentId
from galaxy_fl.content.problems import Refused
from galaxy_fl.content.uploads import Uploads
from galaxy_fl.exceptions import ConfigurationError, ContentAlteredError, ContentMissingError
from galaxy_fl.files import make_folder, sync
from galaxy_fl.jobs.document import SourceModel
from galaxy_fl.modes.job_folder import JobFolder, State, UpdateFile, parsed
from galaxy_fl.rounds.coordinator import Phase

__all__ = ["Content", "previous_of"]

_log = logging.getLogger(__name__)


class Content:
    """The `galaxy_fl.content.app.Service` of a cluster. A request's job, client and attempt are in its `state`."""

    def __init__(self) -> None:
        self.uploads = Uploads()
        self._submitting = threading.Lock()

    def find(self, request: Request, cid: str) -> tuple[ContentId, Path] | None:
        """A file of the job. Nobody is shown others' updates, except for those that a distillation learns from."""
        job: JobFolder = request.state.job
        vector = 4 * job.parameters
        state = job.state
        if cid == state.model:
            return _found(cid, job.path / "models" / str(state.round), 4 * job.model_parameters)
        if cid == job.document_id:
            return _found(cid, job.path / "job.json")
        if isinstance(job.document.model, SourceModel) and cid == job.document.model.source:
            return _found(cid, job.path / "model.py")
        if job.document.base is not None and cid == job.document.base.content:
            return _found(cid, job.base_path, job.document.base.size)
        own, peers = previous_of(job, request.state.client)
        for path, update in (own, *peers) if own else peers:
            if cid == update.cid:
                return _found(cid, path, vector)
        return None

    def writing(self, request: Request, content: ContentId) -> Updating:
        """The update of the client that asks."""
        return Updating(request.state.job, request.state.attempt, request.state.client, content)

    def submit(self, job: JobFolder, attempt: int, update: UpdateFile) -> None:
        """Submits an update that has arrived. The same once more does nothing.

        Raises:
            Refused: the round is over, it is another update than before, weighs too much, or has not arrived.
        """
        state = job.state
        if attempt == state.previous_attempt and update.name in state.previous:
            return
        with self._submitting:
            before = job.update_of(update.client, state.round, attempt)
            if before is not None and attempt == state.attempt:
                if before != update:
                    raise _already_submitted(update.client, attempt)
                return
            state = _expect(job, attempt)
            try:
                job.check_weight(update.client, update.weight)
            except ConfigurationError as error:
                raise Refused(422, "weight", str(error)) from error
            submitted = job.update_file(state.round, attempt, update)
            make_folder(submitted.parent)
            try:
                os.replace(_whole(job.upload_file(attempt, update.client, update.cid)), submitted)
            except FileNotFoundError:
                raise Refused(404, "not_found", f"{update.cid} has not arrived: upload it first") from None
            sync(submitted.parent)
            job.note_handed_in(update.client)


class Updating:
    """A client's upload of its update."""

    def __init__(self, job: JobFolder, attempt: int, client: str, content: ContentId) -> None:
        self.content = content
        self.path = job.upload_file(attempt, client, content.cid)
        self._job = job
        self._attempt = attempt
        self._client = client

    def count(self) -> None:
        """Makes sure that the round takes this update, and removes what the client has sent of another."""
        state = _expect(self._job, self._attempt)
        if self._job.samples(self._client) == 0:
            raise Refused(409, "not_taking_part", f"{self._client} does not take part in job {self._job.job_id}")
        if self.content.size != 4 * self._job.parameters:
            raise Refused(413, "size", f"an update of this job has {4 * self._job.parameters} bytes")
        before = self._job.update_of(self._client, state.round, self._attempt)
        if before is not None and before.cid != self.content.cid:
            raise _already_submitted(self._client, self._attempt)
        make_folder(self.path.parent)
        for other in self.path.parent.iterdir():
            if other not in (self.path, _whole(self.path)):
                other.unlink(missing_ok=True)

    def is_there(self) -> bool:
        """Whether all of it has arrived, or it is submitted."""
        state = self._job.state
        return _whole(self.path).exists() or self._job.update_of(self._client, state.round, self._attempt) is not None

    def finish(self) -> None:
        """Keeps what has arrived until it is submitted."""
        if (found := ContentId.of_file(self.path)) != self.content:
            raise ContentAlteredError(f"{self.path} is {found}, not {self.content}")
        sync(self.path)
        os.replace(self.path, _whole(self.path))
        sync(self.path.parent)


def previous_of(job: JobFolder, client: str) -> tuple[tuple[Path, UpdateFile] | None, list[tuple[Path, UpdateFile]]]:
    """What a distillation continues from: the client's latest update, and the others' of the round before."""
    if not job.document.distils:
        return None, []
    state, latest = job.state, job.latest_of(client)
    own = None if latest is None else (job.update_file(*latest), latest[2])
    peers = [
        (job.update_file(state.round - 1, state.previous_attempt, update), update)
        for update in parsed(state.previous)
        if update.client != client
    ]
    return own, peers


def _whole(path: Path) -> Path:
    return path.with_name(f"{path.name}.whole")


def _expect(job: JobFolder, attempt: int) -> State:
    state = job.state
    if state.attempt != attempt or state.phase is not Phase.COLLECTING:
        raise Refused(
            409,
            "round_moved_on",
            f"job {job.job_id} is at attempt {state.attempt} ({state.phase.value}), and takes nothing for {attempt}",
        )
    return state


def _already_submitted(client: str, attempt: int) -> Refused:
    return Refused(409, "already_submitted", f"{client} has submitted another update in attempt {attempt}")


def _found(cid: str, path: Path, size: int | None = None) -> tuple[ContentId, Path]:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise ContentMissingError(f"{path} is gone") from None
    if size is not None and found != size:
        _log.error("%s has %d bytes, expected %d: look after the disk", path, found, size)
        raise Refused(500, "altered", f"what the server has as {cid} is something else; its log says more")
    return ContentId.from_cid(cid, found), path
