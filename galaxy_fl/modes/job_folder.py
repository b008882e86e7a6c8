"""A job's state in a folder. Standalone mode is programs that share it; a cluster's server is an HTTP face of it.

Below the working directory, `res/jobs/<job_id>/` has

    job.json                     the job document, canonical
    terms.json                   how rounds are collected
    model.py                     the model's source, where the document names one
    base.safetensors             the frozen and personal tensors, where the document names a base
    models/<n>                   the vector that round n starts from; `rounds + 1` is the final model. All stay
    clients/<client>.json        who takes part, and the samples declared
    clients/<client>.trained     there once the client has handed in an update
    clients/<client>.lock        held by the client's program while it takes part (standalone)
    updates/<n>-<attempt>/<client>-<weight>-<cid>
                                 an update: its vector under a name that says all else, so that one rename hands it in
    uploads/<client>/<attempt>-<cid>
                                 what a cluster's client has sent of an update so far; with `.whole`, all of it
    published/                   the store of a cluster's server that keeps the current model on an IPFS node, too
    state.json                   where the job stands; written by the server alone
    cancelled                    there once the job is cancelled
    gave-up/<client>             why a client can't take part; gone when it takes part again
    given-up                     why the server can't go on; gone when a server serves the job again
    temporary/<writer>/          what is being written; removed when its writer starts again

Whatever is written is synced and renamed into place, a whole job too, so that nothing half-written is ever read,
and programs may start in any order. Whatever is read is checked; files of strangers are left alone.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from galaxy_fl.aggregation import MAX_WEIGHT, RULES
from galaxy_fl.content.content_id import CID_PATTERN, ContentId
from galaxy_fl.content.fetched_once import fetched_once
from galaxy_fl.exceptions import (
    AggregationError,
    ConfigurationError,
    ContentAlteredError,
    ContentError,
    ContentMissingError,
    GalaxyError,
    JobDocumentError,
)
from galaxy_fl.files import check_name, explained, replacing, sync, write_durably
from galaxy_fl.jobs.document import JobDocument, SourceModel, source_id
from galaxy_fl.jobs.first_model import check_first_model, first_model
from galaxy_fl.jobs.request import JobRequest
from galaxy_fl.jobs.terms import Terms
from galaxy_fl.patience import Backoff, Lookout, Recent
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.validation import explain
from galaxy_fl.vectors import write_vector

__all__ = ["LOOKS", "JobFolder", "JobsFolder", "State", "UpdateFile", "parsed"]

_log = logging.getLogger(__name__)
_TERMS = TypeAdapter(Terms)
LOOKS = Backoff(0.02, 0.5, 1.3)
"""The pauses between looks at a job."""
BASE = "base.safetensors"
_OVER = (Phase.FINISHED, Phase.CANCELLED)
_UPDATE = re.compile(rf"([A-Za-z0-9][A-Za-z0-9._-]{{0,63}})-([1-9][0-9]{{0,7}})-({CID_PATTERN[1:-1]})")

Cid = Annotated[str, Field(pattern=CID_PATTERN)]


@dataclass(frozen=True)
class UpdateFile:
    """An update, which is what its file's name says: whose, its weight, and the content id of its vector."""

    client: str
    weight: int
    cid: str

    @property
    def name(self) -> str:
        """The file's."""
        return f"{self.client}-{self.weight}-{self.cid}"

    @classmethod
    def parse(cls, name: str) -> UpdateFile | None:
        """What a name says; None if it is not an update's."""
        found = _UPDATE.fullmatch(name)
        return None if found is None or int(found[2]) > MAX_WEIGHT else cls(found[1], int(found[2]), found[3])


def parsed(names: Iterable[str]) -> list[UpdateFile]:
    """The updates of that many names, as far as they are updates'."""
    return [update for name in names if (update := UpdateFile.parse(name)) is not None]


def _update_name(name: str) -> str:
    if UpdateFile.parse(name) is None:
        raise ValueError("it is not an update's name, <client>-<weight>-<cid>")
    return name


class State(BaseModel):
    """Where a job stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: Annotated[int, Field(ge=1)] = 1
    attempt: Annotated[int, Field(ge=1)] = 1
    """Grows by one with every commit and reopening, and is never used again."""
    phase: Phase = Phase.COLLECTING
    model: Cid
    """Content id of the model in `models/<round>`."""
    closed: tuple[Annotated[str, AfterValidator(_update_name)], ...] = ()
    """The updates of the closed round, in the order of their clients, written before any is aggregated."""
    previous: tuple[Annotated[str, AfterValidator(_update_name)], ...] = ()
    """The updates that the round before included."""
    previous_attempt: Annotated[int, Field(ge=0)] = 0
    """The attempt that they are of."""


class _Client(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: Annotated[int, Field(ge=1, le=MAX_WEIGHT)]


class JobFolder:
    """One job. What it has read of document and terms does not change. Used by the threads of several clients.

    Args:
        path: The job's folder.

    Attributes:
        changes: Waits for changes of why it is given up, and of its state.
        recently: Returns both as of a moment ago.

    Raises:
        JobDocumentError, ContentError: what is there is not a job.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.job_id = path.name
        content = self._read("job.json")
        self.document = JobDocument.from_bytes(content)
        self.document_id = ContentId.of(content).cid
        try:
            self.terms = _TERMS.validate_json(self._read("terms.json"))
        except ValidationError as error:
            raise ContentAlteredError(f"{self.path / 'terms.json'} is not a job's terms: {explain(error)}") from error
        self.parameters = self.document.tensors.parameters
        self.model_parameters = self.document.model_parameters
        self.max_clients = _most(self.document, self.terms)
        self._state: tuple[bytes, State] | None = None
        self._strangers: set[Path] = set()
        self.changes = Lookout(self._standing, LOOKS)
        self.recently = Recent(self._standing, LOOKS.first)

    def _standing(self) -> tuple[str | None, State]:
        return self.given_up, self.state

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            raise ContentMissingError(f"{self.path} has no {name}: it is not a job, or was damaged") from None
        except OSError as error:
            raise ContentError(f"{self.path / name} can't be read: {error.strerror}") from error

    def aside(self, writer: str) -> Path:
        """The folder where a writer writes; a dot before the server's name tells it from all clients'."""
        return self.path / "temporary" / writer

    # Where it stands

    @property
    def state(self) -> State:
        """As the server wrote it last.

        Raises:
            ContentError: it can't be read, or is not a state.
        """
        content = self._read("state.json")
        if self._state is None or self._state[0] != content:
            try:
                self._state = content, State.model_validate_json(content)
            except ValidationError as error:
                path = self.path / "state.json"
                raise ContentAlteredError(f"{path} is not a job's state: {explain(error)}") from error
        state = self._state[1]
        if state.phase is not Phase.FINISHED and (self.path / "cancelled").exists():
            return state.model_copy(update={"phase": Phase.CANCELLED})
        return state

    def write_state(self, state: State) -> None:
        """For the server alone."""
        self._write("state.json", ".server", state.model_dump_json())

    def _write(self, name: str, writer: str, text: str) -> None:
        path = self.path / name
        with explained(f"write {path}"):
            write_durably(path, text, aside=self.aside(writer))

    def cancel(self) -> None:
        """Ends the job, whoever is at work."""
        (self.path / "cancelled").touch()
        sync(self.path)

    # Who has given up

    def give_up(self, reason: str) -> None:
        """Has the job given up, unless it is over; for the server alone, which may take that back."""
        if self.state.phase not in _OVER:
            self._write("given-up", ".server", _one_line(reason))

    def take_up(self) -> None:
        """Takes back that the job is given up; for the server alone."""
        (self.path / "given-up").unlink(missing_ok=True)

    @property
    def given_up(self) -> str | None:
        """Why the server has given the job up; None where it has not, or the job is over."""
        reason = _text(self.path / "given-up")
        return None if reason is None or self.state.phase in _OVER else reason

    def leave(self, client: str, reason: str) -> None:
        """Notes that a client can't take part.

        Raises:
            ConfigurationError: the name won't do.
        """
        self._write(f"gave-up/{check_name('client_id', client)}", client, _one_line(reason))

    def gave_up(self) -> dict[str, str]:
        """The clients that can't take part, and why, in the order of their names."""
        try:
            names = sorted(os.listdir(self.path / "gave-up"))
        except FileNotFoundError:
            return {}
        return {name: reason for name in names if (reason := _text(self.path / "gave-up" / name)) is not None}

    # Model and source

    def source(self) -> bytes:
        """The model's source, verified.

        Raises:
            ContentError: it is not there, or not the source that the document names.
        """
        model = self.document.model
        if not isinstance(model, SourceModel):
            raise ContentMissingError(f"job {self.job_id} has no source: its model is {model.builtin!r}, a builtin one")
        source = self._read("model.py")
        if (found := source_id(source)) != model.source:
            raise ContentAlteredError(f"{self.path / 'model.py'} is {found}, but the job names {model.source}")
        return source

    @property
    def base_path(self) -> Path:
        """Where the frozen and personal tensors are."""
        return self.path / BASE

    def base(self) -> Path:
        """The file of the frozen and personal tensors, verified.

        Raises:
            ContentError: it is not there, or not what the document names.
        """
        wanted = self.document.base
        if wanted is None:
            raise ContentMissingError(f"job {self.job_id} has neither frozen nor personal tensors, and no base")

        def verified() -> Path:
            try:
                if (found := ContentId.of_file(self.base_path).cid) != wanted.content:
                    raise ContentAlteredError(f"{self.base_path} is {found}, but the job names {wanted.content}")
            except FileNotFoundError:
                raise ContentMissingError(f"{self.base_path} is gone") from None
            except OSError as error:
                raise ContentError(f"{self.base_path} can't be read: {error.strerror}") from error
            return self.base_path

        return fetched_once(wanted.id, self.path / "temporary", verified)

    def model(self, round: int, cid: str) -> Path:
        """The vector that a round starts from, verified.

        Raises:
            ContentError: it is not there, or not what it was.
        """
        path = self._vector(Path("models", str(round)), cid, self.model_parameters)
        if round == 1:
            check_first_model(self.document, path)
        return path

    def past_model(self, round: int) -> Path:
        """The vector that an earlier round started from. Nothing says what it was, but its length.

        Raises:
            ContentError: it is not there, or of another length.
        """
        return self._sized(Path("models", str(round)), self.model_parameters)

    def put_model(self, round: int, source: Path) -> str:
        """Keeps a vector file as the one that the next round, `round`, starts from, and returns its content id."""
        cid = ContentId.of_file(source).cid
        path = self.path / "models" / str(round)
        with explained(f"write {path}"), replacing(path, aside=self.aside(".server")) as new:
            if cid == self.state.model:  # a distillation's stays the same: one file for all rounds
                new.unlink()
                os.link(self.model(round - 1, cid), new)
            else:
                shutil.copyfile(source, new)
        return cid

    def _sized(self, name: Path, parameters: int) -> Path:
        path = self.path / name
        try:
            length = path.stat().st_size
        except FileNotFoundError:
            raise ContentMissingError(f"{path} is gone") from None
        except OSError as error:
            raise ContentError(f"{path} can't be read: {error.strerror}") from error
        if length != 4 * parameters:
            raise ContentAlteredError(f"{path} has {length} bytes, expected {4 * parameters}")
        return path

    def _vector(self, name: Path, cid: str, parameters: int) -> Path:
        path = self._sized(name, parameters)
        try:
            if (found := ContentId.of_file(path).cid) != cid:
                raise ContentAlteredError(f"{path} is {found}, expected {cid}: look after the disk")
        except FileNotFoundError:
            raise ContentMissingError(f"{path} is gone") from None
        except OSError as error:
            raise ContentError(f"{path} can't be read: {error.strerror}") from error
        return path

    # Clients

    def enter(self, client: str, samples: int) -> None:
        """Has a client take part, with that many samples; again with another number, if it likes.

        Raises:
            ConfigurationError: the name or the number won't do.
        """
        check_name("client_id", client)
        if not 1 <= samples <= MAX_WEIGHT:
            raise ConfigurationError(f"{client} has {samples} samples, expected 1 to {MAX_WEIGHT}")
        self._write(f"clients/{client}.json", client, _Client(samples=samples).model_dump_json())
        (self.path / "gave-up" / client).unlink(missing_ok=True)

    def clients(self) -> dict[str, int]:
        """Who takes part, with the samples declared, in the order of their names."""
        names = sorted(path.stem for path in (self.path / "clients").glob("*.json"))
        return {name: samples for name in names if (samples := self.samples(name))}

    def samples(self, client: str) -> int:
        """How many a client has declared; 0 for one that does not take part."""
        path = self.path / "clients" / f"{client}.json"
        try:
            check_name("client_id", client)
            return _Client.model_validate_json(path.read_bytes()).samples
        except FileNotFoundError:
            return 0
        except (ConfigurationError, ValidationError, OSError) as error:
            if path not in self._strangers:
                self._strangers.add(path)
                _log.warning("%s is left alone: it is not a client's (%s)", path, error)
            return 0

    def note_handed_in(self, client: str) -> None:
        """Notes that a client has handed in an update, which is removed when nobody needs it any more."""
        path = self._handed_in(client)
        if not path.exists():
            path.touch()
            sync(path.parent)

    def has_handed_in(self, client: str) -> bool:
        """Whether a client has ever handed in an update."""
        return self._handed_in(client).exists()

    def _handed_in(self, client: str) -> Path:
        return self.path / "clients" / f"{client}.trained"

    def lock_file(self, client: str) -> Path:
        """What a client's program locks while it takes part."""
        return self.path / "clients" / f"{client}.lock"

    # Updates

    def updates(self, round: int, attempt: int) -> list[UpdateFile]:
        """What has been handed in, one a client, in the order of arrival."""
        found: dict[str, tuple[int, UpdateFile]] = {}
        try:
            entries = list(os.scandir(self._attempt("updates", round, attempt)))
        except FileNotFoundError:
            return []
        for entry in entries:
            if (update := UpdateFile.parse(entry.name)) is not None:
                arrived = entry.stat().st_mtime_ns, update
                found[update.client] = min(arrived, found.get(update.client, arrived), key=lambda one: one[0])
        return [update for _, update in sorted(found.values(), key=lambda one: (one[0], one[1].client))]

    def update(self, round: int, attempt: int, update: UpdateFile) -> Path:
        """The vector file of an update, verified.

        Raises:
            ContentError: it is not there, or not what it was.
        """
        return self._vector(Path("updates", f"{round}-{attempt}", update.name), update.cid, self.parameters)

    def update_of(self, client: str, round: int, attempt: int) -> UpdateFile | None:
        """What a client has handed in; what it handed in first, should there be several."""
        folder = self._attempt("updates", round, attempt)
        try:
            names = [name for name in os.listdir(folder) if name.startswith(f"{client}-")]
        except FileNotFoundError:
            return None
        own = [update for update in parsed(names) if update.client == client]
        if len(own) > 1:
            own.sort(key=lambda update: (folder / update.name).stat().st_mtime_ns)
        return own[0] if own else None

    def latest_of(self, client: str) -> tuple[int, int, UpdateFile] | None:
        """The round, the attempt and the update that a client handed in last, before the attempt that is open."""
        now = self.state.attempt
        for round, attempt in sorted(self._attempts("updates"), key=lambda one: -one[1]):
            if attempt < now and (update := self.update_of(client, round, attempt)) is not None:
                return round, attempt, update
        return None

    def check_weight(self, client: str, weight: int) -> None:
        """Makes sure that an update may weigh that much.

        Raises:
            ConfigurationError: more than the client declared, or nothing.
        """
        if not 1 <= weight <= (declared := self.samples(client)):
            raise ConfigurationError(f"the update of {client} weighs {weight}, expected 1 to {declared}, as declared")

    def update_file(self, round: int, attempt: int, update: UpdateFile) -> Path:
        """Where the vector of an update goes."""
        return self._attempt("updates", round, attempt) / update.name

    def upload_file(self, attempt: int, client: str, cid: str) -> Path:
        """Where a cluster's server gathers it."""
        return self.path / "uploads" / client / f"{attempt}-{cid}"

    def prune(self) -> None:
        """Removes updates that nobody needs any more; for the server alone. A distillation continues from each client's
        latest and the round before's."""
        state = self.state
        kept = set(state.previous) if self.document.distils else set()
        seen: set[str] = set()
        for round, attempt in sorted(self._attempts("updates"), key=lambda one: -one[1]):
            folder = self._attempt("updates", round, attempt)
            if attempt >= state.attempt:
                continue
            # What a void attempt collected was never part of a round.
            void = round == state.round or (round == state.round - 1 and attempt != state.previous_attempt)
            for path in folder.iterdir():
                update = UpdateFile.parse(path.name)
                if update is None:
                    continue
                latest = self.document.distils and not void and update.client not in seen
                if latest:
                    seen.add(update.client)
                if not latest and not (attempt == state.previous_attempt and path.name in kept):
                    path.unlink(missing_ok=True)
            _remove_if_empty(folder)
        for path in self.path.glob("uploads/*/*"):  # the folders stay: somebody may be sending just now
            number = path.name.partition("-")[0]
            if not number.isdecimal() or int(number) < state.attempt:
                path.unlink(missing_ok=True)

    def _attempt(self, kind: str, round: int, attempt: int) -> Path:
        return self.path / kind / f"{round}-{attempt}"

    def _attempts(self, kind: str) -> list[tuple[int, int]]:
        try:
            names = os.listdir(self.path / kind)
        except FileNotFoundError:
            return []
        found = (re.fullmatch(r"([1-9][0-9]{0,9})-([1-9][0-9]{0,9})", name) for name in names)
        return [(int(one[1]), int(one[2])) for one in found if one is not None]


class JobsFolder:
    """All jobs below a working directory. Nothing needs to be there yet.

    Args:
        folder: The working directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._jobs = self.folder / "res" / "jobs"
        self._opened: dict[str, JobFolder] = {}
        self._strangers: set[str] = set()
        self._over: set[str] = set()
        self._opening = threading.Lock()

    def ids(self) -> list[str]:
        """Oldest first. What is not a job is left alone, and said once."""
        try:
            entries = [entry for entry in os.scandir(self._jobs) if not entry.name.startswith(".") and entry.is_dir()]
        except FileNotFoundError:
            return []
        found = []
        for entry in entries:
            try:
                _ = self.open(entry.name).state
                found.append(((Path(entry.path) / "terms.json").stat().st_mtime_ns, entry.name))
            except (GalaxyError, OSError) as error:
                if entry.name not in self._strangers:
                    self._strangers.add(entry.name)
                    _log.warning("%s is left alone: %s", entry.path, error)
        return [name for _, name in sorted(found)]

    def running(self) -> list[str]:
        """The ids of the jobs that are not over, oldest first; without those that are given up."""
        found = [job_id for job_id in self.ids() if job_id not in self._over]
        self._over.update(job_id for job_id in found if self.open(job_id).state.phase in _OVER)
        return [job_id for job_id in found if job_id not in self._over and self.open(job_id).given_up is None]

    def open(self, job_id: str) -> JobFolder:
        """A job.

        Raises:
            ConfigurationError: that is not a job's id.
            ContentMissingError: there is no such job.
            JobDocumentError, ContentError: what is there is not a job.
        """
        path = self._jobs / check_name("job_id", job_id)
        if not path.is_dir():
            self._opened.pop(job_id, None)
            raise ContentMissingError(f"there is no job {job_id} in {self._jobs}")
        with self._opening:  # once, for the threads of several clients
            if job_id not in self._opened:
                self._opened[job_id] = JobFolder(path)
            return self._opened[job_id]

    def submit(self, request: JobRequest) -> str:
        """Publishes a job, as a whole, and gives its id.

        Raises:
            ConfigurationError: the id is taken, or terms and rule don't fit together.
            JobDocumentError, VectorError: the request's parts don't belong together.
            ContentError: the folder can't be written.
        """
        path = self._jobs / check_name("job_id", request.job_id)
        document = request.document
        _check(request)
        try:
            self._jobs.mkdir(parents=True, exist_ok=True)
            new = self._jobs / f".new-{secrets.token_hex(8)}"
            try:
                for folder in ("models", "clients", "updates"):
                    (new / folder).mkdir(parents=True)
                model = new / "models" / "1"
                write_vector(model, first_model(document, request.initial))
                (new / "job.json").write_bytes(document.to_bytes())
                (new / "terms.json").write_bytes(_TERMS.dump_json(request.terms))
                if request.source is not None:
                    (new / "model.py").write_bytes(request.source)
                if request.base is not None:
                    shutil.copyfile(request.base.path, new / BASE)
                    (new / BASE).chmod(0o444)
                state = State(model=ContentId.of_file(model).cid)
                (new / "state.json").write_text(state.model_dump_json(), encoding="utf-8")
                for written in (*new.rglob("*"), new):
                    sync(written)
                os.rename(new, path)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            sync(self._jobs)
        except OSError as error:
            if path.exists():
                raise ConfigurationError(
                    f"there is a job {request.job_id} in {self._jobs}: give it another id"
                ) from None
            raise ContentError(f"the job can't be written to {self._jobs}: {error.strerror}") from error
        return request.job_id


def _most(document: JobDocument, terms: Terms) -> int:
    rule = RULES[document.rule.name]
    return rule.max_updates if terms.max_clients is None else min(terms.max_clients, rule.max_updates)


def _check(request: JobRequest) -> None:
    """Makes sure that a job's parts belong together before anybody sees it."""
    document, terms = request.document, request.terms
    if document.seal is not None:
        raise JobDocumentError(
            f"seal is {document.seal!r}: without a ledger there is no place where members find the keys, and who reads "
            "the folder or asks the server is its operator's to say; leave it out, or submit the job to a ledger"
        )
    if document.reveal != "immediate":
        raise JobDocumentError(
            f"reveal is {document.reveal!r}: without a ledger nothing is committed to; use 'immediate'"
        )
    named = document.model.source if isinstance(document.model, SourceModel) else None
    given = None if request.source is None else source_id(request.source)
    if named != given:
        raise JobDocumentError(f"the job names the source {named}, but {given} was given")
    if document.base != (None if request.base is None else request.base.described):
        raise JobDocumentError("the base that was given is not the one that the job names: prepare the job again")
    most, one = _most(document, terms), np.zeros(1, np.int32)
    model = np.zeros(document.lanes, np.int32)
    try:
        if terms.min_clients > most:
            raise AggregationError(f"it takes at most {most} updates")
        RULES[document.rule.name].aggregate(
            document.rule.rule_word, model, [one] * terms.min_clients, [1] * terms.min_clients
        )
    except AggregationError as error:
        raise ConfigurationError(
            f"min_clients is {terms.min_clients}, which the rule {document.rule.name} can't aggregate: {error}"
        ) from error


_LONGEST_REASON = 1000


def _one_line(reason: str) -> str:
    """A reason, which may be a stranger's, as it can be shown on a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in reason[:_LONGEST_REASON])


def _text(path: Path) -> str | None:
    try:
        return _one_line(path.read_bytes()[: 4 * _LONGEST_REASON].decode("utf-8", "replace"))
    except OSError:  # there is none, or it is not a file of ours
        return None


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # somebody's file is in it
        folder.rmdir()
