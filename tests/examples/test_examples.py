"""Each example runs as its first line says, and ends with a trained model."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.end_to_end.processes import LONG, embedded, environment, run
from tests.examples.stage import EXAMPLES, Stage, accuracies, final_models

pytestmark = pytest.mark.xdist_group("examples")  # they share a process that has loaded torch


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as stage:
        yield stage


def test_hello(stage: Stage, tmp_path: Path) -> None:
    assert stage.run("hello/model.py").startswith("job ")
    programs = [
        stage.start(f"hello/{name}.py", *more) for name, *more in (["client", "1"], ["server"], ["client", "2"])
    ]
    for program in programs:
        stage.finish(program)
    [model] = final_models(tmp_path)
    assert model["layers.1.weight"].shape == (32, 64)
    [accuracy] = accuracies(tmp_path)  # the server's: the clients were given nothing to test with
    assert accuracy > 0.8


def test_the_programs_of_the_readme(stage: Stage, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n# (\w+\.py)(.*?)```", (EXAMPLES.parent / "README.md").read_text(), re.DOTALL)
    for name, text in blocks:
        (tmp_path / name).write_text(f"# {text}")
    stage.run(str(tmp_path / "model.py"))
    programs = [stage.start(str(tmp_path / "client.py"), number) for number in ("1", "2")]
    programs.append(stage.start(str(tmp_path / "server.py")))
    for program in programs:
        stage.finish(program)
    assert len(final_models(tmp_path)) == 1


def test_own_data(stage: Stage, tmp_path: Path) -> None:
    stage.run("own_data/model.py")
    programs = [stage.start("own_data/server.py")]
    programs += [stage.start("own_data/client.py", plant) for plant in ("north", "south")]
    for program in programs:
        stage.finish(program)
    assert len(final_models(tmp_path)) == 1
    north, south = accuracies(tmp_path)
    assert north == south > 0.7  # of the failures are found, which are few


def test_batches(stage: Stage, tmp_path: Path) -> None:
    stage.run("batches/model.py")
    programs = [stage.start("batches/server.py")]
    programs += [stage.start("batches/client.py", ward) for ward in ("1", "2")]
    for program in programs:
        stage.finish(program)
    [model] = final_models(tmp_path)
    assert model["both.weight"].shape == (1, 9)
    assert min(accuracies(tmp_path)) > 0.8


def test_fedprox(stage: Stage, tmp_path: Path) -> None:
    stage.run("fedprox/model.py")
    server = stage.start("fedprox/server.py")
    said = stage.run("fedprox/client.py")
    stage.finish(server)
    assert "round 5: 5 clients trained on" in said
    assert len(final_models(tmp_path)) == 1
    [accuracy] = accuracies(tmp_path)
    assert accuracy > 0.5  # of ten digits, of which each client has two


def test_distillation(stage: Stage, tmp_path: Path) -> None:
    stage.run("distillation/model.py")
    programs = [stage.start("distillation/client.py", str(number)) for number in (1, 2, 3)]
    programs.append(stage.start("distillation/server.py"))
    for program in programs:
        stage.finish(program)
    students = final_models(tmp_path)
    assert len(students) == 3
    assert not torch.equal(students[0]["layers.1.weight"], students[1]["layers.1.weight"])
    assert len(students) == len(accuracies(tmp_path))
    assert min(accuracies(tmp_path)) > 0.4


@pytest.mark.parametrize(
    ("job", "kind", "personal", "least"),
    [
        ("fedbn", "scanned", "bn1.weight", 0.75),  # with one model for all it is 0.54
        pytest.param("fedper", "coded", "head.weight", 0.65, marks=pytest.mark.extended),  # 0.26
    ],
)
def test_parts(stage: Stage, tmp_path: Path, job: str, kind: str, personal: str, least: float) -> None:
    stage.run("parts/model.py", job)
    programs = [stage.start("parts/server.py")]
    programs += [stage.start("parts/client.py", str(number), kind) for number in range(1, 5)]
    for program in programs:
        stage.finish(program)
    _, *own = final_models(tmp_path)  # the first is the server's
    assert len(own) == 4
    assert not torch.equal(own[0][personal], own[1][personal])
    assert torch.equal(own[0]["stem.weight"], own[1]["stem.weight"])
    measured = accuracies(tmp_path)
    assert sum(measured) / len(measured) > least


def test_server_optimizer(stage: Stage, tmp_path: Path) -> None:
    """What is exported are the weights, without moments; the statistics of its normalization are averaged."""
    stage.run("server_optimizer/model.py")
    programs = [stage.start("server_optimizer/client.py", str(number)) for number in (1, 2)]
    programs.append(stage.start("server_optimizer/server.py"))
    for program in programs:
        stage.finish(program)
    models = final_models(tmp_path)
    assert models[0]["layers.2.running_var"].min() > 0
    assert all(torch.equal(tensor, models[-1][name]) for name, tensor in models[0].items())
    assert min(accuracies(tmp_path)) > 0.5


def test_cluster(stage: Stage, tmp_path: Path) -> None:
    """Server and clients have a folder of their own each, as on machines of their own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    stage.run("cluster/model.py", folder="server")
    programs = [stage.start("cluster/server.py", url, folder="server")]
    programs += [stage.start("cluster/client.py", number, url, folder=f"client-{number}") for number in ("1", "2")]
    for program in programs:
        stage.finish(program)
    models = [final_models(tmp_path / folder) for folder in ("server", "client-1", "client-2")]
    assert all(len(found) == 1 for found in models)
    first = {name: tensor.tolist() for name, tensor in models[0][0].items()}
    assert all({name: tensor.tolist() for name, tensor in found[0].items()} == first for found in models)


def test_early_stop(stage: Stage, tmp_path: Path) -> None:
    """A job ends before its 50 rounds, and another continues from its best model."""
    first, second = tmp_path / "first", tmp_path / "second"
    stage.run("early_stop/model.py", folder="first")
    client = stage.start("early_stop/client.py", folder="first")
    said = stage.run("early_stop/server.py", "0.7", folder="first").splitlines()[-1]
    stage.finish(client)
    ended = re.fullmatch(r"job (\d+): (\d+) rounds, the best is round (\d+)", said)
    assert ended is not None
    assert int(ended[3]) == int(ended[2]) < 50  # the round that was good enough
    best = first / f"best_model_pars_{ended[1]}"
    assert torch.load(best, weights_only=True).keys() == load_file(f"{best}.safetensors").keys()
    stage.run("early_stop/model.py", f"{best}.safetensors", folder="second")
    client = stage.start("early_stop/client.py", folder="second")
    stage.run("early_stop/server.py", "0.7", folder="second")
    stage.finish(client)
    [report] = second.glob("report_*_server.json")
    assert len(json.loads(report.read_text())["rounds"]) == 1  # it was good enough already


def test_tracking(stage: Stage, tmp_path: Path) -> None:
    stage.run("tracking/job.py")
    programs = [stage.start(f"tracking/{name}.py") for name in ("server", "clients")]
    for program in programs:
        stage.finish(program)
    assert sorted(path.name for path in (tmp_path / "runs").glob("*/*")) == ["client_1", "client_2", "server"]
    with (tmp_path / "numbers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for participant, metric in (("server", "test/accuracy"), ("client_1", "train/loss"), ("client_2", "train/bytes")):
        assert [row["round"] for row in rows if (row["participant"], row["metric"]) == (participant, metric)] == [
            "1",
            "2",
            "3",
        ]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[str]:
    """A development chain with a ledger, whose file is in the folder."""
    with embedded(tmp_path) as url:
        run(tmp_path, "deploy", "--account", "dev:0", "--rpc", url)
        yield url


def test_ledger(stage: Stage, tmp_path: Path, chain: str) -> None:
    assert stage.run("ledger/job.py", "submit", GALAXY_RPC=chain).endswith("\njob 1\n")  # after a warning
    programs = [
        stage.start("ledger/job.py", *role, GALAXY_RPC=chain)
        for role in (("client", "1", "1"), ("server", "1"), ("client", "1", "2"))
    ]
    for program in programs:
        stage.finish(program)
    assert len(final_models(tmp_path)) == 1
    [accuracy] = accuracies(tmp_path)  # the server's
    assert accuracy > 0.8
    said = stage.run("ledger/job.py", "audit", "1", GALAXY_RPC=chain).splitlines()
    assert said[0].startswith("owner 0x")
    assert [line.partition(":")[0] for line in said[1:]] == [f"round {number} is right" for number in (1, 2, 3)]


def test_sealed(stage: Stage, tmp_path: Path, chain: str) -> None:
    """What lies in the public store tells nothing; an auditor reads it by the keys that a member has exported."""
    assert stage.run("sealed/job.py", "submit", GALAXY_RPC=chain) == "job 1\n"
    programs = [
        stage.start("sealed/job.py", *role, GALAXY_RPC=chain)
        for role in (("client", "1", "1"), ("server", "1"), ("client", "1", "2"))
    ]
    for program in programs:
        stage.finish(program)
    final_models(tmp_path)
    stage.run("sealed/job.py", "export", "1", GALAXY_RPC=chain)
    said = stage.run("sealed/job.py", "audit", "1", GALAXY_RPC=chain).splitlines()
    assert said[0] == "without a key: nothing"
    assert [line.partition(":")[0] for line in said[1:]] == ["round 1 is right", "round 2 is right"]
    opened = {path.stat().st_size for path in (tmp_path / "auditor" / "opened" / "objects").rglob("baf*")}
    public = {path.stat().st_size for path in (tmp_path / "public" / "objects").rglob("baf*")}
    assert len(opened) == 1  # models and updates, which are one length
    assert not opened & public


def test_the_web3_of_the_documentation(stage: Stage, tmp_path: Path, chain: str) -> None:
    """Its program, at this chain and with an account that has ether, and a job that is submitted through it."""
    page = (EXAMPLES.parent / "docs" / "how-to" / "web3.md").read_text()
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "own.py").write_text(
        f"""\
import galaxy_chain
import galaxy_fl as galaxy
from eth_account import Account
from web3 import HTTPProvider, Web3

account, chain = Account.create(), Web3(HTTPProvider({chain!r}))
sent = chain.eth.send_transaction({{"from": chain.eth.accounts[0], "to": account.address, "value": 10**19}})
chain.eth.wait_for_transaction_receipt(sent)
{program.replace("https://node.example/KEY", chain)}
if __name__ == "__main__":
    job = galaxy.Job(model="mlp", rounds=1, train=galaxy.Train(learning_rate=0.1))
    number = int(galaxy.submit(job, clients=1, at=ledger, terms={{"open": True}}))
    print(number, ledger.jobs()[number].owner == account.address, ledger.web3() is web3)
"""
    )
    assert stage.run(str(tmp_path / "own.py")).endswith("\n1 True True\n")


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, str]:
    """An environment in which `galaxy-chain` is the one under test."""
    program = tmp_path / "bin" / "galaxy-chain"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m galaxy_chain "$@"\n')
    program.chmod(0o755)
    return environment(PATH=f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [str(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.mark.extended
def test_ledger_by_hand(tmp_path: Path, commands: dict[str, str]) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    script = EXAMPLES / "ledger_by_hand" / "job.sh"
    done = subprocess.run([script, folder, *free_ports(1)], env=commands, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 rounds are committed, and all are right" in done.stdout
    assert load_file(folder / "model.safetensors")


@pytest.mark.extended
def test_two_machines(tmp_path: Path, commands: dict[str, str]) -> None:
    chain, store = free_ports(2)
    variables = commands | {"CHAIN_PORT": chain, "STORE_PORT": store}
    here, there = tmp_path / "first", tmp_path / "second"
    for folder in (here, there):
        folder.mkdir()
    scripts = EXAMPLES / "two_machines"
    first = subprocess.Popen(
        [scripts / "first.sh", "127.0.0.1", here],
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert first.stdout is not None
        stuck = threading.Timer(LONG, os.killpg, (first.pid, signal.SIGKILL))  # which ends its output
        stuck.start()
        assert any(line.startswith("give ") for line in first.stdout), "it has ended before it was ready"
        stuck.cancel()
        arguments = ["127.0.0.1", here / ".galaxy" / "ledger.json", there]
        done = subprocess.run(
            [scripts / "second.sh", *arguments], env=variables, capture_output=True, text=True, timeout=LONG
        )
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    assert done.returncode == 0, done.stderr
    assert "3 of 3 rounds are committed, and all are right" in done.stdout
    assert load_file(there / "model.safetensors")
