"""The process that trains, seen from within: answers the requests of its parent, `galaxy_fl.worker.worker`."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, assert_never

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from galaxy_fl import exceptions
from galaxy_fl.data.datasets import load
from galaxy_fl.data.shards import load_shard
from galaxy_fl.exceptions import ConfigurationError, DataError, JobDocumentError, TrainingError
from galaxy_fl.files import replacing
from galaxy_fl.jobs.likeness import same_bits
from galaxy_fl.jobs.structure import decide_ending
from galaxy_fl.jobs.submission import describe_model, floats_of
from galaxy_fl.training.checking import check_training
from galaxy_fl.training.distillation import Lessons
from galaxy_fl.training.models import build_model
from galaxy_fl.training.rehearsal import rehearse
from galaxy_fl.training.results import Evaluation, TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.training.trainer import evaluate, train
from galaxy_fl.vectors.fixed_point import decode, encode, read_vector, write_vector
from galaxy_fl.worker.fetched_data import FetchedData, Parent
from galaxy_fl.worker.messages import (
    Answer,
    Describe,
    Described,
    Done,
    Evaluate,
    Evaluated,
    Export,
    Failed,
    Prepare,
    Prepared,
    Request,
    Train,
    Trained,
    parse_request,
    to_bytes,
)

__all__ = ["Session", "serve"]

LONGEST_MESSAGE = 90_000
"""Characters of an error's message that the parent is told; it takes a little more."""


def serve(connection: Connection) -> None:
    """Answer until the parent closes its end. An interrupt at the terminal is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # torch.use_deterministic_algorithms would import torch's compiler, some 900 modules, to tell it as well. Where a
    # model compiles something, the variable has told it.
    torch.set_deterministic_debug_mode("warn")
    os.environ["TORCHINDUCTOR_DETERMINISTIC"] = "1"
    server = Server(Parent(connection))
    while True:
        try:
            content = connection.recv_bytes()
        except (EOFError, ConnectionError):
            return
        try:
            answer = server.answer(parse_request(content))
        except Exception as error:
            answer = failure(error)
        with suppress(EOFError, ConnectionError):  # nobody waits for it any more
            server.parent.settle()
            connection.send_bytes(to_bytes(answer))


class Server:
    """The requests of one parent, and the session that the last `Prepare` began."""

    def __init__(self, parent: Parent) -> None:
        self.parent = parent
        self._session: Session | None = None

    def answer(self, request: Request) -> Answer:
        """Do what is asked, and return how it went."""
        match request:
            case Describe():
                return describe(request)
            case Prepare():
                self._session = Session(request, self.parent)
                return Prepared(samples=self._session.samples, notes=self._session.notes)
            case Train():
                return Trained(result=self._prepared.train(request.task))
            case Evaluate():
                return Evaluated(evaluation=self._prepared.evaluate(request.vector))
            case Export():
                return export(request)
            case _:
                assert_never(request)

    @property
    def _prepared(self) -> Session:
        if self._session is None:
            raise TrainingError("the worker has to be prepared first")
        return self._session


def describe(asked: Describe) -> Described:
    """Return what a document says of its model, which can be trained so; write the model's initial vector."""
    built, fresh = (build_model(asked.model, asked.train.seed, asked.source) for _ in range(2))
    try:
        check_training(asked.train, built.parameters())
    except TrainingError as error:
        raise JobDocumentError(f"train: {error}") from error
    described = describe_model(built, fresh, asked.fraction_bits)
    write_vector(asked.vector, encode(floats_of(built, described.layout), described.layout))
    try:
        ending = None if asked.distils is None else decide_ending(built, asked.train.loss, asked.distils)
    except TrainingError as error:
        raise JobDocumentError(str(error)) from error
    return Described(**described.fields(), ending=ending)


def export(asked: Export) -> Done:
    """Write a job's model as a state_dict, the same bytes whoever writes it: what no vector has is as the job began."""
    document = asked.document
    state = decode(read_vector(asked.vector, document.tensors.parameters), document.tensors)
    state |= {tensor.name: tensor.tensor() for tensor in document.local}
    # The one with the suffix first: where the other is there, both are.
    with replacing(asked.destination.with_name(f"{asked.destination.name}.safetensors")) as new:
        mode = new.stat().st_mode
        save_file(state, new)  # which makes another file in its place, readable by its owner alone
        new.chmod(mode)
    with replacing(asked.destination) as new, new.open("wb") as file:  # not by a name, which would go into it
        torch.save(state, file)
    return Done()


class Session:
    """One client's data and model for one job, kept from round to round."""

    def __init__(self, asked: Prepare, parent: Parent) -> None:
        self._settings = settings = asked.settings
        self._document = document = asked.document
        self._source, offer = asked.source, asked.offer
        torch.set_num_threads(settings.threads)
        _check_device(settings.device)
        self._root = None if settings.data_root is None else Path(settings.data_root)
        self._layout = document.tensors
        self._local = {tensor.name: tensor.tensor() for tensor in document.local}
        self._constants = [tensor.name for tensor in document.local if tensor.constant]
        self._model = self._afresh()
        self._data: Dataset[Any]
        self._test: Dataset[Any] | None = None
        if settings.data is not None:
            self._data = load_shard(
                settings.data, "train", settings.shard, settings.partition, settings.partition_seed, self._root
            )
            if settings.test_data is not None:
                self._test = load(settings.test_data, "test", self._root)
        elif offer is not None:
            self._data = FetchedData(parent, "train", offer.train)
            self._test = None if offer.test is None else FetchedData(parent, "test", offer.test)
        self._score = parent.score if offer is not None and offer.scores else None
        # Whether the data fit the model is better known before anybody relies on this client.
        first = Subset(self._data, [0])
        evaluate(self._model, first, document.train, settings.device, ending=document.output)
        self._ask_teachers([self._model.state_dict], first)
        self.notes = self._rehearse() if settings.trains else []

    def _rehearse(self) -> list[str]:
        document = self._document
        another = self._afresh()

        def ask(data: Dataset[Any]) -> Lessons | None:
            return self._ask_teachers([self._model.state_dict], data)

        notes = rehearse(another, self._data, document.train, self._settings.device, document.output, ask)
        self._check_constants(another)
        return notes

    @property
    def samples(self) -> int:
        return len(self._data)  # type: ignore[arg-type]  # torch's Dataset declares no __len__

    def train(self, task: TrainTask) -> TrainResult:
        """Train a round, and write the trained vector and the client's local tensors."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.seed)  # data may augment samples at random, for teachers too
            lessons = self._ask_teachers([partial(self._state, teacher) for teacher in task.teachers], self._data)
        # A new one each round: what a model remembers outside its state_dict would not outlive a restart of the
        # client, which must not change the job's result.
        self._model = model = self._afresh()
        model.load_state_dict(self._state(task.start) | self._kept(task.local))
        result = train(
            model,
            self._data,
            self._document.train,
            task.seed,
            self._settings.device,
            round=task.round,
            lessons=lessons,
            ending=self._document.output,
        )
        self._check_constants(model)
        if task.local_after is not None:
            state = model.state_dict()
            changed = {
                name: state[name].cpu() for name, begun in self._local.items() if not same_bits(state[name], begun)
            }
            with replacing(task.local_after) as new:
                save_file({name: value.clone().contiguous() for name, value in changed.items()}, new)
        with replacing(task.trained) as new:  # it may be the file of the start
            write_vector(new, encode(floats_of(model, self._layout), self._layout))
        return result

    def evaluate(self, vector: Path) -> Evaluation:
        """Measure a vector on the test data."""
        if self._test is None:
            if self._settings.data is None:
                raise DataError("there are no test data to evaluate a model on: give some, as test_data")
            self._test = load(self._settings.data, "test", self._root)
        self._model.load_state_dict(self._state(vector))
        train, ending = self._document.train, self._document.output
        return evaluate(self._model, self._test, train, self._settings.device, self._score, ending)

    def _afresh(self) -> nn.Module:
        """The job's model with what its document says of it, and weights of its class."""
        model = build_model(self._document.model, self._document.train.seed, self._source)
        self._check_state(model)
        model.load_state_dict(self._local, strict=False)
        frozen = set(self._document.frozen)
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if name not in self._local:
                parameter.requires_grad_(name not in frozen)
        return model

    def _state(self, path: Path) -> dict[str, Tensor]:
        """A vector's tensors, and the local ones as the job began with them."""
        return decode(read_vector(path, self._layout.parameters), self._layout) | self._local

    def _kept(self, path: Path | None) -> dict[str, Tensor]:
        """The client's own local tensors, as far as they are not those that the job began with."""
        if path is None:
            return {}
        try:
            kept: dict[str, Tensor] = load_file(path)
        except SafetensorError as error:
            raise TrainingError(f"{path} is damaged ({error}): remove it") from error
        for name, value in kept.items():
            begun = self._local.get(name)
            if begun is None or name in self._constants or (value.dtype, value.shape) != (begun.dtype, begun.shape):
                raise TrainingError(f"{path} has a tensor {name!r} that this job's model does not have: remove it")
        return kept

    def _check_constants(self, model: nn.Module) -> None:
        state = model.state_dict()
        for name in self._constants:
            if not same_bits(state[name], self._local[name]):
                raise TrainingError(
                    f"training changed the buffer {name!r}, which is a constant of the job because it began with "
                    "values that no fixed point carries: let it begin with finite ones"
                )

    def _ask_teachers(self, teachers: list[Callable[[], dict[str, Tensor]]], data: Dataset[Any]) -> Lessons | None:
        document, alpha = self._document, self._document.distillation_alpha
        if alpha is None:
            return None
        device = self._settings.device
        return Lessons.ask(self._model, teachers, data, alpha, document.distillation_reduction, device, document.output)

    def _check_state(self, model: nn.Module) -> None:
        """Make sure that the document's layout and local tensors are those of its model."""
        given: dict[str, tuple[tuple[int, ...], str]] = {
            tensor.name: (tensor.shape, "floats") for tensor in self._layout.tensors
        }
        given |= {tensor.name: (tuple(tensor.shape), tensor.type) for tensor in self._document.local}
        expected = {}
        for name, value in model.state_dict().items():
            averaged = value.is_floating_point() and name not in self._local
            expected[name] = tuple(value.shape), "floats" if averaged else str(value.dtype).removeprefix("torch.")
        if given != expected:
            wrong = next((pair for pair in given.items() if pair not in expected.items()), f"{len(given)} tensors")
            raise JobDocumentError(
                f"the job's layout is not that of its model: it has {wrong}, the model has {len(expected)} "
                f"tensors: {', '.join(f'{name} {shape}' for name, (shape, _) in list(expected.items())[:20])}"
            )
        parameters = dict(model.named_parameters(remove_duplicate=False))
        if unknown := [name for name in self._document.frozen if name not in parameters]:
            raise JobDocumentError(f"the job freezes {unknown[0]!r}, which is not a parameter of its model")
        if changed := [name for name in self._constants if name in parameters]:
            raise JobDocumentError(f"the job takes the parameter {changed[0]!r} for a constant; only buffers can be")


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # AssertionError: torch without CUDA
        raise ConfigurationError(
            f"device {device!r} can't be used: {str(error).splitlines()[0]}; this machine has at least 'cpu'"
        ) from error


def failure(error: Exception) -> Failed:
    """Return what the parent is told of an error: the nearest class that it knows, and the message."""
    for kind in type(error).__mro__:
        if kind.__name__ in exceptions.__all__:
            return Failed(error=kind.__name__, message=str(error)[:LONGEST_MESSAGE])
    frame = traceback.extract_tb(error.__traceback__)[-1]
    last = traceback.format_exception_only(error)[-1].strip()[:LONGEST_MESSAGE]
    return Failed(error="TrainingError", message=f"{last} ({frame.filename}, line {frame.lineno})")
