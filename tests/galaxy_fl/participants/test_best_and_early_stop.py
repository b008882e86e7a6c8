"""A server keeps the best model, and ends a job early, by what it measures; in a folder, and over restarts."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import galaxy_fl as galaxy
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.jobs.document import source_id
from galaxy_fl.modes.job_folder import JobsFolder
from galaxy_fl.participants.aim import Aim
from galaxy_fl.participants.events import Best, Committed, Ending, Finished
from galaxy_fl.participants.progress import Progress
from galaxy_fl.rounds.coordinator import Phase
from tests.galaxy_chain import stepping_model
from tests.galaxy_chain.stepping_model import Net, Studies
from tests.galaxy_fl.participants.test_client_and_server import Heard, run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def submit(rounds: int, **train) -> str:
    job = galaxy.Job(model="mlp", rounds=rounds, train=galaxy.Train(**{"learning_rate": 0.1, **train}))
    return galaxy.submit(job, clients=1)


def client(**more) -> galaxy.Client:
    return galaxy.Client(data="digits", shard="1/8", listeners=[], **more)


def server(**more) -> galaxy.Server:
    return galaxy.Server(test_data="digits", **{"listeners": [], **more})


def same(one: Path, other: Path) -> bool:
    """Whether two files have the same state."""
    first, second = (torch.load(path, weights_only=True) for path in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_best_round_is_kept_beside_the_last_and_a_restart_keeps_it(folder):
    # With so large a learning rate the loss goes up and down.
    job = submit(5, learning_rate=1.5)
    heard = Heard()
    [mine], [outcome] = run(client(), server(best="loss", listeners=[heard]))
    losses = {event.round: event.loss for event in heard.of(Committed)}
    best = min(losses, key=lambda number: (losses[number], number))
    assert outcome.best_round == best
    assert outcome.best_model == folder / f"best_model_pars_{job}"
    told = heard.of(Best)
    assert [event.round for event in told] == [
        number for number in losses if all(losses[number] < losses[each] for each in range(1, number))
    ]
    assert told[-1].value == losses[best]
    twin = load_file(f"{outcome.best_model}.safetensors")
    state = torch.load(outcome.best_model, weights_only=True)
    assert all(torch.equal(state[name], twin[name]) for name in twin)
    assert same(outcome.best_model, outcome.final_model) == (best == 5)
    report = json.loads(outcome.report.read_text())
    assert report["best"] == {"round": best, "metric": "loss", "value": losses[best], "sha256": told[-1].sha256}
    # Started again, it makes nothing else of it, even where the file was lost.
    before = outcome.best_model.read_bytes()
    [again] = server(best="loss").run()
    assert (again.best_round, again.best_model.read_bytes()) == (best, before)
    assert mine.final_model == outcome.final_model


def test_a_job_ends_once_a_condition_holds_and_its_clients_have_its_model(folder):
    job = submit(40)
    heard, clients = Heard(), Heard()
    [mine], [outcome] = run(
        galaxy.Client(data="digits", shard="1/8", test_data="digits", output="client", listeners=[clients]),
        server(stop_when="accuracy>=0.5", listeners=[heard], output="server"),
    )
    accuracies = [event.accuracy for event in heard.of(Committed)]
    assert accuracies[-1] >= 0.5 > max([0, *accuracies[:-1]])
    rounds = len(accuracies)
    assert rounds < 40
    [ending] = heard.of(Ending)
    assert (ending.round, ending.last) == (rounds, rounds)
    assert ending.reason.startswith(f"after round {rounds} accuracy >= 0.5 holds: accuracy 0.")
    for each in (outcome, mine):
        assert (each.rounds, each.cancelled, each.error) == (rounds, False, None)
    assert same(outcome.final_model, mine.final_model)
    [finished] = clients.of(Finished)
    assert (finished.rounds, finished.planned) == (rounds, 40)
    assert JobsFolder(folder).open(job).state.phase is Phase.FINISHED
    # Whoever comes later finds a job that is over, with its model.
    [late] = client(jobs=[job], name="late", output="late").run()
    assert same(late.final_model, outcome.final_model)


def test_a_further_metric_of_the_job_is_a_measure_like_any(folder):
    """What the model's own step says; those of torchmetrics take the same way."""
    galaxy.submit(galaxy.Job(Net, rounds=2, train=galaxy.Train(learning_rate=0.1)), clients=1)
    trust, heard = [source_id(Path(stepping_model.__file__).read_bytes())], Heard()
    _, [outcome] = run(
        galaxy.Client(data=Studies(1, 50), trust=trust, listeners=[]),
        galaxy.Server(
            test_data=Studies(9, 30), trust=trust, best="longest:max", stop_when="longest>=0.01", listeners=[heard]
        ),
    )
    [committed] = heard.of(Committed)
    [best] = heard.of(Best)
    assert (best.metric, best.value, outcome.best_round) == ("longest", committed.metrics["longest"], 1)


@pytest.mark.extended  # three processes import torchmetrics, which takes seconds
def test_a_metric_of_torchmetrics_is_a_measure_like_any(folder):
    submit(2, metrics={"f1_score": {"task": "multiclass", "num_classes": 10, "average": "macro"}})
    heard = Heard()
    _, [outcome] = run(client(), server(best="F1Score:max", stop_when="F1Score>=0.01", listeners=[heard]))
    [committed] = heard.of(Committed)
    [best] = heard.of(Best)
    assert (best.metric, best.value, outcome.best_round) == ("F1Score", committed.metrics["F1Score"], 1)


def test_rounds_without_a_better_model_end_a_job(folder):
    submit(40, learning_rate=1e-6)  # it learns next to nothing, so that no round is better by accuracy
    heard = Heard()
    _, [outcome] = run(client(), server(best="accuracy", patience=2, listeners=[heard]))
    accuracies = [event.accuracy for event in heard.of(Committed)]
    best = accuracies.index(max(accuracies)) + 1
    assert outcome.rounds == best + 2
    assert f"2 rounds, up to round {best + 2}, brought no better accuracy" in heard.of(Ending)[0].reason


def test_a_server_that_died_before_it_measured_ends_the_job_when_it_comes_again(folder):
    job = submit(40)
    heard = Heard()
    # The first server knows nothing of the condition; it is as if it had died before each evaluation.
    first = galaxy.Server(listeners=[Stop(heard, 2)])
    with pytest.raises(Enough):
        run_until(first, client())
    folder_of_job = JobsFolder(folder).open(job)
    done = folder_of_job.state.round - 1
    assert done >= 2
    heard.clear()
    _, [outcome] = run(client(jobs=[job]), server(best="accuracy", stop_when="accuracy>=0.05", listeners=[heard]))
    assert outcome.rounds == done
    assert (outcome.best_round, heard.of(Committed)) == (done, [])


class Enough(Exception):
    """The server dies."""


class Stop:
    """A listener that ends a server after some rounds."""

    def __init__(self, heard, rounds):
        self.heard, self.rounds = heard, rounds

    def __call__(self, event, job):
        self.heard(event, job)
        if isinstance(event, Committed) and event.round == self.rounds:
            raise Enough


def run_until(first, second):
    """Run both, until the first has failed; raise why."""
    threading.Thread(target=_quietly, args=(second,), daemon=True).start()
    first.run()


def _quietly(participant):
    with contextlib.suppress(Exception):  # its server has given up
        participant.run()


def test_what_can_not_be_reached_is_said_before_a_job_is_served(folder):
    with pytest.raises(ConfigurationError, match=r"test_data=…"):
        galaxy.Server(best="loss")
    submit(1)
    for name in ("f1:max", "error:min"):
        with pytest.raises(ConfigurationError, match=rf"are measured by accuracy, loss here, not by {name[:-4]}"):
            server(best=name).run()
    galaxy.submit(galaxy.Job(model="mlp", rounds=1, method=galaxy.Distillation(alpha=0.5)), clients=2, at="distils")
    with pytest.raises(ConfigurationError, match="distils: its server has no model to evaluate"):
        server(at="distils", best="loss").run()
    galaxy.submit(galaxy.Job(model="mlp", rounds=1, personal=["3.*"]), clients=1, at="personal")
    with pytest.raises(ConfigurationError, match=r"has personal tensors, such as '3.weight', which stay with the cl"):
        server(at="personal", stop_when="loss<=1").run()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"best": "f1"}, "write f1:max or f1:min"),
        ({"best": "a b"}, "best is 'a b', expected the name of a measure"),
        ({"best": 3}, "best is 3, expected"),
        ({"stop_when": "accuracy>0.9"}, "stop_when is 'accuracy>0.9', expected a measure, >= or <=, and a number"),
        ({"stop_when": ["loss<=nan"]}, "stop_when is 'loss<=nan'"),
        ({"stop_when": "loss<=1e999"}, "stop_when is"),
        ({"stop_when": "accuracy>=95"}, "stop_when is 'accuracy>=95', but accuracy is a fraction from 0 to 1"),
        ({"patience": 3}, "nothing says which model is better"),
        ({"best": "loss", "patience": 0}, "patience is 0, expected a whole number of rounds from 1 on"),
        ({"best": "loss", "patience": True}, "patience is True"),
    ],
)
def test_bad_aims_are_named(given, message):
    with pytest.raises(ConfigurationError) as refused:
        Aim.of(**given)
    assert message in str(refused.value)


def test_reasons_to_stop_and_the_best_follow_from_the_measurements_alone():
    aim = Aim.of("loss", ["accuracy>=0.9", "loss<=0.1"], 2)
    rounds = {1: {"loss": 0.5, "accuracy": 0.6}, 2: {"loss": 0.4, "accuracy": 0.6}}
    assert (aim.best_round(rounds), aim.reason_to_stop(rounds)) == (2, None)
    assert "accuracy >= 0.9 holds" in aim.reason_to_stop(rounds | {3: {"loss": 0.45, "accuracy": 0.9}})
    assert "loss <= 0.1 holds" in aim.reason_to_stop(rounds | {3: {"loss": 0.1}})
    # A round that has diverged is one without a better model; an equal one, too.
    assert aim.reason_to_stop(rounds | {3: {}}) is None
    assert "2 rounds, up to round 4, brought no better loss" in aim.reason_to_stop(rounds | {3: {}, 4: {"loss": 0.4}})
    assert "no model could be measured" in aim.reason_to_stop({1: {}, 2: {}})
    # It stays so, whatever comes after.
    assert aim.reason_to_stop(rounds | {3: {}, 4: {}, 5: {"loss": 0.3}}) is not None


def test_what_a_ledger_takes_back_is_forgotten(tmp_path):
    path = tmp_path / "best.json"
    progress = Progress(Aim.of("accuracy"), "ab", path)
    for number, value in ((1, 0.5), (2, 0.9), (3, 0.8)):
        progress.note(number, f"{number}" * 64, {"accuracy": value})
    assert progress.best.round == 2
    progress.note(2, "f" * 64, {"accuracy": 0.4})  # committed anew
    assert progress.best.round == 1
    assert not progress.knows(3)
    progress.save()
    assert Progress(Aim.of("accuracy"), "ab", path).best == progress.best
    assert Progress(Aim.of("accuracy"), "another job's", path).best is None
    path.write_text("{half")
    assert Progress(Aim.of("accuracy"), "ab", path).best is None


def test_a_clusters_clients_end_with_the_model_of_a_job_that_ends_early(folder):
    submit(40)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    clients = Heard()
    [mine], [outcome] = run(
        galaxy.Client(data="digits", shard="1/8", at=url, output="client", listeners=[clients]),
        server(at=url, best="loss", stop_when="accuracy>=0.4", output="server"),
    )
    assert (mine.rounds, mine.cancelled, mine.error) == (outcome.rounds, False, None)
    assert outcome.rounds < 40
    assert same(outcome.final_model, mine.final_model)
    assert [(event.rounds, event.planned) for event in clients.of(Finished)] == [(outcome.rounds, 40)]
