"""What a client has trained and not handed in yet: kept, so that a program that starts again trains nothing twice.

What is kept is noted with its content id, and counts only as long as its file has that. So nothing has to wait for the
disk: what a loss of power spoils is trained again, but for what can't be made again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_fl.content.content_id import CID_PATTERN, ContentId
from galaxy_fl.files import NEW_PREFIX, clock_of, handing_over, make_folder, sync, write_durably
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.joint_work import JointWork
from galaxy_fl.training.results import TrainResult

__all__ = ["Kept", "KeptUpdate", "digest_of", "kept_folder"]


def kept_folder(working: Path, job_id: str, client: str, document: JobDocument) -> Path:
    """Return the folder below a working directory for what a client of a job has trained, whichever job has that id."""
    return working / "res" / "trained" / f"{job_id}_client_{client}_{document.digest[:16]}"


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    All clients of a process ask for that of a round's model: it is remembered until the file, or one in its place, has
    another inode, size or time.
    """
    if (known := _digests.get(_stamped(path, os.stat(path)))) is not None:
        return known
    with path.open("rb") as file:
        return _digesting.do(_stamped(path, os.fstat(file.fileno())), lambda: _digest(path, file))


def _digest(path: Path, file: BufferedReader) -> str:
    before = _stamped(path, os.fstat(file.fileno()))
    if (known := _digests.get(before)) is not None:
        return known
    settled = before[-1] < max(clock_of(path.parent), time.time_ns() - _TICKED_NS)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    if settled and _stamped(path, os.fstat(file.fileno())) == before:
        if len(_digests) >= _REMEMBERED:
            _digests.clear()
        _digests[before] = digest
    return digest


_Stamped = tuple[Path, int, int, int, int, int]


def _stamped(path: Path, found: os.stat_result) -> _Stamped:
    return path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


_TICKED_NS = 100_000_000
"""A file changed more recently may change again under the same times, because the clock by which files are stamped
ticks; how far it is, not all file systems tell."""
_REMEMBERED = 100
_digests: dict[_Stamped, str] = {}
_digesting: JointWork[_Stamped, str] = JointWork()


class KeptUpdate(BaseModel):
    """What was trained last: in which round, beginning with which model, and how it went."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: Annotated[int, Field(ge=1)]
    begin: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The SHA-256 of the round's model."""
    draw: Annotated[int, Field(ge=0)]
    """The drawing of the round's randomness that it was trained with."""
    result: TrainResult
    content: Annotated[str, Field(pattern=CID_PATTERN)]
    """Of the file."""


class Kept:
    """What one client has in one job, in a folder. Nobody else writes there.

    Args:
        folder: Is made.
        durable: Whether what is kept outlives a loss of power, and not only the process: for what could not be trained
            again, or costs more than time.
        lasting: Whether the folder itself outlives the process; if not, nothing is noted, and many may share it.

    Raises:
        OSError: it can't be used.
    """

    def __init__(self, folder: Path, *, durable: bool = False, lasting: bool = True) -> None:
        make_folder(folder, 0o700)
        self._durable, self._lasting = durable, lasting
        self._folder = folder
        self._prefix = "" if lasting else f"{secrets.token_hex(8)}-"
        """Of the names of its files."""
        self._note = folder / "kept.json"
        self._owns: set[int] = set()
        """The rounds after which the client's own tensors are there. Nobody else writes to the folder."""
        self.last: KeptUpdate | None = None
        if not lasting:
            return
        self._owns |= {int(path.name[4:]) for path in folder.glob("own-*") if path.name[4:].isdecimal()}
        try:
            last = KeptUpdate.model_validate_json(self._note.read_bytes())
        except (FileNotFoundError, ValidationError):  # nothing yet, or of another time: then it is trained again
            return
        with suppress(OSError):
            if ContentId.of_file(self.update(last.round)).cid == last.content:
                self.last = last

    def update(self, round: int) -> Path:
        """Where the update of a round is, or goes; in a distillation the trained vector."""
        return self._folder / f"{self._prefix}update-{round}"

    @property
    def raw(self) -> Path:
        """Where the update goes that a private job's training leaves, until it is protected."""
        return self._folder / f"{self._prefix}raw"

    @property
    def own_new(self) -> Path:
        """Where the client's own tensors go that a training leaves, until they are kept with what was trained."""
        return self._folder / f"{self._prefix}own-new"

    def own_before(self, round: int) -> Path | None:
        """The client's own tensors that a round's training begins with: those of the last round trained before it."""
        earlier = [number for number in self._owns if number < round]
        return self._own(max(earlier)) if earlier else None

    def _own(self, round: int) -> Path:
        return self._folder / f"{self._prefix}own-{round}"

    def _forget_own(self, round: int) -> None:
        self._own(round).unlink(missing_ok=True)
        self._owns.discard(round)

    def sweep(self) -> None:
        """Removes what a program that died has left unfinished."""
        unfinished = self._folder.glob(f"{NEW_PREFIX}*") if self._lasting else ()
        for path in (self.raw, self.own_new, *unfinished):
            path.unlink(missing_ok=True)

    def clear(self, personal: bool = False) -> None:
        """Forgets what was trained: the job is over.

        Args:
            personal: Whether the client's own tensors of the last round stay, because they are nowhere else.
        """
        updates: Iterable[Path] = () if self.last is None else [self.update(self.last.round)]
        if self._lasting:
            self._note.unlink(missing_ok=True)
            updates = self._folder.glob("update-*")
        for path in updates:
            path.unlink(missing_ok=True)
        owns = sorted(self._owns)
        for round in owns[:-1] if personal else owns:
            self._forget_own(round)
        self.sweep()
        self.last = None

    def keep(self, trained: KeptUpdate, first: int = 1) -> None:
        """Notes what is in `update` of that round, and forgets what was before.

        Args:
            trained: What was trained.
            first: The first round that the job may go back to: the client's own tensors stay that a training from there
                on would begin with.

        Raises:
            OSError: it can't be written.
        """
        round = trained.round
        has_own = self.own_new.exists()
        if self._durable:
            for path in (self.update(round), *([self.own_new] if has_own else [])):
                sync(path)
        # First the old ones of rounds that were taken back, then the new one, then the note: whoever dies in between
        # trains the round again, from what was before it.
        for later in [number for number in self._owns if number > round]:
            self._forget_own(later)
        if has_own:
            os.replace(self.own_new, self._own(round))
            self._owns.add(round)
            if self._durable:
                sync(self._folder)
        if self._durable:
            write_durably(self._note, trained.model_dump_json())
        elif self._lasting:
            with handing_over(self._note) as new:
                new.write_text(trained.model_dump_json())
        if self.last is not None and self.last.round != round:
            self.update(self.last.round).unlink(missing_ok=True)
        for needless in sorted(number for number in self._owns if number < first)[:-1]:
            self._forget_own(needless)
        self.last = trained
