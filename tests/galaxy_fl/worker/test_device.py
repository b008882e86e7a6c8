"""Workers on a device: what is trained there is the same each time, several share one, and only integers leave it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from galaxy_fl.jobs.document import BuiltinModel, JobDocument, RuleChoice
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.task import TrainTask
from galaxy_fl.worker.messages import WorkerSettings
from galaxy_fl.worker.session import refusal
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


def test_a_device_without_memory_is_refused_with_what_to_do():
    said = str(refusal("cuda", RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later.")))
    assert said.startswith("device 'cuda' can't be used (CUDA error: out of memory); its memory is taken: have fewer")


PROGRAM = """
import os
import sys
import threading
import traceback

import galaxy_fl as galaxy
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        os.write(1, f"computed on {x.device.type}\\n".encode())  # whole, whoever writes meanwhile
        return self.layers(x)


def take_part(clients):
    try:
        clients.run()
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # the server would wait for other clients


if __name__ == "__main__":
    device = sys.argv[1]
    galaxy.submit(galaxy.Job(model=Net, rounds=2, train=galaxy.Train(learning_rate=0.1, batch_size=32)), clients=2)
    clients = galaxy.Client(data="digits", shards="1-2/2", device=device)
    thread = threading.Thread(target=take_part, args=[clients])
    thread.start()
    (outcome,) = galaxy.Server(test_data="digits", device=device).run()
    thread.join()
    print("rounds", outcome.rounds)
"""


def test_a_program_in_python_trains_and_evaluates_on_a_device(device, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py", device],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "rounds 2" in lines
    on_device = lines.count(f"computed on {device}")
    # Each of two clients trains 718 samples in batches of 32, twice; the model is tried on the CPU when it is submitted.
    assert on_device >= 2 * 2 * 22
    if device != "cpu":
        assert lines.count("computed on cpu") < on_device
