"""A cluster's server that answers a client's requests with anything: an answer a line, in turn, and then nothing more.

The client is the real one, with its loop, its heartbeat and its store; only its training is made up.
"""

from __future__ import annotations

import shutil
import sys

from galaxy_fl.content.problem import PROBLEM_TYPE
from galaxy_fl.exceptions import GalaxyError
from galaxy_fl.modes.cluster.client import ClusterClientPlace
from galaxy_fl.rounds.client import run_client
from tests.fuzz.clean import refused
from tests.fuzz.folder import folder
from tests.fuzz.hostile_server import HostileServer
from tests.fuzz.reader import Reader
from tests.galaxy_fl.modes.meeting import INITIAL, document
from tests.galaxy_fl.rounds.table import Counting

__all__ = ["fuzz"]

SERVER = HostileServer()
LONGEST = 10_000
"""Characters of an error's message."""
CONTENTS = {
    b"document": document().to_bytes(),
    b"relay": document("relay").to_bytes(),
    b"vector": INITIAL.tobytes(),
}
"""Answers that are not a line, by their names."""


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    use = reader.pick((_look, _take_part, _give_up))
    answers = iter(reader.rest().split(b"\n"))

    def answer(body: bytes) -> bytes:
        if body.startswith(b'{"jobs":'):  # the heartbeat, which comes when it likes
            return _http(b"{}")
        line = next(answers, None)
        if line is None:
            return b""  # it hangs up
        if line.startswith(b"raw "):
            return line[4:].replace(b"\\n", b"\r\n")
        if line.startswith(b"!"):
            status, _, problem = line[1:].partition(b" ")
            return _http(problem, status, PROBLEM_TYPE.encode())
        return _http(CONTENTS.get(line, line))

    SERVER.answers = answer
    root = folder() / "client"
    shutil.rmtree(root, ignore_errors=True)
    place = ClusterClientPlace(SERVER.url, "a", root, patience=0.0)
    try:
        use(place)
    except GalaxyError as error:
        return refused(error, LONGEST)
    finally:
        place.close()
    return True


def _http(body: bytes, status: bytes = b"200", kind: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 %s Said\r\nContent-Type: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + body


def _look(place: ClusterClientPlace) -> None:
    assert all(job.isprintable() and "/" not in job for job in place.jobs())


def _take_part(place: ClusterClientPlace) -> None:
    coordinator = place.open("1")
    try:
        assert 0 < coordinator.job.tensors.parameters <= sys.maxsize
        assert run_client(coordinator, Counting(3), 10).over
    finally:
        coordinator.close()


def _give_up(place: ClusterClientPlace) -> None:
    coordinator = place.open("1")
    coordinator.give_up("the data do not fit")
    coordinator.close()
