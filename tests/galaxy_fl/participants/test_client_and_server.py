"""The public client and server: real jobs in a folder, in the threads of one process."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import TensorDataset

import galaxy_fl as galaxy
from galaxy_fl.data.datasets import load
from galaxy_fl.exceptions import ConfigurationError, ContentError, DataError
from galaxy_fl.modes.mode import meeting
from galaxy_fl.participants import participant
from galaxy_fl.participants.client import Client
from galaxy_fl.participants.events import Committed, Evaluated, Event, Failed, Finished, Opened, Started, Trained
from galaxy_fl.participants.server import Server


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def submit(**more) -> str:
    return galaxy.submit(galaxy.Job(model="mlp", rounds=2, train=galaxy.Train(learning_rate=0.1), **more), clients=2)


class Heard(list):
    """A listener that remembers."""

    def __call__(self, event: Event, job: str) -> None:
        self.append((job, event))

    def of(self, kind):
        return [event for _, event in self if isinstance(event, kind)]


def run(*participants):
    """Runs them at once, and gives what became of each."""
    ends = [None] * len(participants)

    def go(number):
        try:
            ends[number] = participants[number].run()
        except Exception as error:
            ends[number] = error

    threads = [threading.Thread(target=go, args=(number,), daemon=True) for number in range(len(participants))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return ends


def test_a_job_leaves_its_model_and_reports_where_it_was_told(folder):
    job = submit()
    images, labels = load("digits", "train").tensors
    own = TensorDataset(images[:200], labels[:200])
    heard, server_heard = Heard(), Heard()
    # Clients that share a data set by name agree on its division by its seed.
    named = {"data": "digits", "shard": "1/8", "partition": "dirichlet:0.5", "partition_seed": 5}
    ends = run(
        Server(test_data="digits", output="out/server", listeners=[server_heard]),
        Client(own, name="own", test_data="digits", output="out/clients", listeners=[heard]),
        Client(**named, name="named", output=folder / "out" / "clients", listeners=[]),
    )
    for end, where, who in zip(
        ends, ("server", "clients", "clients"), ("server", "client_own", "client_named"), strict=True
    ):
        [outcome] = end
        assert (outcome.job, outcome.rounds, outcome.cancelled, outcome.error) == (job, 2, False, None)
        assert outcome.final_model == folder / "out" / where / f"final_model_pars_{job}"
        assert outcome.report == folder / "out" / where / f"report_{job}_{who}.json"
        assert outcome.report.with_suffix(".svg").read_text().startswith("<svg ")
    models = [end[0].final_model for end in ends]
    assert models[0].read_bytes() == models[1].read_bytes()
    state = torch.load(models[0], weights_only=True)
    for name, tensor in load_file(f"{models[0]}.safetensors").items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)
    reports = [json.loads(end[0].report.read_text()) for end in ends]
    assert {report["final_model"] for report in reports} == {heard.of(Finished)[0].sha256}
    [started] = heard.of(Started)
    assert (started.role, started.account, started.samples) == ("client", "own", 200)
    assert [event.round for event in heard.of(Trained)] == [1, 2]
    evaluated, committed = heard.of(Evaluated), server_heard.of(Committed)
    assert [event.round for event in evaluated] == [1, 2]
    assert [(event.loss, event.accuracy, event.samples) for event in evaluated] == [
        (event.loss, event.accuracy, event.test_samples) for event in committed
    ]
    assert [one for one, event in server_heard if isinstance(event, Opened)] == [""]
    assert {one for one, _ in heard} - {""} == {job}
    assert not list(folder.glob("final_model_pars_*"))


def test_at_several_places_and_what_fails_is_in_the_outcomes(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    job = galaxy.Job(model="mlp", rounds=1, train=galaxy.Train(learning_rate=0.1))
    first = galaxy.submit(job)
    second = galaxy.submit(job, at=elsewhere)
    broken = elsewhere / "res" / "jobs" / second / "models" / "1"
    broken.write_bytes(bytes(broken.stat().st_size))
    heard = Heard()
    client = Client("digits", shard="1/8", at=[None, elsewhere], listeners=[heard])
    served, took_part = run(Server(listeners=[]), client)
    assert [outcome.error for outcome in served] == [None]
    assert {outcome.job: type(outcome.error) for outcome in took_part} == {
        first: type(None),
        second: galaxy.ContentAlteredError,
    }
    assert [one for one, event in heard if isinstance(event, Failed)] == [second]


def test_the_first_error_is_raised_where_all_jobs_were_given_up():
    submit()
    wrong = TensorDataset(torch.rand(40, 3), torch.arange(40) % 10)
    with pytest.raises(DataError, match="samples of shape"):
        Client(wrong, listeners=[]).run()


def test_accuracy_may_be_imported_and_test_data_be_others(folder, monkeypatch):
    (folder / "measures.py").write_text("def half(output, targets):\n    return 0.5\n")
    (folder / "few.py").write_text(
        "from galaxy_fl.data.datasets import load\nfrom torch.utils.data import Subset\n\n\n"
        "def some(split):\n    return Subset(load('digits', split), range(20))\n"
    )
    job = galaxy.submit(galaxy.Job(model="mlp", rounds=1, train=galaxy.Train(learning_rate=0.1)))
    heard = Heard()
    run(
        Server(test_data="digits", accuracy="measures:half", listeners=[heard]),
        Client("digits", shard="1/8", test_data="few:some", listeners=[heard]),
    )
    assert [(event.accuracy, event.test_samples) for event in heard.of(Committed)] == [(0.5, 360)]
    assert [event.samples for event in heard.of(Evaluated)] == [20]
    assert {event.final_model for event in heard.of(Finished)} == {str(folder / f"final_model_pars_{job}")}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Client(None), "there are no data to train on"),
        (lambda: Client("digits", name="a/b"), "name is 'a/b'"),
        (lambda: Client("digits", name=1), "name is 1, expected a text"),
        (lambda: Server(name="a/b"), "name is 'a/b'"),
        (lambda: Client("digits", listeners=print), "expected a list of functions"),
        (lambda: Server(listeners=[1]), "expected a list of functions"),
        (lambda: Client("digits", trust="0xab"), r"expected a list: trust=\['0xab'\]"),
        (lambda: Client("digits", concurrency=0), "concurrency is 0"),
        (lambda: Client("digits", threads=0), "threads is 0"),
        (lambda: Client("digits", shard="3/2"), "3/2"),
        (lambda: Client("digits", shard=1), "shard is 1"),
        (lambda: Client("digits", partition="skewed"), "partition 'skewed'"),
        (lambda: Client([(0, 0)], shard="1/2"), "divide data given by name"),
        (lambda: Client("digits", accuracy="half"), "expected module:function"),
        (lambda: Client("digits", at=[]).run(), "there is no place to look for jobs in"),
        (lambda: Client("digits", colour=1).run(), "colour"),
        (lambda: Server(colour=1).run(), "colour"),
        (lambda: Server(at="ftp://host").run(), "expected the URL"),
    ],
)
def test_what_is_wrong_is_said_at_once(made, said):
    with pytest.raises(ConfigurationError, match=said):
        made()


@pytest.mark.parametrize("made", [lambda: Client("digit"), lambda: Server(test_data="digit")])
def test_an_unknown_data_set_is_an_error_before_jobs_are_looked_for(made):
    with pytest.raises(DataError, match="unknown data set 'digit': use one of digits"):
        made()


def test_a_folder_that_can_not_be_written_to_is_named_before_anything_is_trained(folder):
    submit()
    (folder / "file").touch()
    heard = Heard()
    with pytest.raises(ConfigurationError, match="file can't be used for what a participant leaves"):
        Client("digits", output="file", listeners=[heard]).run()
    assert not heard.of(Started)


def test_a_model_that_can_not_be_written_is_an_error_at_the_end_and_no_earlier(folder):
    job = galaxy.submit(galaxy.Job(model="mlp", rounds=1, train=galaxy.Train(learning_rate=0.1)))
    (folder / "mine" / f"final_model_pars_{job}" / "in the way").mkdir(parents=True)
    heard = Heard()
    served, failed = run(Server(listeners=[]), Client("digits", shard="1/8", output="mine", listeners=[heard]))
    assert served[0].error is None
    assert "Is a directory" in str(failed)
    [finished] = heard.of(Finished)
    assert finished.final_model is None


def test_a_report_that_can_not_be_written_ends_nothing(folder):
    job = galaxy.submit(galaxy.Job(model="mlp", rounds=1, train=galaxy.Train(learning_rate=0.1)))
    (folder / "mine" / f"report_{job}_client_0.svg" / "in the way").mkdir(parents=True)
    heard = Heard()
    _, [outcome] = run(Server(listeners=[]), Client("digits", shard="1/8", output="mine", listeners=[heard]))
    assert outcome.final_model.exists()
    [noted] = heard.of(participant.Noted)
    assert noted.message.startswith("the report can't be written: ")


def test_what_another_job_of_the_same_id_has_left_is_not_taken_for_this_ones(folder):
    job = galaxy.submit(galaxy.Job(model="mlp", rounds=1, train=galaxy.Train(learning_rate=0.1)))
    Path(f"final_model_pars_{job}").write_bytes(b"another's")
    [[outcome], _] = run(Server(listeners=[]), Client("digits", shard="1/8", listeners=[]))
    assert torch.load(outcome.final_model, weights_only=True)


def test_a_client_that_comes_when_its_job_is_over_takes_the_model_if_it_names_the_job(folder):
    job = galaxy.submit(galaxy.Job(model="mlp", rounds=1, train=galaxy.Train(learning_rate=0.1)))
    [[first], _] = run(Client("digits", shard="1/8", output="first", listeners=[]), Server(listeners=[]))
    heard = Heard()
    [[again]] = run(Client("digits", jobs=[job], output="again", listeners=[heard]))
    assert (again.job, again.rounds, again.cancelled, again.error) == (job, 1, False, None)
    assert again.final_model.read_bytes() == first.final_model.read_bytes()
    assert not heard.of(Started)
    assert len(heard.of(Finished)) == 1


def test_a_client_takes_part_in_the_jobs_that_it_names_alone(folder):
    first, second = submit(), submit()
    (place,) = meeting(folder).client_places("0", jobs=[second])
    assert list(place.jobs()) == [second]
    (place,) = meeting(folder).client_places("0")
    assert list(place.jobs()) == [first, second]


def test_a_job_that_is_not_there_is_an_error(folder):
    with pytest.raises(ContentError, match="there is no job 77 in"):
        Client("digits", jobs=["77"], listeners=[]).run()
