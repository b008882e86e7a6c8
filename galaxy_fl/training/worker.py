"""The process that trains, seen from the one that asks it to.

A worker holds one client's data and model and nothing else: no key, no password, no connection but the one
to its parent. It may run a stranger's code, so whatever it says is checked. Messages are JSON; models
pass as vector files. Importing this module imports neither torch nor the trainer.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_fl import exceptions
from galaxy_fl.exceptions import TrainingError
from galaxy_fl.training import forkserver
from galaxy_fl.training.results import Evaluation, TrainResult
from galaxy_fl.training.specification import TrainSpecification
from galaxy_fl.vectors.layout import Layout

__all__ = ["Prepared", "Worker", "WorkerSettings"]

LARGEST_ANSWER = 16 * 2**20
"""Bytes; only a layout of very many tensors comes near."""
LAST_BREATH = 2.0
"""Seconds in which a worker whose connection broke has to be dead."""

Strict = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
Answered = TypeVar("Answered", bound=BaseModel)


class WorkerSettings(BaseModel):
    """What one client trains for one job. The first three are the job document's, the others local."""

    model_config = Strict

    model: dict[str, Any]
    layout: list[dict[str, Any]]
    train: TrainSpecification
    data: str
    """A name for `galaxy_fl.data.datasets.load`; training takes its shard of "train", evaluation "test"."""
    shard: str = "1/1"
    partition: str = "iid"
    partition_seed: int = 0
    data_root: str | None = None
    device: str = "cpu"
    threads: int = Field(default=1, ge=1)
    """More than one makes large models faster and lets the last bits depend on their number."""


class Prepared(BaseModel):
    """What a worker found when it loaded its data."""

    model_config = Strict

    samples: int = Field(ge=1)


class _Described(BaseModel):
    model_config = Strict

    layout: list[dict[str, Any]]


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
        self._child = forkserver.fork("galaxy_fl.training.serving:serve")

    @property
    def pid(self) -> int:
        return self._child.pid

    def describe(self, model: dict[str, Any], train: TrainSpecification, vector: Path) -> Layout:
        """Write the initial vector of a job document's `model` to `vector`; return its layout.

        Raises JobDocumentError if there is no such model, optimizer or loss.
        """
        answer = self._ask(
            "describe", _Described, model=model, train=train.model_dump(mode="json"), vector=str(vector.absolute())
        )
        return Layout.from_json(answer.layout)

    def prepare(self, settings: WorkerSettings) -> Prepared:
        """Load data and model, which stay in the worker. Comes before `train` and `evaluate`."""
        return self._ask("prepare", Prepared, settings=settings.model_dump(mode="json"))

    def train(self, model_vector: Path, trained_vector: Path, round_seed: int) -> TrainResult:
        """Train from the vector in one file and write the trained one to another.

        The same vector, settings and seed give the same bytes, on one thread of one kind of processor.
        """
        return self._ask(
            "train",
            TrainResult,
            model_vector=str(model_vector.absolute()),
            trained_vector=str(trained_vector.absolute()),
            round_seed=round_seed,
        )

    def evaluate(self, vector: Path) -> Evaluation:
        """Loss and accuracy of a vector on the data set's test split."""
        return self._ask("evaluate", Evaluation, vector=str(vector.absolute()))

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
        message = json.dumps({"request": request, "arguments": arguments}).encode()
        try:
            self._child.connection.send_bytes(message)
            answer = self._child.connection.recv_bytes(LARGEST_ANSWER)
        except (EOFError, OSError) as error:
            raise TrainingError(f"{request}: {self._how_it_ended()}") from error
        if answer.startswith(b'{"error"'):
            raise _raised_there(self._read(request, _Failure, answer))
        return self._read(request, expected, answer)

    def _read(self, request: str, expected: type[Answered], answer: bytes) -> Answered:
        try:
            return expected.model_validate_json(answer)
        except ValidationError as error:
            self.close()
            raise TrainingError(
                f"{request}: the worker answered what is no {expected.__name__}, and was closed: {error}"
            ) from error

    def _how_it_ended(self) -> str:
        code = self._child.wait(LAST_BREATH)
        if code is None:
            self.close()
            return "the worker sent what is no message, and was closed"
        if code >= 0:
            return f"the worker ended by itself, with exit code {code}: does the model or data set call exit?"
        name = signal.Signals(-code).name
        cause = ": out of memory, or killed by hand" if name == "SIGKILL" else ""
        return f"the worker was killed by {name}{cause}"


def _raised_there(failure: _Failure) -> exceptions.GalaxyError:
    known = failure.error if failure.error in exceptions.__all__ else "TrainingError"
    error: exceptions.GalaxyError = getattr(exceptions, known)(failure.message)
    return error
