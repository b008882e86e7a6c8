"""One client in three jobs on two servers at once, a cluster's and a ledger's, of which one job fails."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from eth_account import Account
from eth_utils.address import to_checksum_address

from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from tests.end_to_end.forked import ForkedScript
from tests.end_to_end.processes import Script, run, wait_until_alone

pytestmark = pytest.mark.xdist_group("modes")

ROUNDS = 3
BATCHES = 5
"""71 samples, a twentieth of the digits, in sixteens."""
REHEARSED = 2
"""Steps that are tried in a worker first, one of each batch size, with a model that is made for that."""

MODEL = (
    """\
import json
import os
import socket
import sys
import time
import uuid
from pathlib import Path

import torch
from torch import nn


def look_around():
    # What a stranger's program finds in the process that trains it.
    links = {int(fd.name): os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
    sockets = []
    for fd, link in links.items():
        if link.startswith("socket:"):
            with socket.socket(fileno=os.dup(fd)) as one:
                peer = int.from_bytes(one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")
                sockets.append([one.family.name, peer])
    environment = Path("/proc/self/environ").read_bytes().decode()
    return {
        "environ": dict(os.environ),
        "started with": environment,
        "sockets": sockets,
        "compiler": [name for name in sys.modules if name in ("torch._dynamo", "torch._inductor")],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def steps_in(path):
    return json.loads(path.read_text()) if path.exists() else []


class Net(nn.Module):
    turn = None  # a worker makes the model anew each round

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10), nn.Softmax(dim=1))

    def forward(self, x):
        if not self.training:
            return self.layers(x)
        self.turn = self.turn or uuid.uuid4().hex
        begun = time.monotonic()
        path = Path(f"steps-{type(self).__name__}-{self.turn}.json")
        steps = steps_in(path)
        if len(steps) == REHEARSED and not Path(f"seen-{os.getpid()}.json").exists():
            self.meet()
        output = self.layers(x)
        steps.append([begun, time.monotonic()])
        path.write_text(json.dumps(steps))
        self.stepped()
        return output

    def stepped(self):
        pass

    def meet(self):
        # Holds its turn until another trains, too, and for a second more if a third does not: it must not.
        Path(f"seen-{os.getpid()}.json").write_text(json.dumps(look_around()))
        until, moment = time.monotonic() + 60, None
        while (here := len(list(Path().glob("seen-*.json")))) < 3 and (moment is None or time.monotonic() < moment):
            if time.monotonic() > until:
                raise RuntimeError("nobody else trains")
            if here == 2 and moment is None:
                moment = time.monotonic() + 1
            time.sleep(0.02)


class Failing(Net):
    def stepped(self):
        # Fails in what follows its first round.
        others = [path for path in Path().glob("steps-Failing-*.json") if self.turn not in path.name]
        if any(len(steps_in(path)) == BATCHES for path in others):
            raise RuntimeError("enough of this")


if __name__ == "__main__":
    from galaxy_fl.core.job_manager import JobManager
    from galaxy_fl.core.strategy import TrainStrategyFatorcy, WorkModeStrategy

    manager, ids = JobManager(), {}
    for name, mode, model in (
        ("failing", WorkModeStrategy.WORKMODE_CLUSTER, Failing),
        ("cluster", WorkModeStrategy.WORKMODE_CLUSTER, Net),
        ("chain", WorkModeStrategy.WORKMODE_BLOCKCHAIN, Net),
    ):
        strategy = TrainStrategyFatorcy(learning_rate=0.1, batch_size=16, epoch=ROUNDS, seed=5)
        job = manager.generate_job(
            work_mode=mode,
            train_strategy=strategy,
            model=model,
            min_clients=1,
            max_clients=1,
            output="probabilities",
        )
        manager.submit_job(job, model())
        ids[name] = job.job_id
    print(json.dumps(ids), flush=True)
""".replace("BATCHES", str(BATCHES))
    .replace("ROUNDS", str(ROUNDS))
    .replace("REHEARSED", str(REHEARSED))
)

CLIENT = """\
import sys

from galaxy_fl.core.strategy import WorkModeStrategy
from galaxy_fl.core.trainer_controller import TrainerController

if __name__ == "__main__":
    TrainerController(
        work_mode=[WorkModeStrategy.WORKMODE_CLUSTER, WorkModeStrategy.WORKMODE_BLOCKCHAIN],
        data="digits",
        shard="1/20",
        client_id="one",
        server_url=sys.argv[1],
        concurrent_num=2,
    ).start(until_done=True)
    print("its own process has torch:", "torch" in sys.modules)
"""

SERVER = """\
import sys

from galaxy_fl.core import server
from galaxy_fl.core.strategy import FederateStrategy

if __name__ == "__main__":
    if len(sys.argv) > 1:
        made = server.FLClusterServer(FederateStrategy.FED_AVG, "127.0.0.1", int(sys.argv[1]), "/api/version")
    else:
        made = server.FLChainServer(FederateStrategy.FED_AVG, leave=True)
    made.start(until_done=True)
"""

SECRETS = {"GALAXY_KEY": "0x" + "5e" * 32, "GALAXY_PASSWORD": "a-password", "GALAXY_IPFS_AUTH": "Bearer a-bearer"}
TOKEN = "a-registration-token"


def final_model(folder: Path, job: str, participant: str) -> str:
    """The final model that a participant's report names, whose file has to be there, too."""
    assert (folder / f"final_model_pars_{job}.safetensors").stat().st_size > 4 * 64 * 16
    model = json.loads((folder / f"report_{job}_{participant}.json").read_text())["final_model"]
    assert model
    return model


def trained(folder: Path, model: str) -> list[tuple[float, float]]:
    """From when to when rounds of jobs with a model were trained whole."""
    turns = [json.loads(path.read_text()) for path in folder.glob(f"steps-{model}-*.json")]
    return [(steps[0][0], steps[-1][1]) for steps in turns if len(steps) == BATCHES]


def most_at_once(intervals: list[tuple[float, float]]) -> int:
    return max(sum(begin <= moment <= end for begin, end in intervals) for moment, _ in intervals)


@pytest.fixture
def chain(anvil_url, tmp_path) -> dict[str, str]:
    """A ledger, on which the key of the client has something to spend."""
    run(tmp_path, "deploy", "--account", "dev:0", GALAXY_RPC=anvil_url)
    rpc = Rpc(anvil_url)
    owner = to_checksum_address(rpc.request("eth_accounts")[0])
    Transactions(rpc, NodeSigner(owner)).send(Account.from_key(SECRETS["GALAXY_KEY"]).address, b"", 10**18)
    return {"GALAXY_RPC": anvil_url, "GALAXY_HOME": str(tmp_path / ".galaxy"), "GALAXY_POLL": "0.1", "owner": owner}


def test_a_client_trains_three_jobs_two_at_a_time_and_one_that_fails_leaves_the_others_alone(chain, tmp_path):
    owner = chain.pop("owner")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    cluster_folder, chain_folder, client_folder = (tmp_path / name for name in ("cluster", "chain", "client"))
    for folder, texts in (
        (cluster_folder, {"fl_model.py": MODEL, "fl_server.py": SERVER}),
        (chain_folder, {"fl_server.py": SERVER}),
        (client_folder, {"fl_client.py": CLIENT}),
    ):
        folder.mkdir()
        for name, text in texts.items():
            (folder / name).write_text(text)
    with ExitStack() as stack:
        start = lambda *arguments, **more: stack.enter_context(ForkedScript(*arguments, **more))  # noqa: E731
        jobs = json.loads(start(cluster_folder, "fl_model.py", GALAXY_ACCOUNT="dev:0", **chain).line("failing"))
        cluster = start(cluster_folder, "fl_server.py", port, GALAXY_REGISTRATION_TOKEN=TOKEN)
        on_chain = start(chain_folder, "fl_server.py", GALAXY_ACCOUNT="dev:0", **chain)
        cluster.line("server of")
        secrets = {**SECRETS, "GALAXY_REGISTRATION_TOKEN": TOKEN, "GALAXY_TRUST": f"{url},{owner}"}
        client = stack.enter_context(Script(client_folder, "fl_client.py", url, **chain, **secrets))
        _, said, errors = client.finish()
        wait_until_alone(client.process.pid)
        on_chain.finish()
        cluster.line(f"job {jobs['cluster']}: finished")
        code, _, complaints = cluster.interrupt()

    assert code == 130
    (heard,) = complaints.splitlines()
    assert heard.startswith(f"job {jobs['failing']}: client one has given up: ")
    assert heard.endswith(": enough of this")
    (given_up,) = errors.splitlines()
    assert given_up.startswith(f"job {jobs['failing']}: given up: ")
    assert given_up.endswith(": enough of this")
    assert "its own process has torch: False" in said
    assert not list(client_folder.glob(f"final_model_pars_{jobs['failing']}*"))
    for job, folder in ((jobs["cluster"], cluster_folder), (jobs["chain"], chain_folder)):
        assert final_model(client_folder, job, "client_one") == final_model(folder, job, "server")

    failing, others = (trained(client_folder, model) for model in ("Failing", "Net"))
    assert (len(failing), len(others)) == (1, 2 * ROUNDS)
    assert most_at_once(failing + others) == 2

    seen = [json.loads(path.read_text()) for path in client_folder.glob("seen-*.json")]
    # The failing job's and the others', whose document is the same; rounds of a job may be trained in several workers.
    assert len(seen) >= 2
    for worker in seen:
        assert worker["sockets"] == [["AF_UNIX", client.process.pid]]
        assert worker["deterministic"]
        assert worker["environ"]["TORCHINDUCTOR_DETERMINISTIC"] == "1"
        assert worker["compiler"] == []  # it costs a second, and two steps have been rehearsed without
        assert "GALAXY_TRUST" in worker["environ"]  # its environment is what it is started with
        assert "GALAXY_TRUST" in worker["started with"]
        for name, value in {**SECRETS, "GALAXY_REGISTRATION_TOKEN": TOKEN}.items():
            assert name not in worker["environ"]
            assert value not in json.dumps(worker)
            assert value.removeprefix("0x") not in json.dumps(worker)
