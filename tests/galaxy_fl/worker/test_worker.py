"""The worker process, honest, dying and lying."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from galaxy_fl.exceptions import (
    ConfigurationError,
    DataError,
    DivergedError,
    JobDocumentError,
    TrainingError,
    VectorError,
)
from galaxy_fl.jobs.document import BuiltinModel, JobDocument, RuleChoice, SourceModel, source_id
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.task import TrainTask
from galaxy_fl.vectors import difference, read_vector
from galaxy_fl.worker.messages import WorkerSettings
from galaxy_fl.worker.worker import Worker

MODEL = BuiltinModel(builtin="cnn")
TRAIN = TrainSpecification(learning_rate=0.1, batch_size=16)
SETTINGS = WorkerSettings(data="digits", shard="1/8")
FOREIGN = "tests.galaxy_fl.worker.foreign"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def worker():
    with Worker() as started:
        yield started


def described(worker, model=MODEL, train=TRAIN, source=None, **fields):
    """The document of a job, whose initial vector goes to the file `initial`."""
    layout = worker.describe(model, train, Path("initial"), source).layout.to_json()
    return JobDocument(name="job", model=model, layout=layout, train=train, **fields)


@pytest.fixture
def job(worker):
    return described(worker)


def foreign(data, **more):
    return WorkerSettings(data=f"{FOREIGN}:{data}", **more)


def test_the_same_seed_gives_the_same_bytes_in_two_workers(worker, job):
    worker.prepare(job, SETTINGS)
    with Worker() as second:
        second.prepare(job, SETTINGS)
        # The first has trained something else before: nothing of it may be left.
        worker.train(TrainTask(Path("initial"), Path("other"), round=1, seed=2))
        result = worker.train(TrainTask(Path("initial"), Path("first"), round=1, seed=1))
        second.train(TrainTask(Path("initial"), Path("second"), round=1, seed=1))
    assert Path("first").read_bytes() == Path("second").read_bytes() != Path("other").read_bytes()
    assert (result.samples, result.batches) == (180, 12)


def test_what_is_asked_for_as_an_update_is_the_difference(worker, job):
    worker.prepare(job, SETTINGS)
    worker.train(TrainTask(Path("initial"), Path("trained"), round=1, seed=1))
    worker.train(TrainTask(Path("initial"), Path("update"), round=1, seed=1, update=True))
    start, trained, update = (read_vector(name, job.tensors.parameters) for name in ("initial", "trained", "update"))
    assert np.array_equal(update, difference(trained, start))
    assert update.any()


def test_training_improves_the_vector_on_the_test_split(worker, job):
    assert worker.prepare(job, SETTINGS).samples == 180
    before = worker.evaluate(Path("initial"))
    vector = Path("initial")
    for number in range(3):
        # The second time its own file: the start is the result's file, too.
        worker.train(TrainTask(vector, vector := Path("trained"), round=number + 1, seed=number))
    after = worker.evaluate(vector)
    assert before.samples == after.samples == 360
    assert after.loss < before.loss
    assert after.accuracy > before.accuracy + 0.3
    assert {path.name for path in Path().iterdir()} == {"initial", "trained"}


def test_describing_follows_from_the_seed(worker):
    layout = worker.describe(MODEL, TrainSpecification(seed=3), Path("a")).layout
    assert layout.parameters == 38_282
    worker.describe(MODEL, TrainSpecification(seed=3), Path("b"))
    worker.describe(MODEL, TrainSpecification(seed=4), Path("c"))
    assert Path("a").read_bytes() == Path("b").read_bytes() != Path("c").read_bytes()
    assert Path("a").stat().st_size == 4 * layout.parameters


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"data": "digit"}, DataError, "unknown data set 'digit'"),
        (
            {"device": "cuda:99"},
            ConfigurationError,
            r"device 'cuda:99' can't be used \(.+\); expected one of those here: cpu",
        ),
        ({"device": "gpu"}, ConfigurationError, r"device 'gpu' can't be used \(.+\); expected one of those here: cpu"),
        ({"shard": "1/2000"}, DataError, "1437 samples"),
    ],
)
def test_an_error_comes_back_as_the_class_it_was(worker, job, change, error, said):
    with pytest.raises(error, match=said) as caught:
        worker.prepare(job, SETTINGS.model_copy(update=change))
    assert type(caught.value) is error
    worker.prepare(job, SETTINGS)


@pytest.mark.parametrize(
    ("model", "said"), [("vgg", "unknown builtin model 'vgg'"), ("mlp", "layout is not that of its model")]
)
def test_a_document_that_does_not_describe_its_model_is_refused(worker, job, model, said):
    with pytest.raises(JobDocumentError, match=said):
        worker.prepare(job.model_copy(update={"model": BuiltinModel(builtin=model)}), SETTINGS)
    worker.prepare(job, SETTINGS)


def test_a_divergence_comes_back_as_one(worker, job):
    train = TrainSpecification(learning_rate=1e30)
    worker.prepare(job.model_copy(update={"train": train}), SETTINGS)
    with pytest.raises(DivergedError, match=r"learning rate 1e\+30"):
        worker.train(TrainTask(Path("initial"), Path("trained"), 1, 0))
    assert not Path("trained").exists()


def test_any_other_exception_comes_back_as_its_last_line(worker, job):
    worker.prepare(job, SETTINGS)
    with pytest.raises(TrainingError, match=r"FileNotFoundError: .*absent.* \(.*, line \d+\)"):
        worker.train(TrainTask(Path("absent"), Path("trained"), 1, 0))


def test_neither_or_both_kinds_of_data_are_refused(worker, job):
    with pytest.raises(DataError, match="one of the two"):
        worker.prepare(job, WorkerSettings(data=None))


def test_the_same_seed_gives_the_same_bytes_with_teachers_and_random_augmentation(worker, job):
    distils = described(worker, rule=RuleChoice(name="relay"), distillation_alpha=1.0)
    worker.prepare(distils, foreign("augmented"))
    worker.train(TrainTask(Path("initial"), Path("teacher"), round=1, seed=5))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        worker.train(TrainTask(Path("initial"), Path(name), round=2, seed=seed, teachers=[Path("teacher")]))
    assert Path("a").read_bytes() == Path("b").read_bytes() != Path("c").read_bytes()


def test_a_model_without_classes_can_not_distil(worker):
    model, train = BuiltinModel(builtin="mlp", options={"outputs": 1}), TrainSpecification(loss="MSELoss")
    distils = described(worker, model, train, rule=RuleChoice(name="relay"), distillation_alpha=0.5)
    with pytest.raises(DataError, match="at least two classes"):
        worker.prepare(distils, SETTINGS)


def test_a_schedule_goes_on_from_round_to_round(worker, job):
    train = TrainSpecification(learning_rate=0.1, scheduler="StepLR", scheduler_options={"step_size": 1, "gamma": 1e-9})
    worker.prepare(job.model_copy(update={"train": train}), SETTINGS)
    for number in (1, 2):
        worker.train(TrainTask(Path("initial"), Path(f"trained-{number}"), round=number, seed=0))
    initial = Path("initial").read_bytes()
    assert Path("trained-1").read_bytes() != initial
    assert Path("trained-2").read_bytes() == initial  # nothing is left of the learning rate


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"scheduler": "StepLr"}, "train: unknown scheduler 'StepLr': did you mean StepLR"),
        ({"scheduler": "StepLR"}, "train: scheduler StepLR .*step_size"),
        ({"scheduler": "ReduceLROnPlateau"}, "train: .*metric"),
        ({"optimizer": "Sgd"}, "train: .*did you mean SGD"),
        ({"loss": "NLLoss"}, "train: .*did you mean NLLLoss"),
    ],
)
def test_describing_says_what_is_wrong_with_the_training(worker, train, said):
    with pytest.raises(JobDocumentError, match=said):
        worker.describe(MODEL, TrainSpecification(**train), Path("vector"))


def test_a_vector_of_another_length_is_refused(worker, job):
    worker.prepare(job, SETTINGS)
    Path("short").write_bytes(b"\0" * 40)
    with pytest.raises(VectorError, match="40 bytes"):
        worker.evaluate(Path("short"))


def test_training_before_preparing_is_refused(worker):
    with pytest.raises(TrainingError, match="prepared first"):
        worker.train(TrainTask(Path("initial"), Path("trained"), 1, 0))


def test_an_interrupt_at_the_terminal_leaves_the_worker_alone(worker, job):
    os.kill(worker.pid, signal.SIGINT)
    assert worker.prepare(job, SETTINGS).samples == 180


def test_a_worker_that_was_killed_says_by_which_signal(worker, job):
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(TrainingError, match="killed by SIGKILL: out of memory, or killed by hand"):
        worker.prepare(job, SETTINGS)


def test_a_worker_that_is_killed_while_it_works_says_so(worker, job):
    def kill_once_it_hangs():
        while not Path("hanging").exists():
            time.sleep(0.01)
        os.kill(worker.pid, signal.SIGSEGV)

    killer = threading.Thread(target=kill_once_it_hangs)
    killer.start()
    with pytest.raises(TrainingError, match="prepare: the worker was killed by SIGSEGV"):
        worker.prepare(job, foreign("hangs"))
    killer.join()


def test_a_data_set_that_exits_is_told_by_the_exit_code(worker, job):
    with pytest.raises(TrainingError, match="ended by itself, with exit code 7"):
        worker.prepare(job, foreign("exits"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("forges_an_answer", r"(?s)none of its, and was closed.*samples"),
        ("forges_another_answer", "answered 'done', which is not an answer to that, and was closed"),
        ("forges_a_question", "asked for data, and none are served"),
        ("forges_an_error", "made up"),
        ("floods", "not a message"),
    ],
)
def test_what_foreign_code_says_in_the_workers_name_is_checked(worker, job, data, said):
    with pytest.raises(TrainingError, match=said):
        worker.prepare(job, foreign(data))


def test_an_error_can_not_command_a_terminal(worker, job):
    with pytest.raises(DataError) as caught:
        worker.prepare(job, foreign("forges_a_terminals_commands"))
    assert str(caught.value) == r"\x1b[2Jall\x07 is" + "\n" + r"well\x9b"


def test_what_a_model_ends_in_is_told_and_held_to(worker):
    source = b"""\
from torch import nn

class Soft(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(dim=1))

class Plain(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10))
"""
    soft, plain = (SourceModel(source=source_id(source), class_name=name) for name in ("Soft", "Plain"))
    train = TrainSpecification(loss="BCELoss", batch_size=16)
    for model, ending in ((soft, "probabilities"), (plain, "logits")):
        assert worker.describe(model, train, Path("initial"), source, distils=False).ending == ending
    job = described(worker, plain, train, source, output="probabilities")
    with pytest.raises(TrainingError, match="says that its model ends in probabilities, but it gives"):
        worker.prepare(job, SETTINGS, source)
    worker.prepare(job.model_copy(update={"output": "logits"}), SETTINGS, source)
    result = worker.train(TrainTask(Path("initial"), Path("trained"), round=1, seed=1))
    assert worker.evaluate(Path("trained")).accuracy == pytest.approx(result.accuracy, abs=0.3)
