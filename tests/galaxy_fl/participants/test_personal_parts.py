"""A client of a job with personal tensors that starts again: with what it has kept, or without."""

from __future__ import annotations

import shutil
import threading

import pytest
import torch

import galaxy_fl as galaxy
from galaxy_fl.modes.job_folder import JobsFolder
from galaxy_fl.rounds.kept import kept_folder

JOB = galaxy.Job("mlp", rounds=3, train=galaxy.Train(learning_rate=0.1), personal=["3.*"])


class Stop(Exception):
    """Ends a client, as a crash would."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def serve():
    thread = threading.Thread(target=galaxy.Server(listeners=[]).run, daemon=True)
    thread.start()
    return thread


def until_it_stops(after):
    """A client that dies when it is told of the training of a round, before anybody hears of its update."""
    said = []

    def listen(event, job):
        said.append(event)
        if isinstance(event, galaxy.events.Trained) and event.round == after:
            raise Stop

    galaxy.Client(data="digits", shard="1/20", name="1", listeners=[listen]).take_part()
    return said


def again():
    said = []
    (outcome,) = galaxy.Client(
        data="digits", shard="1/20", name="1", listeners=[lambda event, job: said.append(event)]
    ).run()
    notes = [event.message for event in said if isinstance(event, galaxy.events.Noted)]
    return torch.load(outcome.final_model, weights_only=True), notes


@pytest.mark.parametrize("loses", [False, True])
def test_a_client_continues_from_its_own_or_says_that_it_can_not(folder, loses):
    job = galaxy.submit(JOB, clients=1)
    server = serve()
    until_it_stops(after=2)
    document = JobsFolder(folder).open(job).document
    kept = kept_folder(folder, job, "1", document)
    assert (kept / "own-2").exists()
    if loses:
        shutil.rmtree(kept)
    model, notes = again()
    server.join(120)
    lost = [note for note in notes if "personal tensors ('3.weight', '3.bias') is not in" in note]
    assert (len(lost) == 1) == loses
    undisturbed = folder / "undisturbed"
    other = galaxy.submit(JOB, clients=1, at=undisturbed)
    helper = threading.Thread(target=galaxy.Server(at=undisturbed, output=undisturbed, listeners=[]).run, daemon=True)
    helper.start()
    (outcome,) = galaxy.Client(
        data="digits", shard="1/20", name="1", at=undisturbed, output=undisturbed, listeners=[]
    ).run()
    helper.join(120)
    assert other != job
    expected = torch.load(outcome.final_model, weights_only=True)
    assert all(torch.equal(model[name], value) for name, value in expected.items()) != loses


def test_hosted_clients_have_a_final_model_each_and_a_server_says_what_its_own_is(folder):
    galaxy.submit(JOB, clients=2)
    said = []
    server = galaxy.Server(test_data="digits", listeners=[lambda event, job: said.append(event)])
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    outcomes = galaxy.Client(data="digits", shards=["1/20", "2/20"], listeners=[]).run()
    thread.join(120)
    one, other = (torch.load(outcome.final_model, weights_only=True) for outcome in outcomes)
    assert torch.equal(one["1.weight"], other["1.weight"])
    assert not torch.equal(one["3.weight"], other["3.weight"])
    notes = [event.message for event in said if isinstance(event, galaxy.events.Noted)]
    assert any("its models are not evaluated here: tensors such as '3.weight' are personal" in note for note in notes)
    assert any("has the personal tensor '3.weight' and 1 more as the job began with it" in note for note in notes)
