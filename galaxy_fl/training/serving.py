"""The process that trains, seen from within: answers the requests of `galaxy_fl.training.worker`."""

from __future__ import annotations

import json
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, Subset

from galaxy_fl import exceptions
from galaxy_fl.data.datasets import load
from galaxy_fl.data.shards import load_shard
from galaxy_fl.exceptions import JobDocumentError, TrainingError
from galaxy_fl.training.losses import build_loss
from galaxy_fl.training.models import build_model
from galaxy_fl.training.optimizers import build_optimizer
from galaxy_fl.training.specification import TrainSpecification
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
    requests: dict[str, Callable[..., Answer]] = {"describe": describe}
    while True:
        try:
            asked = json.loads(connection.recv_bytes())
        except (EOFError, ConnectionError):
            return
        try:
            if asked["request"] == "prepare":
                session = Session(WorkerSettings.model_validate_json(json.dumps(asked["arguments"]["settings"])))
                requests |= {"train": session.train, "evaluate": session.evaluate}
                answer: Answer = Prepared(samples=session.samples).model_dump()
            elif asked["request"] in requests:
                answer = requests[asked["request"]](**asked["arguments"])
            else:
                raise TrainingError(f"request {asked['request']!r}: the worker has to be prepared first")
        except Exception as error:
            answer = failure(error)
        with suppress(ConnectionError):  # nobody waits for it any more
            connection.send_bytes(json.dumps(answer).encode())


def describe(model: dict[str, Any], train: dict[str, Any], vector: str) -> Answer:
    """The layout of a job document's model, which can be trained so; its initial vector goes to the file `vector`."""
    specification = TrainSpecification.model_validate_json(json.dumps(train))
    built = build_model(model, specification.seed)
    try:
        build_loss(specification)
        build_optimizer(built.parameters(), specification)
    except TrainingError as error:
        raise JobDocumentError(f"train: {error}") from error
    layout = Layout.of(built)
    write_vector(vector, encode(built.state_dict(), layout))
    return {"layout": layout.to_json()}


class Session:
    """One client's data and model for one job, kept from round to round."""

    def __init__(self, settings: WorkerSettings) -> None:
        torch.set_num_threads(settings.threads)
        self._settings = settings
        self._root = None if settings.data_root is None else Path(settings.data_root)
        self._layout = Layout.from_json(settings.layout)
        self._model = build_model(settings.model, settings.train.seed)
        self._check_layout()
        self._data = load_shard(
            settings.data, "train", settings.shard, settings.partition, settings.partition_seed, self._root
        )
        self._test: Dataset[Any] | None = None
        # Whether the data fit the model is better known before anybody relies on this client.
        evaluate(self._model, Subset(self._data, [0]), settings.train, settings.device)

    @property
    def samples(self) -> int:
        return len(self._data)  # type: ignore[arg-type]  # torch's Dataset declares no __len__

    def train(self, model_vector: str, trained_vector: str, round_seed: int) -> Answer:
        model = self._load(model_vector)
        result = train(model, self._data, self._settings.train, round_seed, self._settings.device)
        write_vector(trained_vector, encode(model.state_dict(), self._layout))
        return result.model_dump()

    def evaluate(self, vector: str) -> Answer:
        if self._test is None:
            self._test = load(self._settings.data, "test", self._root)
        model = self._load(vector)
        return evaluate(model, self._test, self._settings.train, self._settings.device).model_dump()

    def _load(self, path: str) -> nn.Module:
        state = decode(read_vector(path, self._layout.parameters), self._layout)
        # Not strict, because integer buffers are not in a vector: they stay as they are.
        self._model.load_state_dict(state, strict=False)
        return self._model

    def _check_layout(self) -> None:
        expected = [(tensor.name, tensor.shape) for tensor in Layout.of(self._model).tensors]
        given = [(tensor.name, tensor.shape) for tensor in self._layout.tensors]
        if expected != given:
            wrong = next((pair for pair in given if pair not in expected), f"{len(given)} tensors")
            raise JobDocumentError(
                f"the job's layout is not that of its model: it has {wrong}, the model has {len(expected)} "
                f"tensors: {', '.join(f'{name} {shape}' for name, shape in expected[:20])}"
            )


def failure(error: Exception) -> Answer:
    """What the parent is told of an error: the nearest class that it knows, and the message."""
    for kind in type(error).__mro__:
        if kind.__name__ in exceptions.__all__:
            return {"error": kind.__name__, "message": str(error)}
    frame = traceback.extract_tb(error.__traceback__)[-1]
    last = traceback.format_exception_only(error)[-1].strip()
    return {"error": "TrainingError", "message": f"{last} ({frame.filename}, line {frame.lineno})"}
