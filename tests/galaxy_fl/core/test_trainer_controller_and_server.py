"""Clients and servers of real jobs in a folder, with real workers, in the threads of one process."""

from __future__ import annotations

import inspect
import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import TensorDataset

from galaxy_fl.core.job_manager import JobManager
from galaxy_fl.core.server import FLChainServer, FLClusterServer, FLStandaloneServer
from galaxy_fl.core.strategy import FederateStrategy, TrainStrategyFactory
from galaxy_fl.core.trainer_controller import TrainerController
from galaxy_fl.data.datasets import load
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.training.losses import log_probabilities
from tests.galaxy_fl.core.models import Net, Wide

DISTILLATION = {"fed_strategy": FederateStrategy.FED_DISTILLATION, "distillation_alpha": 0.5}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def part(number: int, samples: int = 200) -> TensorDataset:
    images, labels = load("digits", "train").tensors
    chosen = slice(number * samples, (number + 1) * samples)
    return TensorDataset(images[chosen], labels[chosen])


def submit(model: type[Net] = Net, epoch: int = 2, **arguments) -> str:
    strategy = TrainStrategyFactory(learning_rate=0.1, batch_size=20, epoch=epoch)
    job = JobManager().generate_job(train_strategy=strategy, model=model, **arguments)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        JobManager().submit_job(job, model())
    return job.job_id


def run(*participants) -> None:
    """Runs clients and servers until all jobs are over."""
    threads = [threading.Thread(target=one.start, args=(True,), daemon=True) for one in participants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()


def report(job: str, who: str) -> dict:
    return json.loads(Path(f"report_{job}_{who}.json").read_text())


def test_the_arguments_are_pfls_first():
    parameters = list(inspect.signature(TrainerController).parameters.values())
    assert [(one.name, one.default) for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD] == [
        ("work_mode", "standalone"),
        ("data", None),
        ("client_id", 0),
        ("client_ip", ""),
        ("client_port", 8081),
        ("server_url", ""),
        ("concurrent_num", 5),
    ]
    for server, names in (
        (FLStandaloneServer, ["federate_strategy"]),
        (FLClusterServer, ["federate_strategy", "ip", "port", "api_version"]),
        (FLChainServer, ["federate_strategy"]),
    ):
        parameters = inspect.signature(server).parameters.values()
        assert [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD] == names
    assert inspect.signature(TrainerController.start).parameters["until_done"].default is False
    assert inspect.signature(FLStandaloneServer.start).parameters["until_done"].default is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "there are no data to train on"),
        ({"data": "digits", "client_id": "a/b"}, "client_id is 'a/b'"),
        ({"data": "digits", "concurrent_num": 0}, "concurrent_num is 0"),
    ],
)
def test_wrong_arguments_of_a_client(arguments, said):
    with pytest.raises(PFLException, match=said):
        TrainerController(**arguments).start()


def test_a_server_of_no_strategy():
    with pytest.raises(PFLException, match="federate strategy not found"):
        FLStandaloneServer("fed_max")


def test_an_unknown_mode_and_an_unknown_setting():
    with pytest.raises(ConfigurationError, match="there is no mode 'moon'"):
        TrainerController("moon", data="digits").start()
    with pytest.raises(ConfigurationError, match="acount"):
        TrainerController(data="digits", acount="alice").start()
    with pytest.raises(ConfigurationError, match="there is no place"):
        TrainerController([], data="digits").start()


def test_a_job_is_averaged_evaluated_and_kept(folder, capfd):
    job = submit(min_clients=2)
    run(
        FLStandaloneServer(FederateStrategy.FED_AVG, test_data="digits"),
        TrainerController(data=part(0), client_id=0, test_data=load("digits", "test")),
        TrainerController(data=part(1), client_id=1),
    )
    model = Net()
    model.load_state_dict(torch.load(f"final_model_pars_{job}", weights_only=True))
    for name, tensor in load_file(f"final_model_pars_{job}.safetensors").items():
        torch.testing.assert_close(tensor, model.state_dict()[name], rtol=0, atol=0)
    images, labels = load("digits", "test").tensors
    accuracy = (model.eval()(images).argmax(dim=1) == labels).float().mean().item()
    assert accuracy > 0.5
    server, first, second = report(job, "server"), report(job, "client_0"), report(job, "client_1")
    assert [line["updates"] for line in server["rounds"]] == [2, 2]
    assert [line["test"]["samples"] for line in server["rounds"]] == [360, 360]
    assert server["rounds"][-1]["test"]["accuracy"] == pytest.approx(accuracy)
    assert [line["test"] for line in first["rounds"]] == [line["test"] for line in server["rounds"]]
    assert [line["train"]["samples"] for line in second["rounds"]] == [200, 200]
    assert {one["final_model"] for one in (server, first, second)} == {server["final_model"]}
    assert len(server["final_model"]) == 64
    said = capfd.readouterr()
    assert said.err == ""
    for line in (
        "client 0 takes part with 200 samples",
        "round 2: aggregated 2 updates, loss",
        "finished after 2 rounds",
    ):
        assert f"job {job}: {line}" in said.out
    assert not list(folder.glob(".galaxy-*"))


def test_a_distillation_leaves_each_client_its_own_student():
    job = submit(min_clients=2, **DISTILLATION)
    run(
        FLStandaloneServer(FederateStrategy.FED_AVG, test_data="digits"),
        *(TrainerController(data=part(number), client_id=number, test_data="digits") for number in (0, 1)),
    )
    states = [torch.load(f"final_model_pars_{job}_{number}", weights_only=True) for number in (0, 1)]
    assert not torch.equal(states[0]["out.weight"], states[1]["out.weight"])
    assert not Path(f"final_model_pars_{job}").exists()
    for number in (0, 1):
        rounds = report(job, f"client_{number}")["rounds"]
        assert [line["round"] for line in rounds] == [1, 2]
        assert rounds[1]["test"]["loss"] < rounds[0]["test"]["loss"]


def test_jobs_that_wait_for_others_block_nobody():
    waiting = [submit(min_clients=2, epoch=1) for _ in range(2)]
    quick = submit(model=Wide, epoch=1)
    threads = [
        threading.Thread(target=one.start, args=(True,), daemon=True)
        for one in (
            FLStandaloneServer(FederateStrategy.FED_AVG),
            TrainerController(data=part(0), client_id=0, concurrent_num=1),
        )
    ]
    for thread in threads:
        thread.start()
    done = threading.Event()

    def look() -> None:
        while not Path(f"final_model_pars_{quick}").exists():
            done.wait(0.05)
        done.set()

    threading.Thread(target=look, daemon=True).start()
    assert done.wait(300)
    assert not any(Path(f"final_model_pars_{job}").exists() for job in waiting)
    run(TrainerController(data=part(1), client_id=1, concurrent_num=1))
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()
    assert all(Path(f"final_model_pars_{job}").exists() for job in waiting)


def test_a_job_that_is_damaged_is_given_up_and_the_other_goes_on(capfd):
    good, bad = submit(epoch=1), submit(epoch=1)
    broken = Path(f"res/jobs/{bad}/models/1")
    broken.write_bytes(bytes(broken.stat().st_size))
    server = threading.Thread(target=FLStandaloneServer("fed_avg").start, args=(True,), daemon=True)
    server.start()
    run(TrainerController(data=part(0), client_id=0))
    assert Path(f"final_model_pars_{good}").exists()
    assert f"job {bad}: given up: " in capfd.readouterr().err
    Path(f"res/jobs/{bad}/cancelled").touch()
    server.join(300)
    assert f"job {bad}: was cancelled by its owner in round 1" in capfd.readouterr().out


def test_the_accuracy_is_the_users_own_function():
    def half(output: torch.Tensor, targets: torch.Tensor) -> float:
        assert log_probabilities(output).shape == (len(targets), 10)
        return 0.5

    job = submit(epoch=1)
    run(
        FLStandaloneServer("fed_avg", test_data="digits", accuracy=half),
        TrainerController(data="digits", shard="1/8", client_id=0, test_data="digits", accuracy=half),
    )
    assert report(job, "server")["rounds"][0]["test"]["accuracy"] == 0.5
    assert report(job, "client_0")["rounds"][0]["test"]["accuracy"] == 0.5
    assert report(job, "client_0")["rounds"][0]["train"]["samples"] == 180


def test_started_again_a_server_leaves_finished_jobs_alone(capfd):
    job = submit(epoch=1)
    run(FLStandaloneServer("fed_avg"), TrainerController(data=part(0)))
    written = Path(f"final_model_pars_{job}").stat().st_mtime_ns
    capfd.readouterr()
    run(FLStandaloneServer("fed_avg"))
    assert Path(f"final_model_pars_{job}").stat().st_mtime_ns == written
    Path(f"final_model_pars_{job}").unlink()
    run(FLStandaloneServer("fed_avg"))
    assert Path(f"final_model_pars_{job}").exists()
