"""The process that trains, seen from within: answers the requests of its parent, `galaxy_fl.worker.worker`."""

from __future__ import annotations

import copy
import os
import signal
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import assert_never

import torch
from safetensors.torch import save_file

from galaxy_fl import exceptions
from galaxy_fl.exceptions import JobDocumentError, TrainingError
from galaxy_fl.files import replacing
from galaxy_fl.jobs.base import read_base, write_base
from galaxy_fl.jobs.document import BuiltinModel
from galaxy_fl.jobs.first_model import read_weights
from galaxy_fl.jobs.start import load_start
from galaxy_fl.jobs.structure import decide_ending
from galaxy_fl.jobs.submission import describe_model, floats_of
from galaxy_fl.training.checking import check_training
from galaxy_fl.training.frozen_weights import from_elsewhere
from galaxy_fl.training.models import build_model
from galaxy_fl.training.own_methods import collate_of, with_loss
from galaxy_fl.training.private_models import check_private_model
from galaxy_fl.training.randomness import same_draws
from galaxy_fl.vectors.fixed_point import decode, write_encoded
from galaxy_fl.worker.fetched_data import Parent
from galaxy_fl.worker.loaded_job import LoadedJob
from galaxy_fl.worker.messages import (
    Answer,
    Describe,
    Described,
    Done,
    Evaluate,
    Evaluated,
    Export,
    Failed,
    Load,
    Prepare,
    Prepared,
    Request,
    Train,
    Trained,
    parse_request,
    to_bytes,
)
from galaxy_fl.worker.own_tensors import OwnTensors
from galaxy_fl.worker.session import Session

__all__ = ["serve"]

LONGEST_MESSAGE = 90_000
"""Characters of an error's message that the parent is told; it takes a little more."""


def serve(connection: Connection) -> None:
    """Answer until the parent closes its end. An interrupt at the terminal is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # torch.use_deterministic_algorithms would import torch's compiler, some 900 modules, to tell it as well. Where a
    # model compiles something, the variable has told it.
    torch.set_deterministic_debug_mode("warn")
    os.environ["TORCHINDUCTOR_DETERMINISTIC"] = "1"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without, cuBLAS may give other bits each time
    server = Server(Parent(connection))
    while True:
        try:
            content = connection.recv_bytes()
        except (EOFError, ConnectionError):
            return
        try:
            # Each draws as if it were the first, so that no order of requests changes a result.
            with same_draws():
                answer = server.answer(parse_request(content))
        except Exception as error:
            answer = failure(error)
        with suppress(EOFError, ConnectionError):  # nobody waits for it any more
            server.parent.settle()
            connection.send_bytes(to_bytes(answer))


class Server:
    """The requests of one parent: about one job at a time, and the sessions of its clients."""

    def __init__(self, parent: Parent) -> None:
        self.parent = parent
        self._job: LoadedJob | None = None
        self._sessions: dict[int, Session] = {}

    def answer(self, request: Request) -> Answer:
        """Do what is asked, and return how it went."""
        match request:
            case Describe():
                return describe(request)
            case Load():
                self._sessions.clear()
                self._job = LoadedJob(request.document, request.source, request.base)
                return Done()
            case Prepare():
                return self._prepare(request)
            case Train():
                return Trained(result=self._prepared(request.session).train(request.task))
            case Evaluate():
                return Evaluated(evaluation=self._prepared(request.session).evaluate(request.vector, request.own))
            case Export():
                return export(request)
            case _:
                assert_never(request)

    def _prepare(self, asked: Prepare) -> Prepared:
        for gone in (asked.session, *asked.forget):
            self._sessions.pop(gone, None)
        if self._job is None:
            raise TrainingError("the worker has to be told its job first")
        session = self._sessions[asked.session] = Session(asked, self._job, self.parent)
        return Prepared(samples=session.samples, notes=session.notes)

    def _prepared(self, number: int) -> Session:
        if number not in self._sessions:
            raise TrainingError("the worker has to be prepared first")
        return self._sessions[number]


def describe(asked: Describe) -> Described:
    """Return what a document says of its model, which can be trained so; write the model's initial vector."""
    built = build_model(asked.model, asked.train.seed, asked.source)
    if isinstance(asked.model, BuiltinModel):  # which is the same each time it is made
        fresh = copy.deepcopy(built)
    else:
        with from_elsewhere():
            fresh = build_model(asked.model, asked.train.seed, asked.source)
    try:
        specification = with_loss(asked.train, fresh, asked.names_loss)
        collate_of(type(fresh))
        check_training(specification, built.parameters())
    except TrainingError as error:
        raise JobDocumentError(f"train: {error}") from error
    if asked.start is not None:
        load_start(built, asked.start)
    described = describe_model(built, fresh, asked.fraction_bits, asked.parts)
    check_private_model(built, asked.privacy, described.layout, {tensor.name for tensor in described.frozen})
    if described.has_base and asked.base is not None:
        write_base(asked.base, [*described.frozen, *described.personal], built.state_dict())
    write_encoded(asked.vector, floats_of(built, described.layout), described.layout)
    try:
        ending = None if asked.distils is None else decide_ending(built, specification.loss, asked.distils)
    except TrainingError as error:
        raise JobDocumentError(str(error)) from error
    fields = described.fields()
    del fields["base"]  # who asked looks at the file itself
    return Described(**fields, buffers=list(described.buffers), loss=specification.loss, ending=ending)


def export(asked: Export) -> Done:
    """Write a job's model as a state_dict, the same bytes whoever writes it: what no vector has is as the job began, or
    personal tensors are the client's own."""
    document = asked.document
    state = decode(read_weights(document, asked.vector), document.tensors)
    state |= {tensor.name: tensor.tensor() for tensor in document.local}
    if asked.base is not None:
        state |= read_base(asked.base, [*document.frozen, *document.personal])
        # In memory of their own, as safetensors has them.
        state |= {name: state[tensor.name].clone() for tensor in document.frozen for name in tensor.names[1:]}
    elif document.base is not None:
        raise TrainingError("the model's frozen and personal tensors are not here: the job's base is missing")
    state |= OwnTensors(document).personal(asked.own)
    # The one with the suffix first: where the other is there, both are.
    with replacing(asked.destination.with_name(f"{asked.destination.name}.safetensors")) as new:
        mode = new.stat().st_mode
        save_file(state, new)  # which makes another file in its place, readable by its owner alone
        new.chmod(mode)
    with replacing(asked.destination) as new, new.open("wb") as file:  # not by a name, which would go into it
        torch.save(state, file)
    return Done()


def failure(error: Exception) -> Failed:
    """Return what the parent is told of an error: the nearest class that it knows, and the message."""
    for kind in type(error).__mro__:
        if kind.__name__ in exceptions.__all__:
            return Failed(error=kind.__name__, message=str(error)[:LONGEST_MESSAGE])
    frame = traceback.extract_tb(error.__traceback__)[-1]
    last = traceback.format_exception_only(error)[-1].strip()[:LONGEST_MESSAGE]
    return Failed(error="TrainingError", message=f"{last} ({frame.filename}, line {frame.lineno})")
