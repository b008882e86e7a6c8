"""Jobs in PFL's words, and what of them is published."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from galaxy_fl.core.job_manager import JobManager
from galaxy_fl.core.strategy import FederateStrategy, RunTimeStrategy, TrainStrategyFatorcy, WorkModeStrategy
from galaxy_fl.entity.job import Job
from galaxy_fl.exceptions import ConfigurationError, EncodingError
from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.jobs.document import JobDocument, source_id
from galaxy_fl.vectors import encode, read_vector
from galaxy_fl.worker import forkserver
from tests.galaxy_fl.core import models
from tests.galaxy_fl.core.models import Net


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def submit(job, model=None):
    JobManager().submit_job(job, Net() if model is None else model)
    return JobDocument.from_bytes(Path(f"res/jobs/{job.get_job_id()}/job.json").read_bytes())


def test_the_arguments_are_pfls_first():
    parameters = list(inspect.signature(JobManager.generate_job).parameters.values())[1:]
    assert [(one.name, one.default) for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD] == [
        ("work_mode", "standalone"),
        ("train_strategy", None),
        ("fed_strategy", "fed_avg"),
        ("model", None),
        ("distillation_alpha", None),
    ]
    assert list(inspect.signature(JobManager.submit_job).parameters)[:3] == ["self", "job", "model"]
    assert list(inspect.signature(JobManager.get_job_list).parameters) == ["job_path"]


def test_a_generated_job():
    strategy = TrainStrategyFatorcy(epoch=3)
    job = JobManager().generate_job(train_strategy=strategy, model=Net, distillation_alpha=0.25)
    assert job.get_job_id().isdecimal()
    assert job.get_train_strategy() is strategy
    assert job.get_train_model() == models.__file__
    assert job.get_train_model_class_name() == "Net"
    assert job.get_server_host() == "localhost:8080"
    assert job.get_aggregate_strategy() == "fed_avg"
    assert job.get_distillation_alpha() == 0.25
    assert job.work_mode == "standalone"
    assert JobManager().generate_job(WorkModeStrategy.WORKMODE_CLUSTER, model=Net).get_server_host() == ""
    assert JobManager().generate_job(model=Net).get_train_strategy().get_epoch() == 10


def test_no_two_jobs_have_one_id():
    assert len({JobManager().generate_job(model=Net).job_id for _ in range(500)}) == 500


@pytest.mark.parametrize(
    "name",
    [
        "job_id",
        "train_strategy",
        "train_model",
        "train_model_class_name",
        "server_host",
        "aggregate_strategy",
        "distillation_alpha",
    ],
)
def test_a_job_has_pfls_getters_and_setters(name):
    job = Job("host", "1", "file.py", "Net", "fed_avg", TrainStrategyFatorcy())
    getattr(job, f"set_{name}")("new")
    assert getattr(job, f"get_{name}")() == getattr(job, name) == "new"


def test_distillation_without_alpha():
    with pytest.raises(PFLException) as caught:
        JobManager().generate_job(fed_strategy=FederateStrategy.FED_DISTILLATION, model=Net)
    assert str(caught.value) == repr("generate_job() missing 1 positoonal argument: 'distillation_alpha'")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": None}, "model is None, expected the model's class"),
        ({"fed_strategy": "fed_max", "model": Net}, "federate strategy not found"),
        ({"model": dict}, "in no Python file"),
        ({"model": models.local_class()}, "top level"),
    ],
)
def test_what_no_job_can_be_made_of(wrong, said):
    with pytest.raises(PFLException, match=said):
        JobManager().generate_job(**wrong)


def test_a_class_of_a_notebook_is_in_no_file():
    namespace = {"__name__": "__main__"}
    exec("from torch import nn\nclass Cell(nn.Module): pass", namespace)
    with pytest.raises(PFLException, match="notebook"):
        JobManager().generate_job(model=type("Cell", (namespace["Cell"],), {"__module__": "builtins"}))


def test_a_worker_that_loads_a_model_submits_no_job():
    with forkserver.fork("tests.galaxy_fl.core.models:submit") as child:
        assert b'under `if __name__ == "__main__":`' in child.connection.recv_bytes()


def test_a_submitted_job_is_json_and_begins_with_the_models_weights(capsys):
    model = Net()
    job = JobManager().generate_job(
        train_strategy=TrainStrategyFatorcy(batch_size=16, epoch=3, seed=7),
        model=Net,
        weighting="uniform",
        min_clients=2,
    )
    document = submit(job, model)
    assert capsys.readouterr().out == f"job {job.get_job_id()} added successfully\n"
    source = Path(models.__file__).read_bytes()
    assert document.model.source == source_id(source)
    assert document.model.class_name == "Net"
    assert (document.rule.name, document.weighting, document.distils) == ("weighted_mean", "uniform", False)
    assert (document.train.loss, document.train.batch_size, document.train.seed) == ("NLLLoss", 16, 7)
    terms = json.loads(Path(f"res/jobs/{job.job_id}/terms.json").read_text())
    assert terms == {"rounds": 3, "min_clients": 2, "max_clients": None, "deadline": 600, "fan_in": 16}
    vector = read_vector(f"res/jobs/{job.job_id}/models/1", document.tensors.parameters)
    np.testing.assert_array_equal(vector, encode(model.state_dict(), document.tensors))
    assert [tensor.fraction_bits for tensor in document.tensors.tensors if "running" in tensor.name] == [16, 16]


def test_a_distillation():
    job = JobManager().generate_job(
        fed_strategy=FederateStrategy.FED_DISTILLATION, model=Net, distillation_alpha=1, distillation_reduction="mean"
    )
    document = submit(job)
    assert (document.rule.name, document.distillation_alpha, document.distillation_reduction) == ("relay", 1.0, "mean")


def test_what_setters_change_is_what_is_submitted():
    job = JobManager().generate_job(model=Net)
    job.set_aggregate_strategy("fed_distillation")
    job.set_distillation_alpha(0.5)
    job.get_train_strategy().set_loss_function(RunTimeStrategy.CROSSENTROPY_LOSS)
    job.get_train_strategy().set_epoch(4)
    document = submit(job)
    assert document.distillation_alpha == 0.5
    assert document.train.loss == "CrossEntropyLoss"
    assert json.loads(Path(f"res/jobs/{job.job_id}/terms.json").read_text())["rounds"] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"train_strategy": TrainStrategyFatorcy(epoch=0)}, "rounds is 0"),
        ({"train_strategy": TrainStrategyFatorcy(learning_rate=-1)}, "learning_rate"),
        ({"train_strategy": TrainStrategyFatorcy(optimizer_options={"momentun": 1})}, "momentun"),
        ({"train_strategy": TrainStrategyFatorcy(scheduler="StepLT")}, "StepLR"),
        ({"min_clients": 0}, "min_clients is 0"),
        ({"min_clients": 3, "max_clients": 2}, "max_clients is 2"),
        ({"deadline": -1}, "deadline is -1"),
        ({"weighting": "none"}, "weighting"),
        ({"fed_strategy": "fed_distillation", "distillation_alpha": -0.5}, "distillation_alpha"),
    ],
)
def test_a_job_that_is_not_valid_is_not_submitted(folder, arguments, said):
    with pytest.raises(PFLException, match=said):
        submit(JobManager().generate_job(model=Net, **arguments))
    assert not list(folder.glob("res/jobs/*"))


def test_a_model_of_another_class():
    with pytest.raises(PFLException, match="the model is a Wide, expected an instance of the job's class, Net"):
        submit(JobManager().generate_job(model=Net), models.Wide())


def test_a_source_that_is_gone():
    job = JobManager().generate_job(model=Net)
    job.set_train_model("nowhere.py")
    with pytest.raises(PFLException, match=r"nowhere\.py can't be read"):
        submit(job)


def test_a_weight_that_is_no_number():
    model = Net()
    torch.nn.init.constant_(model.out.bias, float("nan"))
    with pytest.raises(EncodingError, match=r"out\.bias"):
        submit(JobManager().generate_job(model=Net), model)


def test_an_unknown_mode_or_setting():
    with pytest.raises(ConfigurationError, match="there is no mode 'moon'"):
        submit(JobManager().generate_job("moon", model=Net))
    with pytest.raises(ConfigurationError, match="acount"):
        JobManager().submit_job(JobManager().generate_job(model=Net), Net(), acount="alice")


def test_the_jobs_of_a_folder(folder):
    jobs = [
        JobManager().generate_job(model=Net, train_strategy=TrainStrategyFatorcy(loss_function="L1loss", epoch=2)),
        JobManager().generate_job(
            model=Net, fed_strategy="fed_distillation", distillation_alpha=0.5, min_clients=2, max_clients=4, deadline=5
        ),
    ]
    for job in jobs:
        submit(job)
    found = JobManager.get_job_list("res/jobs")
    assert [job.get_job_id() for job in found] == [job.get_job_id() for job in jobs]
    for one, other in zip(found, jobs, strict=True):
        assert vars(one.get_train_strategy()) == vars(other.get_train_strategy())
        assert Path(one.get_train_model()).read_bytes() == Path(other.get_train_model()).read_bytes()
        kept = {name: value for name, value in vars(other).items() if name not in ("train_strategy", "train_model")}
        assert {name: vars(one)[name] for name in kept} == kept
    with pytest.raises(PFLException, match="is no folder of jobs"):
        JobManager.get_job_list(folder)
