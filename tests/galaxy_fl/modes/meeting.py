"""Participants of a mode without a chain, in threads: real folders, real HTTP; the vectors are made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_fl.jobs.document import BuiltinModel, JobDocument, RuleChoice
from galaxy_fl.jobs.request import JobRequest
from galaxy_fl.jobs.terms import Terms
from galaxy_fl.modes.job_folder import JobFolder
from galaxy_fl.modes.mode import find_mode
from galaxy_fl.vectors import read_vector

__all__ = ["INITIAL", "PARAMETERS", "Meeting", "Running", "alter", "document", "eventually", "request", "vector"]

PARAMETERS = 100
INITIAL = np.arange(PARAMETERS, dtype=np.int32)


def vector(value: int, parameters: int = PARAMETERS) -> Any:
    return np.full(parameters, value, dtype=np.int32)


def document(rule: str = "weighted_mean", parameters: int = PARAMETERS, word: int = 0, **fields: Any) -> JobDocument:
    chosen: dict[str, Any] = {
        "name": "made up",
        "model": BuiltinModel(builtin="mlp"),
        "layout": [{"name": "weight", "shape": [parameters], "fraction_bits": 24}],
        "rule": RuleChoice(name=rule, parameters=word),
        "distillation_alpha": 0.5 if rule == "relay" else None,
    }
    return JobDocument(**chosen | fields)


def request(job_id: str = "1", rounds: int = 3, **given: Any) -> JobRequest:
    """A job; `given` are its document, its source, or its terms."""
    of_job = given.pop("document", None) or document()
    source = given.pop("source", None)
    initial = np.arange(of_job.tensors.parameters, dtype=np.int32)
    return JobRequest(job_id, of_job, Terms(rounds, **given), initial, source)


def eventually(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """What the condition gives, as soon as that is true."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it has not happened"
        time.sleep(0.01)
    return found


def alter(path: Path) -> None:
    """Flips one bit."""
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


class Running:
    """Something that runs in a thread."""

    def __init__(self, run: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        self._result: list[Any] = []

        def record() -> None:
            try:
                self._result = [run(*arguments, **named), None]
            except BaseException as error:
                self._result = [None, error]

        self.thread = threading.Thread(target=record, daemon=True)
        self.thread.start()

    def finish(self, seconds: float = 300) -> Any:
        """Its result, or what it raised."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "it does not end"
        result, error = self._result
        if error is not None:
            raise error
        return result


class Meeting:
    """A mode in a folder."""

    def __init__(self, mode: str, folder: Path) -> None:
        self.name = mode
        self.mode = find_mode(mode)
        self.folder = folder
        self.port = 0
        self._clients: dict[str, Any] = {}
        self._server: Any = None

    def submit(self, job_id: str = "1", rounds: int = 3, **given: Any) -> JobFolder:
        job = self.mode.submit(request(job_id, rounds, **given), folder=self.folder)
        return self.job(job)

    def job(self, job_id: str = "1") -> JobFolder:
        return JobFolder(self.folder / "res" / "jobs" / job_id)

    def server(self) -> Any:
        """The server's place; a second time, after the first was closed, at the same address."""
        settings = {"port": self.port} if self.name == "cluster" else {}
        self._server = self.mode.server_place(folder=self.folder, **settings)
        if self.name == "cluster":
            self.port = int(self._server.name.rpartition(":")[2])
        return self._server

    def client(self, client_id: str) -> Any:
        """A client's place; a second time, it is started again."""
        if client_id in self._clients:
            self._clients.pop(client_id).close()
        if self.name == "cluster":
            own = self.folder / f"of {client_id}"
            (place,) = self.mode.client_places(client_id, folder=own, server_url=f"http://127.0.0.1:{self.port}")
        else:
            (place,) = self.mode.client_places(client_id, folder=self.folder)
        self._clients[client_id] = place
        return place

    def close(self) -> None:
        for place in self._clients.values():
            place.close()
        if self._server is not None:
            self._server.close()

    def model(self, number: int, job_id: str = "1") -> Any:
        """The model that a round starts from."""
        job = self.job(job_id)
        return read_vector(job.path / "models" / str(number), job.parameters)
