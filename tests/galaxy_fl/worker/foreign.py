"""Data sets and targets that misbehave, to be run in a process of their own."""

import json
import os
import stat
import struct
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from galaxy_fl.data.datasets import load
from galaxy_fl.worker import forkserver


def report(connection: Connection) -> None:
    """Say who and where this process is, then what it is sent."""
    about = {"pid": os.getpid(), "parent": os.getppid(), "directory": os.getcwd()}
    about["tunables"] = os.environ.get("GLIBC_TUNABLES")
    connection.send_bytes(json.dumps(about).encode())
    connection.send_bytes(connection.recv_bytes())


def report_of_a_child(connection: Connection) -> None:
    """Fork a process from within a forked one, and pass on what it says."""
    with forkserver.fork(f"{__name__}:report") as child:
        connection.send_bytes(child.connection.recv_bytes())


def exit_with_three(connection: Connection) -> None:
    sys.exit(3)


def fail(connection: Connection) -> None:
    raise ValueError("an expected traceback")


def sleep(connection: Connection) -> None:
    time.sleep(600)


def sleep_over_a_child(connection: Connection) -> None:
    child = forkserver.fork(f"{__name__}:sleep")
    connection.send_bytes(str(child.pid).encode())
    time.sleep(600)


def exits(split: str) -> TensorDataset:
    os._exit(7)


def hangs(split: str) -> TensorDataset:
    Path("hanging").touch()
    time.sleep(600)
    raise AssertionError


class Augmented(TensorDataset):
    """Digits with noise, drawn anew each time."""

    def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, ...]]:
        return [(image + 0.3 * torch.randn_like(image), label) for image, label in (self[index] for index in indices)]


def augmented(split: str) -> Dataset[tuple[torch.Tensor, ...]]:
    digits = load("digits", "train")
    assert isinstance(digits, TensorDataset)
    return Subset(Augmented(*digits.tensors), range(100))


def environment(split: str) -> TensorDataset:
    """Writes down what a data set of foreign code can see of the environment."""
    Path("environment.json").write_text(json.dumps(dict(os.environ)))
    Path("environ").write_bytes(Path("/proc/self/environ").read_bytes())
    return TensorDataset(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))


def _say(message: bytes) -> None:
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        try:
            is_socket = stat.S_ISSOCK(os.fstat(number).st_mode)
        except OSError:
            continue
        if is_socket:
            os.write(number, message)


def forges_an_answer(split: str) -> TensorDataset:
    answer = b'{"kind": "prepared", "samples": -5}'
    _say(struct.pack("!i", len(answer)) + answer)
    return environment(split)


def forges_another_answer(split: str) -> TensorDataset:
    answer = b'{"kind": "done"}'
    _say(struct.pack("!i", len(answer)) + answer)
    return environment(split)


def forges_a_question(split: str) -> TensorDataset:
    answer = b'{"kind": "fetch", "split": "train", "indices": [0]}'
    _say(struct.pack("!i", len(answer)) + answer)
    return environment(split)


def forges_an_error(split: str) -> TensorDataset:
    answer = b'{"kind": "failed", "error": "SystemExit", "message": "made up"}'
    _say(struct.pack("!i", len(answer)) + answer)
    return environment(split)


def forges_a_terminals_commands(split: str) -> TensorDataset:
    answer = b'{"kind": "failed", "error": "DataError", "message": "\\u001b[2Jall\\u0007 is\\nwell\\u009b"}'
    _say(struct.pack("!i", len(answer)) + answer)
    return environment(split)


def floods(split: str) -> TensorDataset:
    _say(struct.pack("!i", 2**30))
    return environment(split)
