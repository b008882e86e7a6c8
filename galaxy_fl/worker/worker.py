"""The process that trains, seen from the one that asks it to.

A worker holds the model of one job and the data of some of its clients, all of one operator, and nothing else: no key,
no password, no connection but the one to its parent. It may run a stranger's code, so whatever it sends is checked. The
messages are those of `messages.py`; models pass as vector files; data that the parent has in memory pass as
safetensors, when the worker asks for them. Importing this module imports neither torch nor the trainer.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar, assert_never

from pydantic import ValidationError

from galaxy_fl import exceptions
from galaxy_fl.exceptions import DataError, TrainingError
from galaxy_fl.jobs.document import JobDocument, Model, source_text
from galaxy_fl.jobs.model_description import ModelDescription
from galaxy_fl.jobs.parts import ALL_SHARED, Parts
from galaxy_fl.jobs.privacy import Privacy
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.results import Evaluation, TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.validation import explain
from galaxy_fl.vectors.layout import Layout
from galaxy_fl.worker import forkserver
from galaxy_fl.worker.messages import (
    LARGEST_MESSAGE,
    Answer,
    Describe,
    Described,
    Done,
    Evaluate,
    Evaluated,
    Export,
    Failed,
    Fetch,
    Load,
    Prepare,
    Prepared,
    Question,
    Refused,
    Request,
    Samples,
    Score,
    Scored,
    Train,
    Trained,
    WorkerSettings,
    parse_said,
    to_bytes,
)
from galaxy_fl.worker.served_data import ServedData

__all__ = ["Worker"]

MOST_SESSIONS = 1_024
"""Sessions that a process has at a time, the ones used last; each is little more than the indices of its samples."""
LAST_BREATH = 2.0
"""Seconds in which a worker whose connection broke has to be dead."""

Answered = TypeVar("Answered", Described, Prepared, Trained, Evaluated, Done)


class Worker:
    """A worker process, forked in milliseconds. Close it, or use it as a context manager.

    Each request raises the GalaxyError that it raised in the worker (DataError, DivergedError, …), and
    TrainingError for any other exception there and for a worker that died or answered nonsense. One request
    at a time. Clients share workers through a `galaxy_fl.worker.pool.WorkerPool`, which names their sessions.
    """

    def __init__(self) -> None:
        self._child = forkserver.fork("galaxy_fl.worker.serving:serve")
        self._job: tuple[JobDocument, bytes | None, Path | None] | None = None
        self._sessions: dict[int, ServedData | None] = {}
        """Those that the process has, the one asked for last at the end, with the data that each is served."""
        self._forgotten: set[int] = set()

    @property
    def pid(self) -> int:
        """Its process's id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked for something."""
        try:
            return not self._child.connection.closed and self._child.wait(0) is None
        except TrainingError:  # the fork server has gone, and all that it forked with it
            return False

    def has(self, session: int) -> bool:
        """Tell whether it has a session, and so needs not be prepared for it."""
        return session in self._sessions

    def forget(self, session: int) -> None:
        """Have it forget a session, when it is next prepared for another."""
        if session in self._sessions:
            del self._sessions[session]
            self._forgotten.add(session)

    def describe(
        self,
        model: Model,
        train: TrainSpecification,
        vector: Path,
        source: bytes | None = None,
        fraction_bits: Mapping[str, int] | None = None,
        distils: bool | None = None,
        privacy: Privacy | None = None,
        parts: Parts = ALL_SHARED,
        base: Path | None = None,
        start: Path | None = None,
    ) -> ModelDescription:
        """Write the initial vector of a job's `model` to `vector`; return what its document says of the model.

        Args:
            model: As the document will have it.
            train: How it will be trained.
            vector: The file to write.
            source: The file that a model brings along. It runs in the worker.
            fraction_bits: Those that do not follow from the initial values: see `Layout.with_bits`.
            distils: Whether the job distils, to tell by its structure what the model ends in; None not to.
            privacy: The job's, which the model has to suit.
            parts: Which tensors are shared, personal and frozen.
            base: The file to write frozen and personal tensors to, if there are any; None for nowhere.
            start: A safetensors file that the job begins with; None for the model's own tensors.

        Raises:
            JobDocumentError: there is no such model, optimizer, scheduler or loss, the source has none, or something
                about the model can't travel, or what it ends in matters and can't be told.
            TrainingError: running the source fails.
        """
        text = None if source is None else source_text(source)
        bits = dict(fraction_bits or {})
        request = Describe(
            model=model,
            train=train,
            names_loss="loss" in train.model_fields_set,
            vector=vector,
            source=text,
            fraction_bits=bits,
            distils=distils,
            parts=parts,
            base=base,
            privacy=privacy,
            start=None if start is None else start.absolute(),
        )
        answer = self._ask(request, Described)
        layout = Layout.from_json(answer.layout)
        frozen, personal, buffers = tuple(answer.frozen), tuple(answer.personal), tuple(answer.buffers)
        return ModelDescription(layout, tuple(answer.local), frozen, personal, answer.ending, answer.loss, buffers)

    def prepare(
        self,
        document: JobDocument,
        settings: WorkerSettings,
        source: bytes | None = None,
        served: ServedData | None = None,
        base: Path | None = None,
        *,
        session: int = 0,
        again: bool = False,
    ) -> Prepared:
        """Load a job's model and a client's data, which stay in the worker, and try a first training step.

        Comes before `train` and `evaluate` of the same session. Another job takes the place of the one before, with all
        of its sessions.

        Args:
            document: The job's.
            settings: The participant's own.
            source: The file that the job's model brings along. It runs in the worker.
            served: Data of this process, where `settings.data` names none. They are read, and the user's accuracy
                function is called, in the threads that call `prepare`, `train` and `evaluate`, one at a time for all
                workers.
            base: The file of the job's frozen and personal tensors, where it has some.
            session: What the client is called here.
            again: Whether the same was prepared before, here or in another worker: then no step is tried.

        Raises:
            JobDocumentError: the document does not describe its model.
            DataError, TrainingError: data and model do not fit each other.
        """
        if (settings.data is None) == (served is None):
            raise DataError("a worker takes either data by name or data that are served, one of the two")
        if self._job != (document, source, base):
            self._job = None
            self._sessions.clear()
            self._forgotten.clear()
            text = None if source is None else source_text(source)
            self._ask(Load(document=document, source=text, base=base), Done)
            self._job = document, source, base
        self.forget(session)
        for oldest in list(self._sessions)[: len(self._sessions) - MOST_SESSIONS + 1]:
            self.forget(oldest)
        offer = None if served is None else served.offer
        forget = sorted(self._forgotten)
        request = Prepare(session=session, settings=settings, offer=offer, again=again, forget=forget)
        prepared = self._ask(request, Prepared, served)
        if offer is not None and prepared.samples != offer.train.samples:
            self.close()
            raise TrainingError(
                f"prepare: the worker counts {prepared.samples} samples, and there are {offer.train.samples}: it was "
                "closed; the model's code lies"
            )
        self._forgotten.clear()
        self._sessions[session] = served
        return prepared

    def train(self, task: TrainTask, session: int = 0) -> TrainResult:
        """Train from the vector in one file and write the trained one to another, whole or not at all.

        The same task, settings and data give the same bytes, on one thread of one kind of processor.
        """
        return self._ask(Train(session=session, task=task.absolute()), Trained, self._used(session)).result

    def evaluate(self, vector: Path, own: Path | None = None, session: int = 0) -> Evaluation:
        """Measure a vector's loss and accuracy on the data set's test split, or the test data that are served.

        Args:
            vector: The vector's file.
            own: That of the client's own tensors, whose personal ones the model has; None for those of the job.
            session: What the client is called here.
        """
        request = Evaluate(session=session, vector=vector, own=own)
        return self._ask(request, Evaluated, self._used(session)).evaluation

    def _used(self, session: int) -> ServedData | None:
        """Return the data that a session is served, and note that it is in use."""
        if session not in self._sessions:
            return None  # the worker says that it has to be prepared first
        self._sessions[session] = self._sessions.pop(session)
        return self._sessions[session]

    def export(
        self,
        document: JobDocument,
        vector: Path,
        destination: Path,
        base: Path | None = None,
        own: Path | None = None,
    ) -> None:
        """Write the whole state_dict of a job's model with a vector's values: the same bytes whoever writes it.

        `destination` is for `torch.load(…, weights_only=True)`; beside it, with `.safetensors` added to its name, are
        the same tensors in that format. Runs none of the model's code, so a worker that has not been prepared writes
        what no such code can have spoilt. `base` is the file of the job's frozen and personal tensors, where it has
        some, and `own` that of a client's own, whose personal ones are written instead.
        """
        request = Export(document=document, vector=vector, destination=destination, base=base, own=own)
        self._ask(request, Done)

    def close(self) -> None:
        """End the worker, whatever it is doing. Closing twice does nothing."""
        self._child.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Request, expected: type[Answered], served: ServedData | None = None) -> Answered:
        failed: DataError | None = None
        try:
            self._send(request.kind, to_bytes(request))
            while isinstance(said := self._receive(request.kind), Fetch | Score):
                try:
                    self._reply(request.kind, said, served)
                except DataError as error:  # the worker then gives up, and can be asked for something else
                    failed = error
                    self._send(request.kind, to_bytes(Refused()))
            if not isinstance(said, expected | Failed):
                raise TrainingError(
                    f"{request.kind}: the worker answered {said.kind!r}, which is not an answer to that, and was closed"
                )
        except BaseException:  # nonsense, or an interrupt: what came next on the connection would answer nothing
            self.close()
            raise
        if failed is not None:
            raise failed
        if isinstance(said, Failed):
            raise _raised_there(said)
        return said

    def _reply(self, request: str, question: Question, served: ServedData | None) -> None:
        if served is None:
            raise TrainingError(f"{request}: the worker asked for data, and none are served")
        match question:
            case Fetch():
                form, samples = served.fetch(question)
                self._send(request, to_bytes(Samples(form=form)))
                self._send(request, samples)
            case Score():
                score = served.score(self._receive_bytes(request))
                self._send(request, to_bytes(Scored(score=score)))
            case _:
                assert_never(question)

    def _send(self, request: str, content: bytes) -> None:
        try:
            self._child.connection.send_bytes(content)
        except OSError as error:
            raise TrainingError(f"{request}: {self._how_it_ended()}") from error

    def _receive_bytes(self, request: str) -> bytes:
        try:
            return self._child.connection.recv_bytes(LARGEST_MESSAGE)
        except (EOFError, OSError) as error:
            raise TrainingError(f"{request}: {self._how_it_ended()}") from error

    def _receive(self, request: str) -> Answer | Question:
        try:
            return parse_said(self._receive_bytes(request))
        except ValidationError as error:
            raise TrainingError(
                f"{request}: the worker sent a message that is none of its, and was closed: {explain(error)[:1000]}"
            ) from error

    def _how_it_ended(self) -> str:
        if self._child.connection.closed:
            return "the worker was closed"
        code = self._child.wait(LAST_BREATH)
        if code is None:
            self.close()
            return "the worker sent something that is not a message, and was closed"
        if code >= 0:
            return f"the worker ended by itself, with exit code {code}: does the model or data set call exit?"
        named = {each.value: each.name for each in signal.Signals}  # real-time signals have no name
        name = named.get(-code, f"signal {-code}")
        cause = ": out of memory, or killed by hand" if name == "SIGKILL" else ""
        return f"the worker was killed by {name}{cause}"


def _raised_there(failure: Failed) -> exceptions.GalaxyError:
    known = failure.error if failure.error in exceptions.__all__ else "TrainingError"
    error: exceptions.GalaxyError = getattr(exceptions, known)(failure.message)
    return error
