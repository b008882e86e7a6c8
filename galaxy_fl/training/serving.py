"""The process that trains, seen from within: answers the requests of `galaxy_fl.training.worker`."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from galaxy_fl import exceptions
from galaxy_fl.data.datasets import load
from galaxy_fl.data.shards import load_shard
from galaxy_fl.exceptions import ConfigurationError, DataError, JobDocumentError, TrainingError
from galaxy_fl.training.distillation import Lessons
from galaxy_fl.training.fetched_data import FetchedData, Parent
from galaxy_fl.training.losses import build_loss
from galaxy_fl.training.models import build_model
from galaxy_fl.training.optimizers import build_optimizer
from galaxy_fl.training.rehearsal import rehearse
from galaxy_fl.training.schedulers import Schedule
from galaxy_fl.training.served_data import Offer
from galaxy_fl.training.specification import TrainSpecification
from galaxy_fl.training.structure import decide_ending
from galaxy_fl.training.trainer import evaluate, train
from galaxy_fl.training.worker import Prepared, WorkerSettings
from galaxy_fl.vectors.fixed_point import decode, encode, read_vector, write_vector
from galaxy_fl.vectors.layout import Layout

__all__ = ["serve"]

Answer = dict[str, Any]


def serve(connection: Connection) -> None:
    """Answer until the parent closes its end. An interrupt at the terminal is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.use_deterministic_algorithms(True, warn_only=True)
    requests: dict[str, Callable[..., Answer]] = {"describe": describe, "ending": ending}
    parent = Parent(connection)
    while True:
        try:
            asked = json.loads(connection.recv_bytes())
        except (EOFError, ConnectionError):
            return
        try:
            if asked["request"] == "prepare":
                session = Session(asked["arguments"], parent)
                requests |= {"train": session.train, "evaluate": session.evaluate, "export": session.export}
                answer: Answer = Prepared(samples=session.samples, notes=session.notes).model_dump()
            elif asked["request"] in requests:
                answer = requests[asked["request"]](**asked["arguments"])
            else:
                raise TrainingError(f"request {asked['request']!r}: the worker has to be prepared first")
        except Exception as error:
            answer = failure(error)
        with suppress(EOFError, ConnectionError):  # nobody waits for it any more
            parent.settle()
            connection.send_bytes(json.dumps(answer).encode())


def describe(model: dict[str, Any], train: dict[str, Any], vector: str, source: str | None) -> Answer:
    """The layout of a job document's model, which can be trained so; its initial vector goes to the file `vector`."""
    specification = TrainSpecification.model_validate_json(json.dumps(train))
    built = build_model(model, specification.seed, source)
    try:
        build_loss(specification)
        Schedule(build_optimizer(built.parameters(), specification), specification)
    except TrainingError as error:
        raise JobDocumentError(f"train: {error}") from error
    layout = Layout.of(built)
    write_vector(vector, encode(built.state_dict(), layout))
    return {"layout": layout.to_json()}


def ending(model: dict[str, Any], train: dict[str, Any], source: str, distils: bool) -> Answer:
    """What a document's model, which brings its source, ends in."""
    specification = TrainSpecification.model_validate_json(json.dumps(train))
    return {"ending": decide_ending(build_model(model, specification.seed, source), specification.loss, distils)}


class Session:
    """One client's data and model for one job, kept from round to round."""

    def __init__(self, prepare: dict[str, Any], parent: Parent) -> None:
        self._settings = settings = WorkerSettings.model_validate_json(json.dumps(prepare["settings"]))
        offer = None if prepare["offer"] is None else Offer.model_validate(prepare["offer"])
        torch.set_num_threads(settings.threads)
        _check_device(settings.device)
        self._root = None if settings.data_root is None else Path(settings.data_root)
        self._layout = Layout.from_json(settings.layout)
        self._model = build_model(settings.model, settings.train.seed, settings.source)
        self._check_layout()
        self._data: Dataset[Any]
        self._test: Dataset[Any] | None = None
        if settings.data is not None:
            self._data = load_shard(
                settings.data, "train", settings.shard, settings.partition, settings.partition_seed, self._root
            )
        elif offer is not None:
            self._data = FetchedData(parent, "train", offer.train)
            self._test = None if offer.test is None else FetchedData(parent, "test", offer.test)
        self._score = parent.score if offer is not None and offer.scores else None
        # Whether the data fit the model is better known before anybody relies on this client.
        first = Subset(self._data, [0])
        evaluate(self._model, first, settings.train, settings.device, ending=settings.output)
        self._ask_teachers([self._model.state_dict], first)
        self.notes = self._rehearse() if settings.trains else []

    def _rehearse(self) -> list[str]:
        settings = self._settings
        another = build_model(settings.model, settings.train.seed, settings.source)

        def ask(data: Dataset[Any]) -> Lessons | None:
            return self._ask_teachers([self._model.state_dict], data)

        return rehearse(another, self._data, settings.train, settings.device, settings.output, ask)

    @property
    def samples(self) -> int:
        return len(self._data)  # type: ignore[arg-type]  # torch's Dataset declares no __len__

    def train(self, start: str, trained: str, round: int, seed: int, teachers: list[str]) -> Answer:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # data may augment samples at random, for teachers too
            lessons = self._ask_teachers([partial(self._state, teacher) for teacher in teachers], self._data)
        model, device = self._load(start), self._settings.device
        result = train(
            model,
            self._data,
            self._settings.train,
            seed,
            device,
            round=round,
            lessons=lessons,
            ending=self._settings.output,
        )
        with _replaced(Path(trained)) as new:  # it may be the file of the start
            write_vector(new, encode(model.state_dict(), self._layout))
        return result.model_dump()

    def evaluate(self, vector: str) -> Answer:
        if self._test is None:
            if self._settings.data is None:
                raise DataError("there are no test data to evaluate a model on: give some, as test_data")
            self._test = load(self._settings.data, "test", self._root)
        model = self._load(vector)
        settings = self._settings
        return evaluate(model, self._test, settings.train, settings.device, self._score, settings.output).model_dump()

    def export(self, vector: str, destination: str) -> Answer:
        state = self._load(vector).state_dict()
        for name, value in state.items():
            if isinstance(value, Tensor):
                # A storage for each: safetensors has no tensors that share one.
                state[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        with _replaced(Path(f"{destination}.safetensors")) as new:
            save_file({name: value for name, value in state.items() if isinstance(value, Tensor)}, new)
        with _replaced(Path(destination)) as new:
            torch.save(state, new)
        return {}

    def _state(self, path: str) -> dict[str, Tensor]:
        return decode(read_vector(path, self._layout.parameters), self._layout)

    def _load(self, path: str) -> nn.Module:
        # Not strict, because integer buffers are not in a vector: they stay as they are.
        self._model.load_state_dict(self._state(path), strict=False)
        return self._model

    def _ask_teachers(self, teachers: list[Callable[[], dict[str, Tensor]]], data: Dataset[Any]) -> Lessons | None:
        settings, alpha = self._settings, self._settings.distillation_alpha
        if alpha is None:
            return None
        return Lessons.ask(
            self._model, teachers, data, alpha, settings.distillation_reduction, settings.device, settings.output
        )

    def _check_layout(self) -> None:
        expected = [(tensor.name, tensor.shape) for tensor in Layout.of(self._model).tensors]
        given = [(tensor.name, tensor.shape) for tensor in self._layout.tensors]
        if expected != given:
            wrong = next((pair for pair in given if pair not in expected), f"{len(given)} tensors")
            raise JobDocumentError(
                f"the job's layout is not that of its model: it has {wrong}, the model has {len(expected)} "
                f"tensors: {', '.join(f'{name} {shape}' for name, shape in expected[:20])}"
            )


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # AssertionError: torch without CUDA
        raise ConfigurationError(
            f"device {device!r} can't be used: {str(error).splitlines()[0]}; this machine has at least 'cpu'"
        ) from error


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A file to write, which then takes the place of `path`: nobody ever sees half of one."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield new
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def failure(error: Exception) -> Answer:
    """What the parent is told of an error: the nearest class that it knows, and the message."""
    for kind in type(error).__mro__:
        if kind.__name__ in exceptions.__all__:
            return {"error": kind.__name__, "message": str(error)}
    frame = traceback.extract_tb(error.__traceback__)[-1]
    last = traceback.format_exception_only(error)[-1].strip()
    return {"error": "TrainingError", "message": f"{last} ({frame.filename}, line {frame.lineno})"}
