"""The process that trains, seen from the one that asks it to.

A worker holds one client's data and model and nothing else: no key, no password, no connection but the one
to its parent. It may run a stranger's code, so whatever it says is checked. Messages are JSON; models
pass as vector files; data that the parent has in memory pass as safetensors, when the worker asks for them.
Importing this module imports neither torch nor the trainer.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_fl import exceptions
from galaxy_fl.exceptions import DataError, TrainingError
from galaxy_fl.jobs.document import source_text
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.local_tensors import LocalTensor
from galaxy_fl.jobs.model_description import ModelDescription
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.results import Evaluation, TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.vectors.layout import Layout
from galaxy_fl.worker import forkserver
from galaxy_fl.worker.served_data import LARGEST_MESSAGE, ServedData

__all__ = ["Prepared", "Worker", "WorkerSettings"]

LAST_BREATH = 2.0
"""Seconds in which a worker whose connection broke has to be dead."""

Strict = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
Answered = TypeVar("Answered", bound=BaseModel)


class WorkerSettings(BaseModel):
    """What one client trains for one job. The first are the job document's, from `data` on they are local."""

    model_config = Strict

    model: dict[str, Any]
    source: str | None = None
    """Of a model that brings its source: the file's text, which is checked against the id in `model`, and runs."""
    layout: list[dict[str, Any]]
    output: Ending = "logits"
    """What the model ends in."""
    local: list[LocalTensor] = []
    frozen: list[str] = []
    train: TrainSpecification
    distillation_alpha: Annotated[float, Field(ge=0)] | None = None
    distillation_reduction: Literal["batchmean", "mean"] = "batchmean"
    trains: bool = True
    """Whether it trains, and not only evaluates: then a first step is tried on a copy."""
    data: str | None
    """A name for `galaxy_fl.data.datasets.load`; training takes its shard of "train", evaluation "test". None where
    data are served. Shard and partition are of named data only."""
    shard: str = "1/1"
    partition: str = "iid"
    partition_seed: int = 0
    data_root: str | None = None
    device: str = "cpu"
    """Of torch: cpu, cuda, mps, …"""
    threads: int = Field(default=1, ge=1)
    """More than one makes large models faster and lets the last bits depend on their number."""


class Prepared(BaseModel):
    """What a worker found when it loaded its data."""

    model_config = Strict

    samples: int = Field(ge=1)
    notes: list[Annotated[str, Field(max_length=1000)]] = []
    """What the operator should know of how it trains."""


class _Described(BaseModel):
    model_config = Strict

    layout: list[dict[str, Any]]
    local: list[LocalTensor]
    frozen: list[str]


class _Ends(BaseModel):
    model_config = Strict

    ending: Ending


class _Done(BaseModel):
    model_config = Strict


class _Failure(BaseModel):
    model_config = Strict

    error: Annotated[str, Field(max_length=100)]
    message: Annotated[str, Field(max_length=100_000)]


class Worker:
    """A worker process, forked in milliseconds. Close it, or use it as a context manager.

    Each request raises the GalaxyError that it raised in the worker (DataError, DivergedError, …), and
    TrainingError for any other exception there and for a worker that died or answered nonsense. One request
    at a time: a job has a worker of its own.
    """

    def __init__(self) -> None:
        self._child = forkserver.fork("galaxy_fl.worker.serving:serve")
        self._served: ServedData | None = None

    @property
    def pid(self) -> int:
        return self._child.pid

    def describe(
        self,
        model: dict[str, Any],
        train: TrainSpecification,
        vector: Path,
        source: bytes | None = None,
        fraction_bits: Mapping[str, int] | None = None,
    ) -> ModelDescription:
        """Write the initial vector of a job document's `model` to `vector`; return what the document says of it.

        `source` is the file that a model brings along. It runs in the worker. `fraction_bits` are those that do not
        follow from the initial values: see `Layout.with_bits`.

        Raises JobDocumentError if there is no such model, optimizer, scheduler or loss, the source has none, or
        something about the model can't travel, and TrainingError where running the source fails.
        """
        text = None if source is None else source_text(source)
        answer = self._ask(
            "describe",
            _Described,
            model=model,
            train=train.model_dump(mode="json"),
            vector=str(vector.absolute()),
            source=text,
            fraction_bits=dict(fraction_bits or {}),
        )
        return ModelDescription(Layout.from_json(answer.layout), tuple(answer.local), tuple(answer.frozen))

    def ending(self, model: dict[str, Any], train: TrainSpecification, source: bytes, distils: bool) -> Ending:
        """Tell what a model that brings its source ends in, by its structure, for a job that trains so.

        Raises JobDocumentError where that matters and can't be told, and what `describe` raises.
        """
        arguments = {"model": model, "train": train.model_dump(mode="json"), "source": source_text(source)}
        return self._ask("ending", _Ends, **arguments, distils=distils).ending

    def prepare(self, settings: WorkerSettings, served: ServedData | None = None) -> Prepared:
        """Load data and model, which stay in the worker, and try a first training step.

        Comes before `train` and `evaluate`.

        `served` are data of this process, in place of `settings.data`. They are read, and the user's accuracy function
        is called, in the threads that call `prepare`, `train` and `evaluate`, one at a time for all workers.
        """
        if (settings.data is None) == (served is None):
            raise DataError("a worker takes either data by name or data that are served, one of the two")
        self._served = served
        offer = None if served is None else served.offer.model_dump()
        return self._ask("prepare", Prepared, settings=settings.model_dump(mode="json"), offer=offer)

    def train(self, task: TrainTask) -> TrainResult:
        """Train from the vector in one file and write the trained one to another, whole or not at all.

        The same task, settings and data give the same bytes, on one thread of one kind of processor.
        """
        return self._ask(
            "train",
            TrainResult,
            start=str(task.start.absolute()),
            trained=str(task.trained.absolute()),
            round=task.round,
            seed=task.seed,
            teachers=[str(teacher.absolute()) for teacher in task.teachers],
            local=None if task.local is None else str(task.local.absolute()),
            local_after=None if task.local_after is None else str(task.local_after.absolute()),
        )

    def evaluate(self, vector: Path) -> Evaluation:
        """Loss and accuracy of a vector on the data set's test split, or the test data that are served."""
        return self._ask("evaluate", Evaluation, vector=str(vector.absolute()))

    def export(self, document: bytes, vector: Path, destination: Path) -> None:
        """Write the whole state_dict of a job's model with a vector's values: the same bytes whoever writes it.

        `document` is the job's. `destination` is for `torch.load(…, weights_only=True)`; beside it, with `.safetensors`
        added to its name, are the same tensors in that format. Runs none of the model's code, so a worker that has not
        been prepared writes what no such code can have spoilt.
        """
        files = {"vector": str(vector.absolute()), "destination": str(destination.absolute())}
        self._ask("export", _Done, document=document.decode(), **files)

    def close(self) -> None:
        """End the worker, whatever it is doing. Closing twice does nothing."""
        self._child.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: str, expected: type[Answered], **arguments: Any) -> Answered:
        answer = self._say(request, json.dumps({"request": request, "arguments": arguments}).encode())
        failed: DataError | None = None
        while self._served is not None and self._served.asked_by(answer):
            try:
                reply = self._served.answer(answer)
            except DataError as error:  # the worker then gives up, and can be asked for something else
                failed, reply = error, b""
            except BaseException:  # what it said makes no sense, or an interrupt cut the conversation off
                self.close()
                raise
            answer = self._say(request, reply)
        if failed is not None:
            raise failed
        if answer.startswith(b'{"error"'):
            raise _raised_there(self._read(request, _Failure, answer))
        return self._read(request, expected, answer)

    def _say(self, request: str, message: bytes) -> bytes:
        try:
            self._child.connection.send_bytes(message)
            return self._child.connection.recv_bytes(LARGEST_MESSAGE)
        except (EOFError, OSError) as error:
            raise TrainingError(f"{request}: {self._how_it_ended()}") from error

    def _read(self, request: str, expected: type[Answered], answer: bytes) -> Answered:
        try:
            return expected.model_validate_json(answer)
        except ValidationError as error:
            self.close()
            raise TrainingError(
                f"{request}: the worker answered what is no {expected.__name__}, and was closed: {error}"
            ) from error

    def _how_it_ended(self) -> str:
        if self._child.connection.closed:
            return "the worker was closed"
        code = self._child.wait(LAST_BREATH)
        if code is None:
            self.close()
            return "the worker sent what is no message, and was closed"
        if code >= 0:
            return f"the worker ended by itself, with exit code {code}: does the model or data set call exit?"
        named = {each.value: each.name for each in signal.Signals}  # real-time signals have no name
        name = named.get(-code, f"signal {-code}")
        cause = ": out of memory, or killed by hand" if name == "SIGKILL" else ""
        return f"the worker was killed by {name}{cause}"


def _raised_there(failure: _Failure) -> exceptions.GalaxyError:
    known = failure.error if failure.error in exceptions.__all__ else "TrainingError"
    error: exceptions.GalaxyError = getattr(exceptions, known)(failure.message)
    return error
