"""Submitting a job: what is published, and what is refused before anything is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import galaxy_fl
from galaxy_fl import (
    Averaging,
    ConfigurationError,
    Distillation,
    EncodingError,
    Job,
    JobDocumentError,
    Train,
    submit,
)
from galaxy_fl.core.job_manager import JobManager
from galaxy_fl.core.strategy import FederateStrategy, TrainStrategyFactory
from galaxy_fl.jobs.document import JobDocument, source_id
from galaxy_fl.vectors import encode, read_vector
from tests.galaxy_fl.core import models
from tests.galaxy_fl.core.models import Net
from tests.galaxy_fl.core.submitted import Options, Sized


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def document(job_id, folder=Path()):
    return JobDocument.from_bytes((folder / "res/jobs" / job_id / "job.json").read_bytes())


def terms(job_id):
    return json.loads(Path(f"res/jobs/{job_id}/terms.json").read_text())


def vector(job_id):
    return read_vector(f"res/jobs/{job_id}/models/1", document(job_id).tensors.parameters)


def test_an_instance_with_its_weights(capfd):
    model = Net()
    job_id = submit(Job(model=model, rounds=3, train=Train(loss="nll", batch_size=16), weighting="uniform"))
    assert capfd.readouterr() == ("", "")
    published = document(job_id)
    source = Path(models.__file__).read_bytes()
    assert (published.model.source, published.model.class_name) == (source_id(source), "Net")
    assert (published.name, published.output, published.weighting) == ("Net", "probabilities", "uniform")
    assert (published.rule.name, published.distils, published.train.batch_size) == ("weighted_mean", False, 16)
    assert terms(job_id) == {"rounds": 3, "min_clients": 1, "max_clients": None, "deadline": 600, "fan_in": 16}
    np.testing.assert_array_equal(vector(job_id), encode(model.state_dict(), published.tensors))


def test_a_class_with_weights_by_the_seed():
    jobs = [submit(Job(Net, rounds=1, train=Train(loss="nll", seed=seed))) for seed in (1, 1, 2)]
    first, again, other = map(vector, jobs)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_model_that_comes_with_galaxy():
    job_id = submit(Job("mlp", rounds=1, model_options={"hidden": 8}, name="digits", notes="small"))
    published = document(job_id)
    assert (published.model.builtin, published.model.options) == ("mlp", {"hidden": 8})
    assert (published.name, published.notes, published.output) == ("digits", "small", "logits")
    with pytest.raises(JobDocumentError, match="hiden"):
        submit(Job("mlp", rounds=1, model_options={"hiden": 8}))


def test_a_job_that_is_submitted_twice_is_two_jobs():
    job = Job("mlp", rounds=1)
    one, other = submit(job), submit(job)
    assert one != other
    assert document(one) == document(other)


def test_a_number_of_clients_is_how_many_a_round_waits_for_and_ends_with():
    assert terms(submit(Job("mlp", rounds=1), clients=2)) == {
        "rounds": 1,
        "min_clients": 2,
        "max_clients": 2,
        "deadline": 600,
        "fan_in": 16,
    }
    for wrong in (0, 4097, 2.0, "2"):
        with pytest.raises(JobDocumentError, match="clients is"):
            submit(Job("mlp", rounds=1), clients=wrong)
    with pytest.raises(JobDocumentError, match="give one or the other"):
        submit(Job("mlp", rounds=1, min_clients=2), clients=3)


def test_a_distillation():
    published = document(submit(Job(Net, rounds=1, method=Distillation(alpha=1, reduction="mean"))))
    assert (published.rule.name, published.distillation_alpha, published.distillation_reduction) == ("relay", 1, "mean")


def test_robust_rules():
    trimmed = Job("mlp", rounds=1, method=Averaging("trimmed_mean", trim=1))
    published = document(submit(trimmed, clients=3))
    assert (published.rule.name, published.rule.parameters) == ("trimmed_mean", 1)
    assert document(submit(Job("mlp", rounds=1, method=Averaging("coordinate_median")))).rule.parameters == 0
    with pytest.raises(JobDocumentError, match="leaves out 2 updates of a round, and min_clients is 2"):
        submit(trimmed, clients=2)
    with pytest.raises(JobDocumentError, match="max_clients is 65, and the rule trimmed_mean takes 64"):
        submit(trimmed, clients=65)


def test_partial_sums_stand_for_no_more_than_four_levels_of_fan_in():
    assert terms(submit(Job("mlp", rounds=1, fan_in=2), clients=16))["fan_in"] == 2
    with pytest.raises(JobDocumentError, match="max_clients is 17, and partial sums of fan_in 2 stand for 16 updates"):
        submit(Job("mlp", rounds=1, fan_in=2), clients=17)
    assert terms(submit(Job("mlp", rounds=1, fan_in=8), clients=4096))["max_clients"] == 4096
    median = Job("mlp", rounds=1, fan_in=2, method=Averaging("coordinate_median"))
    assert terms(submit(median, clients=17))["max_clients"] == 17  # which has no sums


def test_at_a_folder(tmp_path):
    job_id = submit(Job("mlp", rounds=1), at=tmp_path / "elsewhere")
    assert document(job_id, tmp_path / "elsewhere").name == "mlp"
    assert not Path("res").exists()


@pytest.mark.parametrize(
    ("job", "more", "kind", "said"),
    [
        (Options(p=0.1), {}, JobDocumentError, r"layers\.2\.p is 0\.1, the class makes 0\.5"),
        (Sized(9), {}, JobDocumentError, r"'layers\.1\.weight' of the model has the shape \(9, 64\)"),
        (Sized().requires_grad_(False), {}, JobDocumentError, "nothing to train"),
        (Sized, {"at": "ftp://host"}, ConfigurationError, "at is 'ftp://host'"),
        (Sized, {"at": 3}, ConfigurationError, "at is 3, expected a folder"),
        (Sized, {"at": "https://host:9763"}, ConfigurationError, "can't be submitted to https://host:9763"),
        (Sized, {"acount": "alice"}, ConfigurationError, "acount"),
    ],
)
def test_what_is_refused_before_there_is_a_job(folder, job, more, kind, said):
    with pytest.raises(kind, match=said):
        submit(Job(job, rounds=1), **more)
    assert not list(folder.glob("res/jobs/*"))


def test_a_class_of_torch_is_not_a_model_of_ones_own():
    with pytest.raises(JobDocumentError, match="the class Sequential comes with torch.*write a class of your own"):
        Job(torch.nn.Sequential(torch.nn.Linear(2, 2)), rounds=1)


def test_no_job_at_all():
    with pytest.raises(JobDocumentError, match=r"job is <class .*Net'>, expected galaxy_fl\.Job"):
        submit(Net)


def test_a_source_that_is_not_there():
    with pytest.raises(JobDocumentError, match=r"nowhere\.py can't be read"):
        submit(Job(Net, rounds=1, source="nowhere.py"))


def test_a_weight_that_is_not_a_number():
    model = Net()
    torch.nn.init.constant_(model.out.bias, float("nan"))
    with pytest.raises(EncodingError, match=r"out\.bias"):
        submit(Job(model, rounds=1))


def test_the_output_on_a_sample_is_compared(monkeypatch):
    job = Job(Sized(), rounds=1)
    submit(job, sample=torch.rand(3, 1, 8, 8))
    monkeypatch.setattr(Sized, "forward", lambda self, x: 2 * self.layers(x))
    with pytest.raises(JobDocumentError, match="on the sample"):
        submit(job, sample=torch.rand(3, 1, 8, 8))


@pytest.mark.parametrize("distils", [False, True])
def test_pfls_manager_makes_the_same_job(distils):
    model = Net()
    strategy = TrainStrategyFactory(learning_rate=0.1, loss_function="L1loss", batch_size=8, epoch=2, seed=3)
    fed_strategy = FederateStrategy.FED_DISTILLATION if distils else FederateStrategy.FED_AVG
    made = JobManager().generate_job(
        train_strategy=strategy, model=Net, fed_strategy=fed_strategy, distillation_alpha=0.5, min_clients=2
    )
    JobManager().submit_job(made, model)
    train = Train(learning_rate=0.1, loss="l1", batch_size=8, seed=3)
    method = Distillation(alpha=0.5) if distils else Averaging()
    job_id = submit(Job(model, rounds=2, train=train, method=method, min_clients=2))
    assert document(job_id) == document(made.job_id)
    assert terms(job_id) == terms(made.job_id)
    np.testing.assert_array_equal(vector(job_id), vector(made.job_id))


def test_the_migration_page_names_what_there_is():
    text = (Path(__file__).parents[3] / "docs" / "migration.md").read_text()
    named = set(re.findall(r"galaxy\.([A-Za-z]+)", text)) - {"toml"}
    assert len(named) > 5
    assert named <= set(galaxy_fl.__all__)
