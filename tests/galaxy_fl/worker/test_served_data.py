"""Data that stay in the program, and travel to the worker batch by batch."""

import json
import math
import threading
import time
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save
from torch.utils.data import Dataset, TensorDataset

from galaxy_fl.data.datasets import load
from galaxy_fl.data.shards import load_shard
from galaxy_fl.exceptions import DataError, TrainingError
from galaxy_fl.jobs.document import BuiltinModel, JobDocument, RuleChoice, SourceModel, source_id
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.task import TrainTask
from galaxy_fl.worker.messages import MOST_SAMPLES, Fetch, WorkerSettings, parse_said
from galaxy_fl.worker.served_data import ServedData
from galaxy_fl.worker.worker import Worker
from tests.fuzz.hostile_worker import SEPARATOR, HostileWorker
from tests.galaxy_fl.worker.test_forkserver import wait_until_gone

MODEL = BuiltinModel(builtin="cnn")
TRAIN = TrainSpecification(learning_rate=0.1, batch_size=16, local_epochs=2)
SERVED = WorkerSettings(data=None)
TASK = TrainTask(Path("initial"), Path("trained"), round=1, seed=3)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def worker():
    with Worker() as started:
        yield started


def described(worker, model=MODEL, train=TRAIN, source=None):
    """The document of a job, whose initial vector goes to the file `initial`."""
    layout = worker.describe(model, train, Path("initial"), source).layout.to_json()
    return JobDocument(name="job", model=model, layout=layout, train=train)


@pytest.fixture
def job(worker):
    return described(worker)


@pytest.fixture(scope="module")
def digits():
    return load_shard("digits", "train", "1/4")


class Images(Dataset):
    """As torchvision's: a sample at a time, transformed; the label is a plain number."""

    def __init__(self, tensors, transform=lambda image: image):
        self._tensors = tensors
        self._transform = transform
        self.asked = []

    def __len__(self):
        return len(self._tensors)

    def __getitem__(self, index):
        self.asked.append(index)
        image, label = self._tensors[index]
        return self._transform(image), int(label)


@pytest.mark.parametrize("batch_size", [16, 0])
def test_served_data_train_to_the_same_bytes_as_the_workers_own(worker, job, digits, batch_size):
    job = job.model_copy(update={"train": TRAIN.model_copy(update={"batch_size": batch_size})})
    worker.prepare(job, WorkerSettings(data="digits", shard="1/4"))
    expected, measured = worker.train(TASK), worker.evaluate(Path("trained"))
    vector = Path("trained").read_bytes()
    for data in (digits, Images(digits)):
        assert worker.prepare(job, SERVED, served=ServedData(data, load("digits", "test"))).samples == 360
        result = worker.train(TASK)
        assert Path("trained").read_bytes() == vector
        assert result.model_copy(update={"seconds": expected.seconds}) == expected
        assert worker.evaluate(Path("trained")) == measured


def test_every_sample_is_asked_for_once_an_epoch_and_transformed_anew(worker, job, digits):
    def noisy(image):
        seen.append(torch.rand(1, dtype=torch.float64).item())
        return image + 0.1 * seen[-1]

    seen = []
    data = Images(digits, noisy)
    worker.prepare(job, SERVED, served=ServedData(data))
    data.asked.clear()
    seen.clear()
    worker.train(TASK)
    assert sorted(data.asked[:360]) == sorted(data.asked[360:]) == list(range(360))
    assert data.asked[:360] != data.asked[360:]
    assert len(set(seen)) == 720


def test_targets_may_be_real_numbers(worker):
    model, train = BuiltinModel(builtin="mlp", options={"inputs": 2, "outputs": 1}), TrainSpecification(loss="MSELoss")
    job = described(worker, model, train)
    points = torch.rand(700, 2)
    data = [(point, float(point.sum())) for point in points]
    worker.prepare(job, SERVED, served=ServedData(data, TensorDataset(points, points.sum(dim=1))))
    before = worker.evaluate(Path("initial"))
    assert worker.train(TASK).accuracy is None
    assert worker.evaluate(Path("trained")).loss < before.loss


def test_more_than_one_exchange_is_needed_for_large_samples(worker):
    model = BuiltinModel(builtin="cnn", options={"channels": 3, "size": 256, "width": 1, "hidden": 4})
    job = described(worker, model, TRAIN.model_copy(update={"local_epochs": 1}))
    images = TensorDataset(torch.rand(21, 3, 256, 256), torch.arange(21) % 10)
    worker.prepare(job, SERVED, served=ServedData(Images(images)))
    assert worker.train(TASK).samples == 21


def test_a_distillation_asks_its_teachers_about_served_data(worker, job, digits):
    job = job.model_copy(update={"distillation_alpha": 1.0, "rule": RuleChoice(name="relay")})
    vectors = []
    for served in (None, ServedData(Images(digits))):
        worker.prepare(job, WorkerSettings(data="digits", shard="1/4") if served is None else SERVED, served=served)
        worker.train(TrainTask(Path("initial"), Path("first"), 1, 1))
        worker.train(TrainTask(Path("initial"), Path("second"), 1, 2))
        alone = worker.train(TrainTask(Path("initial"), Path("alone"), 2, 3))
        taught = worker.train(TrainTask(Path("initial"), Path("taught"), 2, 3, [Path("first"), Path("second")]))
        assert taught.loss > alone.loss
        vectors.append(Path("taught").read_bytes())
        assert vectors[-1] != Path("alone").read_bytes()
    assert vectors[0] == vectors[1]


def test_the_users_own_accuracy_is_averaged_over_the_samples(worker, job, digits):
    test = load_shard("digits", "train", "1/2")  # 719 samples: batches of 512 and 207
    asked = []

    def accuracy(output, target):
        asked.append(len(target))
        assert output.shape == (len(target), 10)
        return torch.tensor(float(len(target)))

    worker.prepare(job, SERVED, served=ServedData(digits, test, accuracy))
    assert worker.evaluate(Path("initial")).accuracy == pytest.approx((512**2 + 207**2) / 719)
    assert asked == [512, 207]


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (lambda output, target: math.nan, "returned nan, expected a finite number"),
        (lambda output, target: "good", "raised ValueError"),
        (lambda output, target: None, "raised TypeError"),
        (lambda output, target: output.nonsense, "raised AttributeError: .*nonsense"),
    ],
)
def test_an_accuracy_that_is_none_is_told_and_training_goes_on(worker, job, digits, accuracy, said):
    worker.prepare(job, SERVED, served=ServedData(digits, digits, accuracy))
    with pytest.raises(DataError, match=said):
        worker.evaluate(Path("initial"))
    assert worker.train(TASK).samples == 360


def test_a_data_set_that_raises_is_told_with_its_exception_and_the_worker_goes_on(worker, job, digits):
    def breaks(image):
        if broken:
            raise OSError("the disk is gone")
        return image

    broken = False
    worker.prepare(job, SERVED, served=ServedData(Images(digits, breaks)))
    broken = True
    with pytest.raises(DataError, match="the data set Images raised OSError: the disk is gone") as caught:
        worker.train(TASK)
    assert isinstance(caught.value.__cause__, OSError)
    assert not Path("trained").exists()
    broken = False
    assert worker.train(TASK).samples == 360


def test_a_round_that_fails_in_the_worker_leaves_no_question_open(worker, job, digits):
    job = job.model_copy(update={"train": TrainSpecification(learning_rate=1e30)})
    worker.prepare(job, SERVED, served=ServedData(digits))
    for _ in range(2):
        with pytest.raises(TrainingError, match="learning rate"):
            worker.train(TASK)


def test_there_is_no_evaluation_without_test_data(worker, job, digits):
    worker.prepare(job, SERVED, served=ServedData(digits))
    with pytest.raises(DataError, match="no test data"):
        worker.evaluate(Path("initial"))


def test_both_kinds_of_data_at_once_are_refused(worker, job, digits):
    with pytest.raises(DataError, match="one of the two"):
        worker.prepare(job, WorkerSettings(data="digits"), served=ServedData(digits))


@pytest.mark.parametrize("data", [TensorDataset(torch.zeros(0, 1)), iter([])])
def test_data_without_samples_are_refused_at_once(data):
    with pytest.raises(DataError, match=r"empty|no length"):
        ServedData(data)


def test_jobs_read_a_users_data_one_at_a_time():
    class Alone(Images):
        def __getitem__(self, index):
            assert not inside
            inside.append(index)
            time.sleep(0.001)
            inside.remove(index)
            return super().__getitem__(index)

    inside = []
    data = Alone(TensorDataset(torch.rand(4, 2), torch.zeros(4)))
    failed = []

    def reads():
        try:
            ServedData(data).fetch(Fetch(split="train", indices=[0, 1, 2, 3]))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=reads) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


EVALUATION = {"samples": 4, "loss": 0.5, "accuracy": None}
RESULT = EVALUATION | {"seconds": 0.1, "batches": 1}
SCORE = b'{"kind": "score"}'
SCORED = {"output": torch.zeros(2, 3), "target": torch.zeros(2)}


@pytest.mark.parametrize(
    "message",
    [
        b'{"kind": "fetch"',
        b'{"kind": "fetch", "split": "train"}',
        b'{"kind": "fetch", "split": "secret", "indices": [0]}',
        b'{"kind": "fetch", "split": "train", "indices": []}',
        b'{"kind": "fetch", "split": "train", "indices": [-1]}',
        b'{"kind": "fetch", "split": "train", "indices": [4]}',
        b'{"kind": "fetch", "split": "train", "indices": [1.0]}',
        b'{"kind": "fetch", "split": "train", "indices": [true]}',
        b'{"kind": "fetch", "split": "test", "indices": [0]}',
        b'{"kind": "fetch", "split": "train", "indices": [0], "more": 1}',
        json.dumps({"kind": "fetch", "split": "train", "indices": [0] * (MOST_SAMPLES + 1)}).encode(),
        SCORE + SEPARATOR,
        SCORE + SEPARATOR + b"\xff" * 100,
        SCORE + SEPARATOR + save({"output": torch.zeros(2)}),
        SCORE + SEPARATOR + save(SCORED | {"target": torch.zeros(3)}),
        SCORE + SEPARATOR + save(SCORED | {"target": torch.tensor(1.0)}),
    ],
)
def test_a_worker_that_asks_for_what_it_may_not_have_gets_nothing_and_is_closed(message):
    served = ServedData(TensorDataset(torch.rand(4, 2), torch.zeros(4)), accuracy=lambda output, target: 1.0)
    with HostileWorker(served) as worker:
        Path("said").write_bytes(message)
        with pytest.raises(TrainingError, match=r"the worker asked for|none of its, and was closed"):
            worker.evaluate(Path("said"))
        with pytest.raises(TrainingError, match="the worker was closed"):
            worker.evaluate(Path("said"))
        wait_until_gone(worker.pid)


@pytest.mark.parametrize(
    "answer",
    [
        {"kind": "prepared", "samples": 10**400},
        {"kind": "prepared", "samples": 2**63},
        {"kind": "trained", "result": RESULT | {"samples": 10**400}},
        {"kind": "trained", "result": RESULT | {"batches": 10**400}},
        {"kind": "trained", "result": RESULT | {"metrics": {"f1\x1b[2J": 0.5}}},
        {"kind": "trained", "result": RESULT | {"metrics": {"f" * 65: 0.5}}},
        {"kind": "trained", "result": RESULT | {"metrics": dict.fromkeys(map(str, range(101)), 0.5)}},
        {"kind": "evaluated", "evaluation": EVALUATION | {"samples": 10**400}},
        {"kind": "evaluated", "evaluation": EVALUATION | {"loss": 10**400}},
    ],
)
def test_figures_that_no_model_has_are_no_answer(answer):
    """They go on to terminals, tables, trackers and the ledger."""
    with pytest.raises(ValidationError):
        parse_said(json.dumps(answer).encode())


def test_nobody_is_scored_without_an_accuracy_of_the_users():
    with pytest.raises(TrainingError, match="no function that measures it"):
        ServedData(TensorDataset(torch.rand(4, 2), torch.zeros(4))).score(save(SCORED))


def test_a_worker_that_lies_about_what_it_wants_is_closed(worker, digits):
    source = Path(__file__).with_name("forging_model.py").read_bytes()
    job = described(worker, SourceModel(source=source_id(source), class_name="Forger"), source=source)
    with pytest.raises(TrainingError, match=r"(?s)sent a message that is none of its, and was closed.*split"):
        worker.prepare(job, SERVED, source, ServedData(digits))
    with pytest.raises(TrainingError, match="evaluate: the worker was closed"):
        worker.evaluate(Path("initial"))
    wait_until_gone(worker.pid)


def test_a_worker_that_lies_about_how_many_samples_there_are_is_closed(worker, digits):
    """Their number is an update's weight, and public."""
    source = Path(__file__).with_name("forging_model.py").read_bytes()
    lie = b'{"kind": "prepared", "samples": 7}'
    lying = source.replace(b'{"kind": "fetch", "split": "/etc/passwd", "indices": [0]}', lie)
    assert lie in lying
    job = described(worker, SourceModel(source=source_id(lying), class_name="Forger"), source=lying)
    with pytest.raises(TrainingError, match=rf"counts 7 samples, and there are {len(digits)}: it was closed"):
        worker.prepare(job, SERVED, lying, ServedData(digits))
    wait_until_gone(worker.pid)
