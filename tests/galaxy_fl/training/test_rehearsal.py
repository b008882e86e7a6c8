"""What would fail in a client's first training fails before anybody relies on the client."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from galaxy_fl.exceptions import DataError, TrainingError
from galaxy_fl.jobs.document import JobDocument, SourceModel, source_id
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.rehearsal import rehearse
from galaxy_fl.training.task import TrainTask
from galaxy_fl.training.trainer import train
from galaxy_fl.vectors import decode, read_vector
from galaxy_fl.worker.messages import WorkerSettings
from galaxy_fl.worker.worker import Worker

SIXTEEN = TrainSpecification(batch_size=16)


def labelled(samples=40, features=4, classes=3):
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.rand(samples, features, generator=generator), torch.arange(samples) % classes)


class Noted(nn.Module):
    """Keeps the sizes of the batches that it was trained on."""

    def __init__(self):
        super().__init__()
        self.layer, self.drop, self.seen = nn.Linear(4, 3), nn.Dropout(), []

    def forward(self, samples):
        self.seen.append(len(samples))
        return self.drop(self.layer(samples))


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 3, sparse=True)

    def forward(self, samples):
        return self.table(samples)


class Fixed(nn.Module):
    """Knows its batch size by heart."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, samples):
        return self.layer(samples.view(16, 4))


def tried(model, data, specification=SIXTEEN):
    return rehearse(model, data, specification, "cpu", "logits")


@pytest.mark.parametrize(
    ("samples", "size", "sizes"),
    [(40, 16, {16, 8}), (32, 16, {16}), (7, 16, {7}), (40, 0, {40}), (5000, 0, {1024}), (5000, 3000, {1024})],
)
def test_a_step_is_taken_with_each_size_that_will_occur(samples, size, sizes):
    model = Noted()
    assert tried(model, labelled(samples), TrainSpecification(batch_size=size)) == []
    assert set(model.seen) == sizes
    assert len(model.seen) <= 2


def test_few_samples_are_read_and_no_random_state_is_touched():
    class Augmented(Dataset):
        read = 0

        def __len__(self):
            return 4000

        def __getitem__(self, index):
            self.read += 1
            return torch.rand(4) * random.random() * np.random.rand(), index % 3

    data, model = Augmented(), Noted()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    tried(model, data, TrainSpecification(batch_size=0))
    assert data.read <= 16
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def test_an_optimizer_that_refuses_sparse_gradients():
    data = TensorDataset(torch.arange(8) % 5, torch.arange(8) % 3)
    tried(Embedded(), data)
    with pytest.raises(TrainingError, match="optimizer Adam can't train this model: .*sparse gradients"):
        tried(Embedded(), data, TrainSpecification(optimizer="Adam"))


def test_class_weights_of_another_number_of_classes():
    with pytest.raises(TrainingError, match="weight of CrossEntropyLoss has 2 numbers, .* has 3 classes"):
        tried(Noted(), labelled(), TrainSpecification(loss_options={"weight": [1.0, 2.0]}))


def test_a_model_of_one_batch_size():
    tried(Fixed(), labelled(32))
    with pytest.raises(DataError, match="a first training step on batches of 16 samples fails: .*shape"):
        tried(Fixed(), labelled(40))


def test_a_last_batch_of_one_is_said():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    assert "joins the batch before" in tried(model, labelled(33))[0]
    assert tried(model, labelled(34)) == []
    with pytest.raises(DataError, match="there are batches of one sample: choose another batch_size"):
        tried(model, labelled(33), TrainSpecification(batch_size=1))
    with pytest.raises(DataError, match="or more samples"):
        tried(model, labelled(1))


def test_a_divergence_is_left_to_training():
    tried(Noted(), labelled(), TrainSpecification(learning_rate=1e38, loss="MSELoss"))


SOURCE = b"""\
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(), nn.Linear(16, 10))
"""


def test_a_worker_rehearses_and_trains_as_if_it_had_not(tmp_path, monkeypatch):
    from galaxy_fl.data.shards import load_shard
    from galaxy_fl.training.models import build_model

    monkeypatch.chdir(tmp_path)
    model = SourceModel(source=source_id(SOURCE), class_name="Net")
    specification = TrainSpecification(batch_size=89, learning_rate=0.1)  # of 179 samples: one is left
    with Worker() as worker:
        described = worker.describe(model, specification, Path("initial"), SOURCE)
        layout = described.layout
        job = JobDocument(
            name="net",
            model=model,
            train=specification,
            **described.fields(),
        )
        settings = WorkerSettings(data="digits", shard="8/8")
        wrong = specification.model_copy(update={"loss_options": {"weight": [1.0]}})
        with pytest.raises(TrainingError, match="weight of CrossEntropyLoss has 1 numbers"):
            worker.prepare(job.model_copy(update={"train": wrong}), settings, SOURCE)
        prepared = worker.prepare(job, settings, SOURCE)
        assert prepared.samples == 179
        assert ["joins the batch before" in note for note in prepared.notes] == [True]
        assert worker.prepare(job, settings.model_copy(update={"trains": False}), SOURCE).notes == []
        worker.prepare(job, settings, SOURCE)
        assert worker.train(TrainTask(Path("initial"), Path("trained"), round=1, seed=7)).batches == 2
    plain = build_model(model, 0, SOURCE.decode())
    plain.load_state_dict(decode(read_vector("initial", layout.parameters), layout), strict=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(plain, load_shard("digits", "train", "8/8"), specification, 7)
    torch.set_num_threads(threads)
    trained = decode(read_vector("trained", layout.parameters), layout)
    for name, value in trained.items():
        bits = 16 if "running" in name else 24
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=0, atol=2.0**-bits)
