"""Private jobs: how they are described, what is refused, and whole ones in a folder."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

import galaxy_fl as galaxy
from galaxy_fl.exceptions import ConfigurationError, JobDocumentError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.privacy import ExamplePrivacy, UpdatePrivacy
from galaxy_fl.modes import folder_coordinators
from galaxy_fl.modes.job_folder import JobsFolder
from galaxy_fl.participants.events import Exhausted, Failed, Finished, Spent, Started, Trained
from galaxy_fl.privacy.accountant import epsilon_of, mechanism_of
from galaxy_fl.rounds.kept import kept_folder
from galaxy_fl.training.private_models import check_private_model
from galaxy_fl.vectors import Layout
from tests.galaxy_fl.participants.test_client_and_server import Heard, run

UPDATE = {"mode": "update", "clip": 0.5, "noise_multiplier": 2.0, "delta": 1e-5}
EXAMPLE = {"mode": "example", "max_grad_norm": 1.0, "noise_multiplier": 2.0, "delta": 1e-5}


def job(privacy=UPDATE, rounds=2, **more):
    return galaxy.Job(model="mlp", rounds=rounds, train=galaxy.Train(learning_rate=0.1), privacy=privacy, **more)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip": 0}, r"privacy.clip: expected a number above 0.*found 0"),
        ({"clip": -1.0}, r"privacy.clip: expected a number above 0"),
        ({"clip": float("inf")}, r"privacy.clip: .*finite number"),
        ({"noise_multiplier": -2.0}, r"privacy.noise_multiplier: expected a number from 0.01 to 1000.*found -2"),
        ({"noise_multiplier": 0}, r"privacy.noise_multiplier: expected a number from 0.01 to 1000"),
        ({"noise_multiplier": float("nan")}, r"privacy.noise_multiplier: .*finite number"),
        ({"delta": 0.0}, r"privacy.delta: expected a probability above 0 and below 1"),
        ({"delta": 1.0}, r"privacy.delta: expected a probability above 0 and below 1"),
        ({"stop_at_epsilon": 0.0}, r"privacy.stop_at_epsilon: expected a number above 0"),
        ({"max_grad_norm": 1.0}, r"privacy.max_grad_norm: there is no such key"),
        ({"mode": "central"}, r"privacy.mode: expected one of 'example', 'update' .found 'central'"),
        ({"clip": "1"}, r"privacy.clip: .*number"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(change, message):
    with pytest.raises(JobDocumentError, match=message):
        job(UPDATE | change)


def test_a_mode_has_its_own_keys():
    with pytest.raises(JobDocumentError, match=r"privacy.max_grad_norm: .*required"):
        job({key: value for key, value in EXAMPLE.items() if key != "max_grad_norm"})
    with pytest.raises(JobDocumentError, match=r"Job: privacy is 3.0, expected a mapping"):
        job(3.0)
    with pytest.raises(JobDocumentError, match=r"privacy.max_grad_norm: expected a number above 0"):
        job(EXAMPLE | {"max_grad_norm": 0.0})


def test_a_distillation_is_not_private():
    with pytest.raises(JobDocumentError, match=r"privacy and distillation exclude each other: .* leave out"):
        job(method=galaxy.Distillation(alpha=0.5))


def test_a_document_carries_it_and_one_without_is_as_it_was():
    layout = [{"name": "w", "shape": [9], "fraction_bits": 24}]
    private = job(UPDATE | {"stop_at_epsilon": 3}).document(model={"builtin": "mlp"}, output="logits", layout=layout)
    assert JobDocument.from_bytes(private.to_bytes()) == private
    assert private.privacy == UpdatePrivacy(**UPDATE, stop_at_epsilon=3.0)
    plain = job(None).document(model={"builtin": "mlp"}, output="logits", layout=layout)
    assert b"privacy" not in plain.to_bytes()


# ---- Models ---------------------------------------------------------------------------------------------------


class Buffered(nn.Module):
    def __init__(self, inner=None, **buffers):
        super().__init__()
        self.inner = inner or nn.Linear(4, 4)
        for name, (value, persistent) in buffers.items():
            self.register_buffer(name, value, persistent=persistent)


def check(model, privacy=UPDATE, **bits):
    buffers = {name for name, _ in model.named_buffers()}
    state = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    layout = Layout.of(state, buffers).with_bits(bits).padded()
    check_private_model(model, UpdatePrivacy(**privacy), layout)


def test_buffers_that_travel_are_refused_by_name():
    check(Buffered())
    check(Buffered(scale=(torch.ones(3), False), steps=(torch.zeros(1, dtype=torch.int64), True)))
    with pytest.raises(JobDocumentError, match=r"privacy: the buffer 'scale' travels .*persistent=False"):
        check(Buffered(scale=(torch.ones(3), True)))


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(4), nn.InstanceNorm1d(4, track_running_stats=True)])
def test_running_statistics_are_refused_by_name(norm):
    with pytest.raises(
        JobDocumentError, match=rf"'inner.running_mean' is a running statistic of {type(norm).__name__}"
    ):
        check(Buffered(norm))


def test_noise_that_the_fixed_point_can_not_carry_is_refused_by_name():
    with pytest.raises(JobDocumentError, match=r"steps of the fixed point of 'inner.weight', expected 1 to"):
        check(Buffered(), UPDATE | {"clip": 1e-9})
    with pytest.raises(JobDocumentError, match=r"fixed point of 'inner.weight'.*fraction_bits, 24"):
        check(Buffered(), UPDATE | {"clip": 1e3})
    check(Buffered(), UPDATE | {"clip": 1e3}, **{"inner.*": 8})


class WithNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)


def test_a_model_that_is_not_private_enough_is_not_submitted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobDocumentError, match=r"'norm.running_mean' is a running statistic of BatchNorm1d"):
        galaxy.submit(galaxy.Job(model=WithNorm, output="logits", rounds=1, privacy=UPDATE))


# ---- Whole jobs -----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def client(number, heard, **more):
    return galaxy.Client("digits", shard=f"{number}/8", name=str(number), listeners=[heard], **more)


def test_a_client_whose_budget_is_spent_leaves_and_the_job_goes_on(folder):
    number = galaxy.submit(job(rounds=3))
    here = {name: threading.Event() for name in ("first", "second")}

    class Together(Heard):
        """Trains once the other takes part, so that each round waits for both."""

        def __init__(self, name, other):
            super().__init__()
            self.name, self.other = name, other

        def __call__(self, event, job):
            super().__call__(event, job)
            if isinstance(event, Spent):
                here[self.name].set()
                assert here[self.other].wait(60)

    first, second = Together("first", "second"), Together("second", "first")
    epsilon_of_two = 7.2
    ends = run(
        galaxy.Server(listeners=[]),
        client(1, first),
        client(2, second, stop_at_epsilon=epsilon_of_two),
    )
    assert [outcome.error for [outcome] in ends] == [None] * 3
    assert [event.round for event in first.of(Trained)] == [1, 2, 3]
    assert [event.round for event in second.of(Trained)] == [1, 2]
    [ended] = second.of(Exhausted)
    assert ended.epsilon < epsilon_of_two < ended.next
    assert [event.stop_at for event in second.of(Spent)] == [epsilon_of_two] * 2
    assert second.of(Started)[0].notes[-1].startswith("private (all data of this client): epsilon 9.")
    assert second.of(Finished)[0].sha256 == first.of(Finished)[0].sha256
    report = json.loads((folder / f"report_{number}_client_2.json").read_text())
    epsilons = [line["epsilon"] for line in report["rounds"]]
    assert epsilons[:2] == [event.epsilon for event in second.of(Spent)]
    assert epsilons[0] < epsilons[1]


def test_two_runs_of_one_job_and_seed_differ_in_nothing_but_the_noise(folder):
    models = []
    for name in ("a", "b"):
        place = folder / name
        galaxy.submit(job(rounds=1), at=place)
        [outcome], _ = run(
            galaxy.Client("digits", shard="1/8", at=place, output=place, listeners=[]),
            galaxy.Server(at=place, listeners=[]),
        )
        models.append(torch.load(outcome.final_model, weights_only=True))
    values = [np.concatenate([tensor.numpy().ravel() for tensor in model.values()]) for model in models]
    assert (values[0] == values[1]).mean() < 0.01
    # The difference of two noises of deviation 0.5 * 2 each.
    assert abs(np.std(values[0] - values[1]) - np.sqrt(2)) < 7 * np.sqrt(2) / np.sqrt(2 * len(values[0]))


def test_whoever_wants_privacy_takes_part_in_no_other_job(folder):
    galaxy.submit(job(None, rounds=1))
    heard = Heard()
    with pytest.raises(ConfigurationError, match=r"stop_at_epsilon is 3, but job \d+ is not private"):
        client(1, heard, stop_at_epsilon=3).run()
    assert heard.of(Failed)
    for wrong in (0, -1.0, float("nan"), "3", True):
        with pytest.raises(ConfigurationError, match=r"stop_at_epsilon is .*, expected a number above 0"):
            client(1, heard, stop_at_epsilon=wrong)


@pytest.mark.extended  # each worker imports Opacus; an example of the manual runs one, too
def test_a_job_that_protects_examples_says_what_each_client_spends(folder):
    number = galaxy.submit(job(EXAMPLE | {"stop_at_epsilon": 50.0}, rounds=2), clients=2)
    first, second = Heard(), Heard()
    ends = run(galaxy.Server(listeners=[]), client(1, first), client(2, second))
    assert [outcome.error for [outcome] in ends] == [None] * 3
    for heard in (first, second):
        [started] = heard.of(Started)
        assert started.notes[-1].startswith("private (each example): epsilon ")
        spec, samples = galaxy.Train(learning_rate=0.1).specification(), started.samples
        one = mechanism_of(ExamplePrivacy(**EXAMPLE), spec, samples)
        assert [event.epsilon for event in heard.of(Spent)] == [epsilon_of([one] * n, 1e-5) for n in (1, 2)]
        assert {event.samples for event in heard.of(Trained)} == {samples}
        assert {event.batches for event in heard.of(Trained)} == {-(-samples // 32)}
    assert first.of(Finished)[0].sha256 == second.of(Finished)[0].sha256
    assert (folder / f"final_model_pars_{number}").exists()


# ---- With other things that a job may have ---------------------------------------------------------------------


@pytest.mark.parametrize("rule", [pytest.param("weighted_mean", marks=pytest.mark.extended), "fedadam"])
def test_personal_tensors_are_neither_noised_nor_handed_in(folder, rule):
    """They are as training left them, to the bit; what travels is not."""
    own, shared = [], []
    for name, privacy in (("plain", None), ("private", UPDATE)):
        place = folder / name
        method = galaxy.Averaging(rule)
        number = galaxy.submit(job(privacy, rounds=1, personal=["3.*"], method=method), at=place)
        document = JobsFolder(place).open(number).document
        handed = []

        def watch(event, job, place=place, handed=handed):
            if isinstance(event, Trained):
                handed.extend(path.stat().st_size for path in place.rglob("updates/**/*") if path.is_file())

        [outcome], _ = run(
            galaxy.Client("digits", shard="1/8", name="1", at=place, output=place, listeners=[watch]),
            galaxy.Server(at=place, output=place, listeners=[]),
        )
        assert outcome.error is None
        assert {tensor.name for tensor in document.tensors.tensors}.isdisjoint({"3.weight", "3.bias"})
        assert set(handed) <= {4 * document.tensors.parameters}
        kept = kept_folder(place, number, "1", document)
        own.append(load_file(kept / "own-1"))
        assert not (kept / "raw").exists()
        assert (kept / "spent.json").exists() == (privacy is not None)
        shared.append(torch.load(outcome.final_model, weights_only=True)["1.weight"])
    assert own[0].keys() == {"3.weight", "3.bias"}
    assert all(torch.equal(own[0][name], value) for name, value in own[1].items())
    assert (shared[0] == shared[1]).float().mean() < 0.6  # a step of Adam knows two directions, and no size


def test_noise_has_to_suit_what_a_job_begins_with(folder):
    number = galaxy.submit(job(None, rounds=1, fraction_bits={"*": 2}))
    run(galaxy.Server(listeners=[]), client(1, Heard()))
    small = UPDATE | {"clip": 0.01}
    with pytest.raises(JobDocumentError, match=r"0.08 steps of the fixed point of '1.weight', expected 1 to"):
        galaxy.submit(job(small, rounds=1, start=f"{number}:last"))
    galaxy.submit(job(small, rounds=1, start=f"{number}:last", fraction_bits={"*": 20}))
    with pytest.raises(JobDocumentError, match=r"frozen and personal tensors of round 1 of job \d+ are not those"):
        galaxy.submit(job(None, rounds=1, start=f"{number}:last", personal=["3.*"]))


class Telling(Dataset):
    """Its errors tell of the data."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        raise ValueError("patient 17 has gout")


def test_a_client_that_can_not_go_on_says_so_and_not_why(folder, monkeypatch):
    monkeypatch.setattr(folder_coordinators, "LEAST_PATIENCE", 0)
    for privacy in (UPDATE, None):
        place = folder / ("plain" if privacy is None else "private")
        galaxy.submit(job(privacy, deadline=0), clients=1, at=place)
        mine, ended = run(
            galaxy.Client(Telling(), name="1", at=place, listeners=[]), galaxy.Server(at=place, listeners=[])
        )
        assert "gout" in str(mine)
        assert ("gout" in str(ended)) == (privacy is None)
        told = [path for path in place.rglob("*") if path.is_file() and b"gout" in path.read_bytes()]
        assert bool(told) == (privacy is None)
    assert "every client that came has given up" in str(ended)
