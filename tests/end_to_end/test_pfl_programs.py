"""The programs of PFL's README run with `pfl` replaced by `galaxy_fl` in them, each in a process of its own.

Nothing else is changed but what a reader of the README changes, too: the client's number, the port, and, for a test that
ends, fewer samples.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.end_to_end.forked import ForkedProcess
from tests.end_to_end.processes import LONG, Program, environment, tied

MODEL = """
from torch import nn
import torch.nn.functional as F
import pfl.core.strategy as strategy
from pfl.core.job_manager import JobManager


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 20, 5, 1)
        self.conv2 = nn.Conv2d(20, 50, 5, 1)
        self.fc1 = nn.Linear(4 * 4 * 50, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(x, 2, 2)
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2, 2)
        x = x.view(-1, 4 * 4 * 50)
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return F.softmax(x, dim=1)


if __name__ == "__main__":
    model = Net()
    train_strategy = strategy.TrainStrategyFatorcy(optimizer=strategy.RunTimeStrategy.OPTIM_SGD, learning_rate=0.01,
                                  loss_function=strategy.RunTimeStrategy.NLL_LOSS, batch_size=32, epoch=3)
    job_manager = JobManager()
    job = job_manager.generate_job(work_mode=strategy.WorkModeStrategy.{mode}, train_strategy=train_strategy,
                                   fed_strategy=strategy.FederateStrategy.{strategy}, model=Net{alpha})
    job_manager.submit_job(job, model)
"""

CLIENT = """
from torchvision import datasets, transforms
from pfl.core.strategy import WorkModeStrategy
from pfl.core.trainer_controller import TrainerController

CLIENT_ID = {client}

if __name__ == "__main__":
    mnist_data = datasets.MNIST("./mnist_data", download=True, train=True, transform=transforms.Compose([
        transforms.ToTensor(),
        transforms.Normalize((0.13066062,), (0.30810776,))
    ]))
    TrainerController(work_mode=WorkModeStrategy.{mode}, data=mnist_data, client_id=CLIENT_ID,{address}
                      concurrent_num=3).start()
"""

STANDALONE_SERVER = """
from pfl.core.strategy import FederateStrategy
from pfl.core.server import FLStandaloneServer

FEDERATE_STRATEGY = FederateStrategy.{strategy}

if __name__ == "__main__":
    FLStandaloneServer(FEDERATE_STRATEGY).start()
"""

CLUSTER_SERVER = """
from pfl.core.strategy import FederateStrategy
from pfl.core.server import FLClusterServer

FEDERATE_STRATEGY = FederateStrategy.{strategy}
IP = '0.0.0.0'
PORT = {port}
API_VERSION = '/api/version'

if __name__ == "__main__":
    FLClusterServer(FEDERATE_STRATEGY, IP, PORT, API_VERSION).start()
"""

ALPHA = ", distillation_alpha=0.5"
ADDRESS = """
                      client_ip="127.0.0.1", client_port=8081, server_url="http://127.0.0.1:{port}","""
SAMPLES = 300


class Script(Program):
    """A user's Python file that runs in a folder, started by itself or forked from a process that has loaded torch."""

    def __init__(self, folder: Path, name: str, text: str, *, forked: bool = False, **variables: str) -> None:
        assert "pfl" in text
        (folder / name).write_text(text.replace("pfl", "galaxy_fl"))
        self.arguments = [name]
        self.said = folder / f"{name}.said"
        if forked:
            self.process = ForkedProcess(folder, self.arguments, environment(**variables), self.said)  # type: ignore[assignment]
            return
        with self.said.open("w") as output:
            self.process = subprocess.Popen(
                [*tied(), sys.executable, name],
                cwd=folder,
                env=environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def write_mnist(folder: Path, digits: slice) -> None:
    """Some digits of the package as torchvision keeps MNIST, 28x28."""
    from galaxy_fl.data import datasets

    with np.load(Path(datasets.__file__).with_name("digits.npz"), allow_pickle=False) as stored:
        images, labels = stored["train_images"][digits], stored["train_labels"][digits]
    large = np.pad(np.kron(images.astype(np.uint8), np.ones((1, 3, 3), np.uint8)), ((0, 0), (2, 2), (2, 2))) * 15
    raw = folder / "mnist_data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for kind in ("train", "t10k"):
        (raw / f"{kind}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, len(large), 28, 28) + large.tobytes())
        labels = labels.astype(np.uint8)
        (raw / f"{kind}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(labels)) + labels.tobytes())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(words: str, *programs: Script) -> None:
    """Waits until each program has said something."""
    deadline = time.monotonic() + LONG
    while silent := [program.arguments for program in programs if words not in program.said.read_text()]:
        said = "\n".join(f"--- {program.said}\n{program.said.read_text()}" for program in programs)
        assert time.monotonic() < deadline, f"{silent} have not said {words!r}\n{said}"
        assert "Traceback" not in said, said
        assert "given up" not in said, said
        time.sleep(0.05)


def submit(folder: Path, mode: str, strategy: str, *, forked: bool = False) -> str:
    """Runs the program that submits the job; gives the job's id."""
    alpha = ALPHA if strategy == "FED_DISTILLATION" else ""
    text = MODEL.replace("{mode}", mode).replace("{strategy}", strategy).replace("{alpha}", alpha)
    with Script(folder, "fl_model.py", text, forked=forked) as program:
        program.finish()
    found = re.fullmatch(r"job (\d+) added successfully\n", program.said.read_text())
    assert found, program.said.read_text()
    return found[1]


def client(
    folder: Path, number: int, mode: str, address: str = "", *, forked: bool = False, **variables: str
) -> Script:
    text = CLIENT.format(client=number, mode=mode, address=address)
    return Script(folder, f"fl_client_{number}.py", text, forked=forked, **variables)


def end(programs: list[Script]) -> None:
    """Ctrl-C at each of them, once they are at rest: they say that a job is finished before they have put it away."""
    time.sleep(2)
    for program in programs:
        os.killpg(program.process.pid, signal.SIGINT)
    for program in programs:
        assert program.finish(check=False)[0] == 130
        assert "Traceback" not in program.said.read_text()


def read(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def losses(folder: Path, job: str, number: int) -> list[float]:
    """A client's training loss, round by round."""
    rounds = json.loads((folder / f"report_{job}_client_{number}.json").read_text())["rounds"]
    return [line["train"]["loss"] for line in rounds if line["train"] is not None]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


@pytest.mark.parametrize("order", [pytest.param("model first", marks=pytest.mark.extended), "model last"])
def test_standalone_federated_averaging(folder, order):
    write_mnist(folder, slice(SAMPLES))
    with ExitStack() as stack:
        if order == "model first":
            job = submit(folder, "WORKMODE_STANDALONE", "FED_AVG")
        clients = [stack.enter_context(client(folder, number, "WORKMODE_STANDALONE")) for number in (0, 1)]
        if order == "model last":
            wait_for("waiting for jobs in", *clients)
            job = submit(folder, "WORKMODE_STANDALONE", "FED_AVG")
        wait_for("round 1: waiting for the other clients", *clients)
        server = stack.enter_context(Script(folder, "fl_server.py", STANDALONE_SERVER.format(strategy="FED_AVG")))
        wait_for(f"job {job}: finished after 3 rounds; the final model is in final_model_pars_{job}", server, *clients)
        end([server, *clients])
    layers = ("conv1", "conv2", "fc1", "fc2")
    final = read(folder / f"final_model_pars_{job}")
    assert final.keys() == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    for number in (0, 1):
        first, second, third = losses(folder, job, number)
        assert third < second < first
    assert "round 1: aggregated 2 updates" in server.said.read_text()


@pytest.mark.extended
def test_standalone_distillation(folder):
    write_mnist(folder, slice(SAMPLES))
    with ExitStack() as stack:
        text = STANDALONE_SERVER.format(strategy="FED_DISTILLATION")
        server = stack.enter_context(Script(folder, "fl_server.py", text))
        clients = [stack.enter_context(client(folder, number, "WORKMODE_STANDALONE")) for number in (0, 1)]
        wait_for("waiting for jobs in", server, *clients)
        job = submit(folder, "WORKMODE_STANDALONE", "FED_DISTILLATION")
        wait_for(f"job {job}: finished after 3 rounds", server, *clients)
        end([server, *clients])
    for number in (0, 1):  # each client has a student of its own, and whoever comes late joins the round that is on
        assert "fc2.weight" in read(folder / f"final_model_pars_{job}_{number}")
        assert losses(folder, job, number)
    assert not (folder / f"final_model_pars_{job}").exists()


@pytest.mark.parametrize("strategy", [pytest.param("FED_AVG", marks=pytest.mark.extended), "FED_DISTILLATION"])
def test_cluster(tmp_path, strategy):
    """The server is started with FED_DISTILLATION, as in PFL's README, whatever the job's own strategy is."""
    port = free_port()
    folders = [tmp_path / name for name in ("0", "1", "server")]
    for number, folder in enumerate(folders):
        folder.mkdir()
        if folder.name != "server":
            write_mnist(folder, slice(number * SAMPLES, (number + 1) * SAMPLES))
    address, trust = ADDRESS.format(port=port), {"GALAXY_TRUST": f"http://127.0.0.1:{port}"}
    with ExitStack() as stack:
        clients = [stack.enter_context(client(folders[0], 0, "WORKMODE_CLUSTER", address, forked=True, **trust))]
        text = CLUSTER_SERVER.replace("{port}", str(port)).replace("{strategy}", "FED_DISTILLATION")
        server = stack.enter_context(Script(folders[2], "fl_server.py", text, forked=True))
        clients.append(stack.enter_context(client(folders[1], 1, "WORKMODE_CLUSTER", address, forked=True, **trust)))
        wait_for("waiting for jobs in", server, *clients)
        job = submit(folders[2], "WORKMODE_CLUSTER", strategy, forked=True)
        wait_for(f"job {job}: finished after 3 rounds", server, *clients)
        end([server, *clients])
    name = f"final_model_pars_{job}"
    states = [read(folder / name) for folder in folders[:2]]
    if strategy == "FED_AVG":
        assert_same(states[0], states[1])
        assert_same(states[0], read(folders[2] / name))
    else:
        assert not torch.equal(states[0]["fc2.weight"], states[1]["fc2.weight"])
        assert not (folders[2] / name).exists()
    # The model's source came from the server, and was never written to where Python would import it from.
    assert not list(folders[0].glob("fl_model*"))


@pytest.mark.extended
def test_a_cluster_client_that_does_not_trust_the_server_says_what_to_set(tmp_path):
    port = free_port()
    for name in ("server", "client"):
        (tmp_path / name).mkdir()
    write_mnist(tmp_path / "client", slice(20))
    with ExitStack() as stack:
        text = CLUSTER_SERVER.replace("{port}", str(port)).replace("{strategy}", "FED_AVG")
        server = stack.enter_context(Script(tmp_path / "server", "fl_server.py", text))
        submit(tmp_path / "server", "WORKMODE_CLUSTER", "FED_AVG")
        address = ADDRESS.format(port=port)
        distrustful = stack.enter_context(client(tmp_path / "client", 0, "WORKMODE_CLUSTER", address))
        deadline = time.monotonic() + LONG
        while f"GALAXY_TRUST=http://127.0.0.1:{port}" not in distrustful.said.read_text():
            assert time.monotonic() < deadline, distrustful.said.read_text()
            time.sleep(0.05)
        end([server, distrustful])
