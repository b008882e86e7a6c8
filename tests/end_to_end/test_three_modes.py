"""One job in three modes: the programs differ in nothing but the mode, and the final model is the same to the bit."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from galaxy_chain.rpc.rpc import Rpc
from tests.end_to_end.processes import Script, run

pytestmark = pytest.mark.xdist_group("modes")

MODEL = """\
import sys

import torch
from torch import nn

from galaxy_fl.core import strategy
from galaxy_fl.core.job_manager import JobManager


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 16),
            nn.BatchNorm1d(16, momentum=None),
            nn.ReLU(),
            nn.Linear(16, 10),
            nn.Softmax(dim=1),
        )

    def forward(self, x):
        return self.layers(x)


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))

    def forward(self, x):
        return torch.softmax(self.scale * x.flatten(1)[:, :10], dim=1)


if __name__ == "__main__":
    manager = JobManager()
    average, distillation = strategy.FederateStrategy
    jobs = [(Net, average), (Tiny, average), (Net, distillation)]
    for model, fed_strategy in jobs:
        torch.manual_seed(7)
        job = manager.generate_job(
            work_mode=strategy.WorkModeStrategy(sys.argv[1]),
            train_strategy=strategy.TrainStrategyFatorcy(learning_rate=0.1, batch_size=32, epoch=3, seed=11),
            fed_strategy=fed_strategy,
            model=model,
            distillation_alpha=0.5,
            min_clients=2,
            max_clients=2,
        )
        manager.submit_job(job, model())
"""

CLIENT = """\
import sys

from galaxy_fl.core.strategy import WorkModeStrategy
from galaxy_fl.core.trainer_controller import TrainerController

if __name__ == "__main__":
    mode, number, server_url = sys.argv[1:]
    TrainerController(
        work_mode=WorkModeStrategy(mode),
        data="digits",
        shard=f"{number}/2",
        client_id=number,
        server_url=server_url,
    ).start(until_done=True)
"""

SERVER = """\
import sys

from galaxy_fl.core import server
from galaxy_fl.core.strategy import FederateStrategy

if __name__ == "__main__":
    mode, port = sys.argv[1:]
    made = {
        "standalone": lambda: server.FLStandaloneServer(FederateStrategy.FED_AVG),
        "cluster": lambda: server.FLClusterServer(FederateStrategy.FED_AVG, "127.0.0.1", int(port), "/api/version"),
        "blockchain": lambda: server.FLChainServer(FederateStrategy.FED_AVG, leave=True),
    }[mode]()
    made.start(until_done=True)
"""


def programs(folder: Path) -> Path:
    """A participant's folder with the three programs in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("fl_model.py", MODEL), ("fl_client.py", CLIENT), ("fl_server.py", SERVER)):
        (folder / name).write_text(text)
    return folder


def models(folder: Path, number: int) -> set[str]:
    """The hashes of the final models of the n-th job that the reports of a folder name."""
    reports = [json.loads(path.read_text()) for path in folder.glob("report_*.json")]
    job = sorted({report["job"] for report in reports}, key=int)[number]
    return {report["final_model"] for report in reports if report["final_model"] and report["job"] == job}


def files(folder: Path) -> list[bytes]:
    """The final models of a folder's averages, in the order of the jobs."""
    paths = {path.name.split("_")[3].split(".")[0]: path for path in folder.glob("final_model_pars_*.safetensors")}
    return [paths[job].read_bytes() for job in sorted(paths, key=int)[:2]]


def play(home: Path, mode: str, port: int, variables: dict[str, list[str]]) -> list[Path]:
    """Plays three jobs of two clients in a mode, an average, one of a single parameter, and a distillation.

    Gives the folders of server and clients.
    """
    names = ["server", "client-1", "client-2"]
    folders = [programs(home / (mode if mode == "standalone" else f"{mode}-{name}")) for name in names]
    own = [{key: values[index] for key, values in variables.items()} for index in range(3)]

    def start(index: int, *arguments: object) -> Script:
        return stack.enter_context(Script(folders[index], *arguments, **own[index]))

    with ExitStack() as stack:
        start(0, "fl_model.py", mode).finish()
        clients = [start(n, "fl_client.py", mode, n, f"http://127.0.0.1:{port}") for n in (1, 2)]
        for program in (*clients, start(0, "fl_server.py", mode, port)):
            program.finish()
    return folders


@pytest.fixture(scope="module")
def chain(embedded_url, tmp_path_factory) -> dict[str, list[str]]:
    """A ledger on a chain, and what the server and two clients need to know of it."""
    folder = tmp_path_factory.mktemp("chain")
    run(folder, "deploy", "--account", "dev:0", GALAXY_RPC=embedded_url)
    owner = Rpc(embedded_url).request("eth_accounts")[0]
    return {
        "GALAXY_RPC": [embedded_url] * 3,
        "GALAXY_HOME": [str(folder / ".galaxy")] * 3,
        "GALAXY_POLL": ["0.1"] * 3,
        "GALAXY_ACCOUNT": ["dev:0", "dev:1", "dev:2"],
        "GALAXY_TRUST": [owner] * 3,
    }


def test_a_job_gives_the_same_models_in_every_mode_to_the_bit(tmp_path, chain):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    trust = {"GALAXY_TRUST": [f"http://127.0.0.1:{port}"] * 3}
    variables = {"standalone": {}, "cluster": trust, "blockchain": chain}
    folders = {mode: play(tmp_path, mode, port, more) for mode, more in variables.items()}

    for number in range(2):
        averaged = [models(folder, number) for where in folders.values() for folder in where]
        assert len(set().union(*averaged)) == 1
        assert all(averaged)  # everybody has it
    # Whoever writes it, with the model's code or without, writes the same, integer buffers and all.
    written = {tuple(files(folder)) for where in folders.values() for folder in where}
    assert len(written) == 1
    assert b"num_batches_tracked" in next(iter(written))[0]
    clients = {mode: set(where) if mode == "standalone" else where[1:] for mode, where in folders.items()}
    students = [set().union(*(models(folder, 2) for folder in where)) for where in clients.values()]
    assert students[0] == students[1] == students[2]
    assert len(students[0]) == 2
