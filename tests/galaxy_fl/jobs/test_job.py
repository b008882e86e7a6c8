"""A job as its author describes it: what is wrong is said where it is written."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from galaxy_fl import Averaging, ConfigurationError, Distillation, Job, JobDocumentError, Train
from galaxy_fl.jobs.main_guard import loading_model
from tests.galaxy_fl.core import models
from tests.galaxy_fl.core.models import Net


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": None}, "model is None, expected a class of torch.nn.Module"),
        ({"model": 3}, "model is 3, expected"),
        ({"model": dict}, "model is <class 'dict'>, expected"),
        ({"model": lambda: Net()}, "model is <function .*expected"),
        ({"model": "resnet18"}, "unknown builtin model 'resnet18': use one of .*torchvision:resnet18"),
        ({"model": models.local_class()}, "not on the top level of .*models.py"),
        ({"model": models.local_class()()}, "not on the top level of .*models.py"),
        ({"model": "cnn", "source": "model.py"}, "source is given"),
        ({"model_options": {"width": 3}}, "participants make a class without arguments"),
        ({"rounds": 0}, "rounds is 0, expected a whole number from 1"),
        ({"rounds": 2.0}, r"rounds is 2\.0"),
        ({"rounds": True}, "rounds is True"),
        ({"min_clients": 0}, "min_clients is 0"),
        ({"min_clients": 3, "max_clients": 2}, "max_clients is 2"),
        ({"max_clients": 4097}, "max_clients is 4097, expected a whole number from 1 to 4096"),
        ({"fan_in": 1}, "fan_in is 1, expected a whole number from 2 to 64"),
        ({"fan_in": 65}, "fan_in is 65"),
        ({"fan_in": 16.0}, r"fan_in is 16\.0"),
        ({"deadline": -1}, "deadline is -1"),
        ({"deadline": "soon"}, "deadline is 'soon'"),
        ({"train": 0.1}, r"train is 0\.1, expected galaxy_fl\.Train"),
        ({"train": {"loss": "nll"}}, r"expected galaxy_fl\.Train"),
        ({"method": "distillation"}, r"method is 'distillation', expected galaxy_fl\.Averaging.*Distillation"),
        ({"method": Distillation(alpha=-0.5)}, r"distillation_alpha: .*-0\.5"),
        ({"method": Distillation(alpha=0.5, reduction="sum")}, "distillation_reduction: .*'sum'"),
        ({"weighting": "none"}, "weighting: .*'none'"),
        ({"output": "softmax"}, "output: .*'softmax'"),
        ({"reveal": "never"}, "reveal: .*'never'"),
        ({"seal": "everybody"}, "seal: .*'everybody'"),
        ({"name": ""}, "name: "),
        ({"name": "two\nlines"}, "control characters"),
        ({"notes": "n" * 10_001}, "notes: "),
        ({"fraction_bits": 4}, "fraction_bits is 4"),
    ],
)
def test_what_is_wrong_is_named_at_once(wrong, said):
    with pytest.raises(JobDocumentError, match=said):
        Job(**{"model": Net, "rounds": 1} | wrong)


@pytest.mark.parametrize("rule", ["fedavgm", "fedadam"])
def test_a_job_takes_a_server_optimizer(rule):
    job = Job("cnn", rounds=1, method=Averaging(rule, learning_rate=0.03))
    assert repr(job) == f"Job(model='cnn', rounds=1, method=Averaging(rule='{rule}', learning_rate=0.03))"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rule": "median"}, "unknown rule 'median': use one of coordinate_median, fedadam, fedavgm, "),
        ({"rule": "relay"}, "unknown rule 'relay'"),
        ({"rule": "trimmed_mean"}, "trim is 0 with the rule 'trimmed_mean'"),
        ({"trim": 1}, "trim is 1 with the rule 'weighted_mean'"),
        ({"rule": "trimmed_mean", "trim": -1}, "trim is -1, expected a whole number"),
        ({"rule": "trimmed_mean", "trim": 1.0}, r"trim is 1\.0, expected"),
        ({"rule": "fedadam", "momentum": 0.9}, "fedadam has no momentum: it takes learning_rate, beta1, beta2, tau"),
        ({"tau": 0.1}, "weighted_mean has no tau: it takes none of the server optimizers' options"),
        ({"rule": "fedavgm", "momentum": 1.0}, r"momentum is 1\.0, and fedavgm takes 0 to 0\.999999"),
        ({"rule": "fedavgm", "learning_rate": "1"}, "learning_rate: Input should be a valid number .found '1'"),
        ({"rule": "fedadam", "trim": 1}, "trim is 1 with the rule 'fedadam'"),
    ],
)
def test_a_rule_that_there_is_not(wrong, said):
    with pytest.raises(JobDocumentError, match=said):
        Averaging(**wrong)


def test_a_class_of_a_notebook_is_in_no_file_unless_it_is_said_which(tmp_path):
    cell = type("Cell", (torch.nn.Module,), {"__module__": "builtins"})
    with pytest.raises(JobDocumentError, match="notebook"):
        Job(cell, rounds=1)
    assert Job(cell, rounds=1, source=tmp_path / "cell.py").source_path() == tmp_path / "cell.py"


def test_a_worker_that_loads_a_model_describes_no_job():
    with loading_model(), pytest.raises(ConfigurationError, match='under `if __name__ == "__main__":`'):
        Job(Net, rounds=1)


def test_it_stays_as_it_is_and_reads_as_it_is_written():
    job = Job(model=Net, rounds=5, train=Train(loss="nll", learning_rate=0.1))
    assert repr(job) == "Job(model=Net, rounds=5, train=Train(loss='NLLLoss', learning_rate=0.1))"
    assert repr(Job(Net(), rounds=1)) == "Job(model=Net(…), rounds=1)"
    robust = Job("cnn", rounds=1, method=Averaging("trimmed_mean", trim=1), name="digits")
    assert repr(robust) == "Job(model='cnn', rounds=1, method=Averaging(rule='trimmed_mean', trim=1), name='digits')"
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.rounds = 3
