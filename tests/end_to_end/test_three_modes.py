"""One job in three modes: the programs differ in nothing but the mode, and the final model is the same to the bit."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from galaxy_chain.rpc.rpc import Rpc
from tests.end_to_end.forked import ForkedScript
from tests.end_to_end.processes import run

pytestmark = pytest.mark.xdist_group("modes")

MODEL = """\
import os
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
    average, distillation = strategy.FederateStrategy
    jobs = [(Net, average), (Tiny, average), (Net, distillation)]
    for mode, folder in zip(sys.argv[1::2], sys.argv[2::2]):
        os.chdir(folder)
        manager = JobManager()
        for model, fed_strategy in jobs:
            torch.manual_seed(7)
            job = manager.generate_job(
                work_mode=strategy.WorkModeStrategy(mode),
                train_strategy=strategy.TrainStrategyFatorcy(learning_rate=0.1, batch_size=32, epoch=3, seed=11),
                fed_strategy=fed_strategy,
                model=model,
                distillation_alpha=0.5,
                min_clients=2,
                max_clients=2,
            )
            manager.submit_job(job, model())
"""

CLIENTS = """\
import sys
from concurrent.futures import ThreadPoolExecutor

from galaxy_fl.core.strategy import WorkModeStrategy
from galaxy_fl.core.trainer_controller import TrainerController

if __name__ == "__main__":
    mode, server_url = sys.argv[1:]
    clients = [
        TrainerController(
            work_mode=WorkModeStrategy(mode),
            data="digits",
            shard=f"{number}/2",
            client_id=number,
            server_url=server_url,
            **({"account": f"dev:{number}"} if mode == "blockchain" else {}),
        )
        for number in (1, 2)
    ]
    with ThreadPoolExecutor() as pool:
        for ended in [pool.submit(client.start, until_done=True) for client in clients]:
            ended.result()
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
    for name, text in (("fl_model.py", MODEL), ("fl_clients.py", CLIENTS), ("fl_server.py", SERVER)):
        (folder / name).write_text(text)
    return folder


def models(folder: Path, number: int) -> list[str]:
    """The hashes of the final models of the n-th job that the reports of a folder name, one for each who has it."""
    reports = [json.loads(path.read_text()) for path in folder.glob("report_*.json")]
    job = sorted({report["job"] for report in reports}, key=int)[number]
    return [report["final_model"] for report in reports if report["final_model"] and report["job"] == job]


def files(folder: Path) -> list[bytes]:
    """The final models of a folder's averages, in the order of the jobs."""
    paths = {path.name.split("_")[3].split(".")[0]: path for path in folder.glob("final_model_pars_*.safetensors")}
    return [paths[job].read_bytes() for job in sorted(paths, key=int)[:2]]


def play(folders: list[Path], mode: str, port: int, variables: dict[str, str]) -> None:
    """Plays the jobs of a mode: its server, and both clients in one program."""
    with ExitStack() as stack:
        url = f"http://127.0.0.1:{port}"
        clients = stack.enter_context(ForkedScript(folders[-1], "fl_clients.py", mode, url, **variables))
        server = stack.enter_context(ForkedScript(folders[0], "fl_server.py", mode, port, **variables))
        for program in (clients, server):
            assert program.finish()[2] == ""


@pytest.fixture
def chain(anvil_url, tmp_path) -> dict[str, str]:
    """A ledger on a chain, and what everybody needs to know of it."""
    folder = tmp_path / "chain"
    folder.mkdir()
    run(folder, "deploy", "--account", "dev:0", GALAXY_RPC=anvil_url)
    owner = Rpc(anvil_url).request("eth_accounts")[0]
    home = str(folder / ".galaxy")
    return {
        "GALAXY_RPC": anvil_url,
        "GALAXY_HOME": home,
        "GALAXY_POLL": "0.1",
        "GALAXY_ACCOUNT": "dev:0",
        "GALAXY_TRUST": owner,
    }


def test_a_job_gives_the_same_models_in_every_mode_to_the_bit(tmp_path, chain):
    """Three jobs of two clients: an average, one of a single parameter, and a distillation."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    variables = {"standalone": {}, "cluster": {"GALAXY_TRUST": f"http://127.0.0.1:{port}"}, "blockchain": chain}
    folders = {
        mode: [
            programs(tmp_path / mode / name) for name in (("all",) if mode == "standalone" else ("server", "clients"))
        ]
        for mode in variables
    }
    with ForkedScript(tmp_path, folders["standalone"][0] / "fl_model.py", *submissions(folders), **chain) as submitting:
        submitting.finish()
    for mode, more in variables.items():
        play(folders[mode], mode, port, more)

    for number in range(2):
        for where in folders.values():
            averaged = [model for folder in where for model in models(folder, number)]
            assert len(averaged) == 3  # everybody has it
            assert set(averaged) == set(models(folders["standalone"][0], number))
            assert len(set(averaged)) == 1
    # Whoever writes it, with the model's code or without, writes the same, integer buffers and all.
    written = {tuple(files(folder)) for where in folders.values() for folder in where}
    assert len(written) == 1
    assert b"num_batches_tracked" in next(iter(written))[0]
    students = [set(models(where[-1], 2)) for where in folders.values()]
    assert students[0] == students[1] == students[2]
    assert len(students[0]) == 2


def submissions(folders: dict[str, list[Path]]) -> list[str]:
    """Each mode, and the folder that its jobs are submitted in."""
    return [argument for mode, where in folders.items() for argument in (mode, str(where[0]))]
