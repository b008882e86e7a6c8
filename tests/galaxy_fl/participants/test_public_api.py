"""A job by the public API alone: submitted, trained by two clients and served, in a folder and as a cluster."""

from __future__ import annotations

import socket
import threading

import pytest
import torch
from torch.utils.data import Subset

import galaxy_fl as galaxy
from galaxy_fl.data.datasets import load
from tests.galaxy_fl.core.models import Net


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*participants):
    """The outcomes of participants that run at once."""
    outcomes = [[] for _ in participants]

    def one(number):
        outcomes[number] += participants[number].run()

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(len(participants))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return outcomes


def test_in_a_folder(folder):
    seen = []
    digits = load("digits", "train")
    clients = [
        galaxy.Client(
            data=Subset(digits, range(100 * number, 100 * number + 100)),
            test_data="digits" if number == 1 else None,
            name=str(number),
            output=folder / str(number),
            listeners=[lambda event, job: seen.append((job, event))],
        )
        for number in (1, 2)
    ]
    train = galaxy.Train(loss="nll", learning_rate=0.1, batch_size=16)
    jobs = [
        galaxy.submit(galaxy.Job(Net, rounds=2, train=train, method=method), clients=2)
        for method in (galaxy.Averaging(), galaxy.Distillation(alpha=0.5))
    ]
    *both, server = run(*clients, galaxy.Server(output=folder / "server", listeners=[]))
    for outcomes in (*both, server):
        assert sorted(outcome.job for outcome in outcomes) == jobs
        assert {(outcome.rounds, outcome.cancelled, outcome.error) for outcome in outcomes} == {(2, False, None)}
    average, students = (
        [outcome.final_model for outcomes in (*both, server) for outcome in outcomes if outcome.job == job]
        for job in jobs
    )
    one, *others = (torch.load(path, weights_only=True) for path in average)
    Net().load_state_dict(one)
    for other in others:
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert students[2] is None  # the server of a distillation has no model
    one, other = (torch.load(path, weights_only=True) for path in students[:2])
    assert not torch.equal(one["out.weight"], other["out.weight"])
    trained = [event.round for job, event in seen if job == jobs[0] and isinstance(event, galaxy.events.Trained)]
    assert sorted(trained) == [1, 1, 2, 2]


def test_as_a_cluster(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"http://127.0.0.1:{taken.getsockname()[1]}"
    job = galaxy.submit(galaxy.Job("mlp", rounds=1), clients=1, at=folder / "server")
    client = galaxy.Client(data="digits", shard="1/20", at=at, folder=folder / "client", output=folder / "client")
    server = galaxy.Server(at=at, folder=folder / "server", output=folder / "server", listeners=[])
    outcomes = run(client, server)
    paths = [outcome.final_model for (outcome,) in outcomes]
    assert [path.name for path in paths] == [f"final_model_pars_{job}"] * 2
    one, other = (torch.load(path, weights_only=True) for path in paths)
    assert all(torch.equal(one[name], other[name]) for name in one)
