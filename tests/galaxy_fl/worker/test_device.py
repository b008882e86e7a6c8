"""Workers on a device: what is trained there is the same each time, several share one, and only integers leave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from galaxy_fl.jobs.document import BuiltinModel, JobDocument, RuleChoice
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.task import TrainTask
from galaxy_fl.worker.messages import WorkerSettings
from galaxy_fl.worker.worker import Worker

TRAIN = TrainSpecification(learning_rate=0.1, batch_size=16)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def described(**fields) -> JobDocument:
    model = BuiltinModel(builtin="cnn")
    with Worker() as worker:
        layout = worker.describe(model, TRAIN, Path("initial")).layout.to_json()
    return JobDocument(name="job", model=model, layout=layout, train=TRAIN, **fields)


def test_workers_share_a_device_and_train_alike(device):
    job, settings = described(), WorkerSettings(data="digits", shard="1/8", device=device)
    with Worker() as one, Worker() as other:
        for worker in (one, other):
            worker.prepare(job, settings)
        before = one.evaluate(Path("initial"))
        one.train(TrainTask(Path("initial"), Path("something"), round=1, seed=2))
        for name, worker in (("first", one), ("second", other), ("third", one)):
            worker.train(TrainTask(Path("initial"), Path(name), round=1, seed=1))
        after = other.evaluate(Path("first"))
    assert Path("first").read_bytes() == Path("second").read_bytes() == Path("third").read_bytes()
    assert Path("first").read_bytes() != Path("something").read_bytes()
    assert after.loss < before.loss


def test_a_client_learns_from_others_on_a_device(device):
    job = described(rule=RuleChoice(name="relay"), distillation_alpha=0.5)
    settings = WorkerSettings(data="digits", shard="1/8", device=device)
    with Worker() as worker:
        worker.prepare(job, settings)
        worker.train(TrainTask(Path("initial"), Path("alone"), round=1, seed=1))
        task = TrainTask(Path("initial"), Path("taught"), round=1, seed=1, teachers=(Path("alone"), Path("initial")))
        assert worker.train(task).samples == 180
    assert Path("alone").read_bytes() != Path("taught").read_bytes()
