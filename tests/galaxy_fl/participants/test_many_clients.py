"""One program that hosts several clients: their names, their parts, and that each gets what it would get alone."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

import galaxy_fl as galaxy
from galaxy_fl.data.datasets import load
from galaxy_fl.data.partition import parse_shards
from galaxy_fl.data.shards import load_shard
from galaxy_fl.exceptions import ConfigurationError, DataError
from galaxy_fl.participants.client import Client
from galaxy_fl.participants.console import Console
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import Committed, Failed, Started, Trained
from galaxy_fl.participants.server import Server
from galaxy_fl.vectors import kernels
from tests.galaxy_fl.participants.test_client_and_server import Heard, run


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Told:
    """A listener that remembers what each client said."""

    def __init__(self):
        self.heard = {}

    def __call__(self, event, job):
        self.of("")(event, job)

    def of(self, client):
        return self.heard.setdefault(client, Heard())


def submit(clients=2, **more) -> str:
    train = galaxy.Train(learning_rate=0.1, batch_size=16)
    return galaxy.submit(galaxy.Job(model="mlp", rounds=2, train=train, **more), clients=clients)


def test_hosted_clients_give_the_model_of_as_many_programs(folder):
    submit(4)
    apart = [Client("digits", shard=f"{i}/40", name=str(i), output=str(i), listeners=[]) for i in range(1, 5)]
    served, *_ = run(Server(test_data="digits", output="server", listeners=[]), *apart)
    job, told = submit(4), Told()
    hosting = Client("digits", shards="1-4/40", test_data="digits", workers=2, output="hosted", listeners=[told])
    served_too, outcomes = run(Server(test_data="digits", output="server", listeners=[]), hosting)
    assert served[0].final_model.read_bytes() == served_too[0].final_model.read_bytes()
    assert {outcome.client for outcome in outcomes} == {"1", "2", "3", "4"}
    assert {outcome.error for outcome in outcomes} == {None}
    for client in ("1", "2", "3", "4"):
        report = folder / "hosted" / f"report_{job}_client_{client}.json"
        assert [line["round"] for line in json.loads(report.read_text())["rounds"]] == [1, 2]
        assert not report.with_suffix(".svg").exists()
        heard = told.heard[client]
        assert [event.account for event in heard.of(Started)] == [client]
        assert [event.round for event in heard.of(Trained)] == [1, 2]
    assert not told.heard.get("", Heard()).of(Trained)
    assert {outcome.final_model for outcome in outcomes} == {folder / "hosted" / f"final_model_pars_{job}"}


def test_names_have_the_prefix_and_lines_the_names(capsys):
    submit(2)
    client = Client("digits", shards=["3/40", "7/40"], name="ward", listeners=[Console()])
    assert repr(client) == "<Client ward-3 to ward-7 at .>"
    _, outcomes = run(Server(listeners=[]), client)
    assert {outcome.client for outcome in outcomes} == {"ward-3", "ward-7"}
    said = capsys.readouterr().out
    for name in ("ward-3", "ward-7"):
        assert f", client {name}: round 1: trained on " in said


def test_a_data_set_is_divided_as_a_named_one(folder):
    images, labels = load("digits", "train").tensors
    for partition in ("iid", "dirichlet:0.5", "labels:3"):
        parts = LocalData(TensorDataset(images, labels), partition_seed=3).parts("1-5/20", partition)
        named = LocalData("digits", partition=partition, partition_seed=3).parts("1-5/20")
        assert list(parts) == list(named) == [f"{number}/20" for number in range(1, 6)]
        for shard, part in parts.items():
            expected = load_shard("digits", "train", shard, partition, 3)
            assert [named[shard].shard, named[shard].data] == [shard, "digits"]
            assert torch.equal(torch.stack([row[0] for row in part.data]), expected.tensors[0])
            assert [int(row[1]) for row in part.data] == expected.tensors[1].tolist()


def test_a_data_set_of_the_programs_own_is_shared_by_its_clients(folder):
    job = submit(3)
    images, labels = load("digits", "train").tensors
    own = TensorDataset(images[:90], labels[:90])
    heard = Heard()
    told = Told()
    served, outcomes = run(
        Server(listeners=[heard]),
        Client(own, shards="1-3/3", test_data="digits", accuracy=lambda output, target: 0.5, listeners=[told]),
    )
    assert [outcome.error for outcome in (*served, *outcomes)] == [None] * 4
    assert [event.updates for event in heard.of(Committed)] == [3, 3]
    assert [told.heard[client].of(Trained)[0].samples for client in ("1", "2", "3")] == [30, 30, 30]
    assert job


def test_one_client_that_fails_leaves_the_others_alone(folder):
    class Wrong(Dataset):
        """Of which the samples of the first of three parts are not images."""

        targets = torch.arange(90) % 10

        def __len__(self):
            return 90

        def __getitem__(self, index):
            return torch.rand(3) if index in first else torch.rand(1, 8, 8), int(self.targets[index])

    first = set(load_shard_indices(90, 3))
    job, told = submit(2), Told()
    served, outcomes = run(Server(listeners=[]), Client(Wrong(), shards="1-3/3", listeners=[told]))
    assert served[0].error is None
    failed = {outcome.client: outcome.error for outcome in outcomes if outcome.error is not None}
    assert failed.keys() == {"1"}
    assert "samples of shape (3,)" in str(failed["1"])
    assert isinstance(failed["1"], DataError)
    assert [type(event) for job_id, event in told.heard["1"] if job_id == job] == [Failed]
    for client in ("2", "3"):
        assert [event.round for event in told.heard[client].of(Trained)] == [1, 2]


def test_the_report_of_a_client_that_fails_has_what_it_has_trained(folder):
    """Reports of many clients are written now and then; one that gives up is at its end."""
    spoilt, failed = threading.Event(), threading.Event()

    class Spoilt(Dataset):
        targets = torch.arange(90) % 10

        def __len__(self):
            return 90

        def __getitem__(self, index):
            if spoilt.is_set() and index in first:
                raise ValueError("the disk has gone")
            return torch.rand(1, 8, 8), int(self.targets[index])

    class Spoiling(Told):
        def of(self, client):
            heard = super().of(client)

            def listener(event, job):
                heard(event, job)
                if client == "1" and isinstance(event, Trained):
                    spoilt.set()
                elif client == "1" and isinstance(event, Failed):
                    failed.set()

            return listener

    first = set(load_shard_indices(90, 3))
    job = submit(2)

    def late(event, job):
        """A round takes two, so the first trains one, fails in the next, and is stood in for."""
        if isinstance(event, Started):
            assert failed.wait(300)

    _, outcomes, _ = run(
        Server(listeners=[]),
        Client(Spoilt(), shards="1-2/3", listeners=[Spoiling()], output="here"),
        Client("digits", shard="3/3", name="late", listeners=[late]),
    )
    assert [outcome.client for outcome in outcomes if outcome.error is not None] == ["1"]
    report = galaxy.Report.read(folder / "here" / f"report_{job}_client_1.json")
    assert [line.round for line in report.rounds] == [1]


def load_shard_indices(samples, count):
    from galaxy_fl.data.partition import iid

    return iid(torch.zeros(samples).numpy(), count, 0)[0].tolist()


def test_hosted_clients_of_a_cluster(folder):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "server").mkdir()
    train = galaxy.Train(learning_rate=0.1, batch_size=16)
    galaxy.submit(galaxy.Job(model="mlp", rounds=2, train=train), clients=3, at=folder / "server")
    told, url = Told(), f"http://127.0.0.1:{port}"
    served, outcomes = run(
        Server(at=url, folder=folder / "server", output="served", listeners=[]),
        Client("digits", shards="1-3/40", name="c", at=url, output="took", listeners=[told]),
    )
    assert [outcome.error for outcome in (*served, *outcomes)] == [None] * 4
    assert {outcome.client for outcome in outcomes} == {"c-1", "c-2", "c-3"}
    models = {Path(outcome.final_model).read_bytes() for outcome in (*served, *outcomes)}
    assert len(models) == 1
    assert len({path.name for path in (folder / "res" / "tokens").glob("c-?@*") if ".lock" not in path.name}) == 3


@pytest.mark.parametrize(
    ("text", "shards"),
    [
        ("1-3/5", ["1/5", "2/5", "3/5"]),
        ("4/5", ["4/5"]),
        ("1-2/5, 5/5", ["1/5", "2/5", "5/5"]),
        (["3/5", "1-2/5"], ["3/5", "1/5", "2/5"]),
    ],
)
def test_shards_are_read(text, shards):
    assert parse_shards(text) == shards


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("", "shards '': expected I-J/N"),
        ("1-4", "shards '1-4': expected I-J/N"),
        ("a-b/4", "shards 'a-b/4': expected I-J/N"),
        ("0-4/4", "the first and the last of 4"),
        ("3-2/4", "the first and the last of 4"),
        ("1-5/4", "the first and the last of 4"),
        ("5/4", "counted from 1/4"),
        ("1-2/4,2/4", "name 2/4 twice"),
        (["1/4", "1/4"], "name 1/4 twice"),
        ("1/4,1/5", "are of 4 and of 5"),
        ([], "expected a text that says of how many"),
        (range(1, 5), "expected a text that says of how many"),
        (4, "expected a text that says of how many"),
    ],
)
def test_shards_that_are_none_are_refused(wrong, said):
    with pytest.raises(ConfigurationError, match=said):
        Client("digits", shards=wrong)


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"shard": "1/4", "shards": "2/4"}, ConfigurationError, "give the one for one client"),
        ({"workers": 0}, ConfigurationError, "workers is 0"),
        ({"shards": "1-2/2", "name": "n" * 63}, ConfigurationError, "name is 'n"),
        ({"data": [(0, 0)] * 3, "shards": "1-4/4"}, DataError, "3 samples can't be divided"),
        ({"data": [0] * 9, "shards": "1-4/4", "partition": "labels:2"}, DataError, "can't be divided by its labels"),
        ({"data": [(0, 0)] * 3, "partition": "labels:2"}, ConfigurationError, "divide data given by name"),
        ({"data": [(0, 0)] * 3, "shards": "1/2", "partition": "odd"}, ConfigurationError, "partition 'odd'"),
    ],
)
def test_what_does_not_go_with_shards_is_said_at_once(more, error, said):
    with pytest.raises(error, match=said):
        Client(**({"data": "digits"} | more))


def test_a_mode_that_takes_one_client_at_a_time_says_so():
    class Alone:
        def submit(self, request, **settings):
            raise AssertionError

        def client_places(self, client_id, **settings):
            raise AssertionError

        def server_place(self, **settings):
            raise AssertionError

    with pytest.raises(ConfigurationError, match="2 clients are to take part in .*takes one client at a time"):
        Client("digits", shards="1-2/2", at=Alone()).run()


def test_a_wrong_choice_of_kernels_is_said_before_a_job_is_waited_for(folder, monkeypatch):
    monkeypatch.setenv("GALAXY_KERNELS", "fortran")
    kernels.choose_anew()
    try:
        with pytest.raises(ConfigurationError, match="GALAXY_KERNELS is 'fortran', expected c or python"):
            Client("digits", shards="1-2/40").run()
    finally:
        monkeypatch.undo()
        kernels.choose_anew()


def test_a_round_of_all_clients_is_one_line(folder, capsys):
    submit(3)
    run(Server(listeners=[]), Client("digits", shards="1-3/40", name="ward"))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "trained" in line and "3 clients trained on" not in line] == []
    assert sum("3 clients trained on" in line for line in lines) == 2
    assert sum("finished after 2 rounds" in line for line in lines) == 1


def test_threads_end_with_their_clients(folder):
    submit(2)
    before = threading.active_count()
    run(Server(listeners=[]), Client("digits", shards="1-2/40", listeners=[]))
    assert threading.active_count() <= before + 1
