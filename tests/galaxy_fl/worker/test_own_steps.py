"""Jobs whose model's class has a training_step, and samples of any structure, in the worker and served to it."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, WeightedRandomSampler

from galaxy_fl.exceptions import DataError, JobDocumentError, TrainingError
from galaxy_fl.jobs.document import JobDocument, RuleChoice, SourceModel, source_id
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.task import TrainTask
from galaxy_fl.worker.messages import WorkerSettings
from galaxy_fl.worker.served_data import ServedData
from galaxy_fl.worker.worker import Worker

TRAIN = TrainSpecification(learning_rate=0.2, batch_size=8, local_epochs=3)
SERVED = WorkerSettings(data=None)
TASK = TrainTask(Path("initial"), Path("trained"), round=1, seed=3)

STEPS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, image, age):
        return self.layer(torch.cat([image, age[:, None].float()], dim=1))

    def _step(self, batch):
        output = self(batch["image"], batch["meta"]["age"])
        loss = nn.functional.cross_entropy(output, batch["label"])
        return {"loss": loss, "preds": output, "target": batch["label"], "ones": 1, "named": len(batch["name"])}

    def training_step(self, batch, batch_idx):
        assert self.training
        return self._step(batch)["loss"]

    def validation_step(self, batch):
        assert not self.training
        return self._step(batch)
"""

DATA = """
import torch
from torch.utils.data import Dataset

class Studies(Dataset):
    def __init__(self, samples):
        drawn = torch.Generator().manual_seed(samples)
        self.images = torch.rand(samples, 3, generator=drawn)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return {"image": image, "meta": {"age": 0.1 * index}, "name": f"patient {index}", "label": int(image.argmax())}

def load(split):
    return Studies(50 if split == "train" else 30)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def worker():
    with Worker() as started:
        yield started


@pytest.fixture
def studies():
    namespace: dict = {"__name__": "studies"}
    exec(DATA, namespace)
    return namespace["load"]


def described(worker, source=STEPS, train=TRAIN, **fields):
    """The document of a job, whose initial vector goes to the file `initial`, and the model's source."""
    content = source.encode()
    model = SourceModel(source=source_id(content), class_name="Net")
    found = worker.describe(model, train, Path("initial"), content, None, False)
    train = train.model_copy(update={"loss": found.loss})
    return JobDocument(name="job", model=model, train=train, **found.fields(), **fields), content


def run(worker, job, source, settings=SERVED, served=None):
    worker.prepare(job, settings, source, served)
    result = worker.train(TASK)
    return Path("trained").read_bytes(), result.model_copy(update={"seconds": 0.0}), worker.evaluate(Path("trained"))


@dataclass
class Study:
    image: torch.Tensor
    meta: dict
    name: str
    label: int


def test_dicts_within_dicts_train_to_the_same_bytes_in_the_worker_and_served(worker, studies):
    Path("studies_here.py").write_text(DATA)
    job, source = described(worker)
    assert job.train.loss == "training_step"
    named = WorkerSettings(data="studies_here:load", test_data="studies_here:load")
    own = run(worker, job, source, named)
    assert own == run(worker, job, source, SERVED, ServedData(studies("train"), studies("test")))
    vector, result, evaluation = own
    assert vector != Path("initial").read_bytes()
    assert (result.samples, result.batches, result.accuracy) == (50, 21, None)
    assert evaluation.samples == 30
    assert evaluation.accuracy > 0.5
    assert evaluation.loss < worker.evaluate(Path("initial")).loss


def test_the_same_gradient_as_by_hand(worker, studies):
    job, source = described(worker, train=TRAIN.model_copy(update={"batch_size": 0, "local_epochs": 1}))
    run(worker, job, source, SERVED, ServedData(studies("train"), studies("test")))
    from galaxy_fl.vectors.fixed_point import decode, read_vector

    before, after = (
        decode(read_vector(Path(name), job.tensors.parameters), job.tensors) for name in ("initial", "trained")
    )
    samples = [studies("train")[index] for index in range(50)]
    layer = nn.Linear(4, 3)
    layer.load_state_dict({name.removeprefix("layer."): value for name, value in before.items()})
    inputs = torch.stack([torch.cat([each["image"], torch.tensor([each["meta"]["age"]])]) for each in samples])
    nn.functional.cross_entropy(layer(inputs), torch.tensor([each["label"] for each in samples])).backward()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(after[f"layer.{name}"], parameter.detach() - 0.2 * parameter.grad, atol=1e-5, rtol=0)


def test_a_data_class_has_its_fields_in_the_step(worker, studies):
    own = STEPS
    for name in ("image", "meta", "label", "name"):
        own = own.replace(f'batch["{name}"]', f"batch.{name}")
    job, source = described(worker, own)
    data = [Study(**studies("train")[index]) for index in range(20)]
    _, _, evaluation = run(worker, job, source, SERVED, ServedData(data, data))
    assert evaluation.samples == 20


PADDED = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.letters = nn.EmbeddingBag(128, 4, mode="sum", padding_idx=0)

    @staticmethod
    def collate(samples):
        codes = [torch.tensor([ord(letter) for letter in sample["text"]]) for sample in samples]
        return nn.utils.rnn.pad_sequence(codes, batch_first=True)

    def training_step(self, batch):
        return self.letters(batch).square().mean()
"""


class Texts(Dataset):
    def __len__(self):
        return 600

    def __getitem__(self, index):
        return {"text": "abcdef"[: 1 + index % 5]}


def test_the_models_collate_gets_raw_samples_and_the_loss_needs_no_labels(worker):
    job, source = described(worker, PADDED, TRAIN.model_copy(update={"batch_size": 550}))
    data = Texts()
    _, result, evaluation = run(worker, job, source, SERVED, ServedData(data, data))
    assert result.batches == 6
    assert evaluation.accuracy is None
    assert evaluation.loss < worker.evaluate(Path("initial")).loss


class OwnBatches(Texts):
    made = 0

    def collate_fn(self, samples):
        self.made += 1
        return nn.utils.rnn.pad_sequence(
            [torch.tensor([ord(letter) for letter in sample["text"]]) for sample in samples], batch_first=True
        )


def test_a_data_sets_own_collate_comes_first_and_runs_where_the_data_are(worker):
    job, source = described(worker, PADDED)
    expected = run(worker, job, source, SERVED, ServedData(Texts(), Texts()))
    data = OwnBatches()
    fails = PADDED.replace("codes = [", "raise OSError('not asked')\n        codes = [")
    failing, failing_source = described(worker, fails)
    assert run(worker, failing, failing_source, SERVED, ServedData(data, data)) == expected
    assert data.made >= 3 * 75
    loader = DataLoader(Texts(), batch_size=7, collate_fn=data.collate_fn, num_workers=2)
    from galaxy_fl.participants.data import LocalData

    taken = LocalData(loader, loader)
    served = taken._served()
    assert run(worker, failing, failing_source, SERVED, served) == expected
    assert served.notes[0].startswith(
        "data is a DataLoader: its data set is used, with its collate_fn, and its batch_size, num_workers are not"
    )
    large = job.model_copy(update={"train": job.train.model_copy(update={"batch_size": 513})})
    with pytest.raises(DataError, match="a batch of 513 samples can't be made .* own collate_fn.* smaller batch_size"):
        worker.prepare(large, SERVED, source, ServedData(data))


class Stream(IterableDataset):
    def __init__(self, data, length=None):
        self.data = data
        self.length = len(data) if length is None else length
        self.begun = 0

    def __len__(self):
        return self.length

    def __iter__(self):
        self.begun += 1
        return iter(self.data[index] for index in range(len(self.data)))


def test_a_stream_that_states_its_length_is_read_from_its_beginning_each_epoch(worker, studies):
    job, source = described(worker)
    data = Stream(studies("train"), 40)
    vector, result, _ = run(worker, job, source, SERVED, ServedData(data, studies("test")))
    assert result.samples == 40
    begun = data.begun
    Path("trained").unlink()
    worker.train(TASK)
    assert data.begun == begun + 3
    assert Path("trained").read_bytes() == vector
    worker.prepare(job, SERVED, source, ServedData(Stream(studies("train"), 60)))
    with pytest.raises(DataError, match="Stream ended after 50 samples, and its length is 60: state as many"):
        worker.train(TASK)


def test_samplers_that_choose_are_refused(studies):
    from galaxy_fl.participants.data import LocalData

    data = studies("train")
    with pytest.raises(DataError, match="sampler WeightedRandomSampler, which chooses.*Subset"):
        LocalData(DataLoader(data, sampler=WeightedRandomSampler([1.0] * 50, 10)))
    assert len(LocalData(DataLoader(Subset(data, range(5)), shuffle=True)).data) == 5
    assert len(LocalData(DataLoader(Stream(data), batch_size=3)).data) == 50


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "training_step returned None, expected the loss, a tensor of one number"),
        ("1.0", "training_step returned 1.0, expected the loss"),
        ("{'preds': self.layer.weight}", "training_step returned a dict of preds, expected the loss"),
        ("self.layer.weight", r"a tensor of shape \(3, 4\) and type torch.float32, expected the loss"),
        ("{'loss': self.layer.weight.sum(), 'preds': 1}", "expected tensors as both 'preds' and 'target'"),
        ("{'loss': self.layer.weight.sum(), 'w': self.layer.weight}", "as 'w', expected one number"),
        ("batch['labels']", r"training_step raised KeyError: 'labels' \(line 20 of the source\)"),
    ],
)
def test_a_step_that_returns_something_else_is_told(worker, studies, returned, message):
    own = STEPS.replace('self._step(batch)["loss"]', returned).replace("def validation_step", "def unused")
    own = own.replace("assert self.training", "")
    job, source = described(worker, own)
    with pytest.raises(TrainingError, match=message):
        worker.prepare(job, SERVED, source, ServedData(studies("train")))


def test_what_the_author_names_has_precedence_and_what_is_not_there_is_refused(worker):
    named = TrainSpecification(loss="MSELoss")
    assert described(worker, train=named)[0].train.loss == "MSELoss"
    plain = STEPS.replace("def training_step", "def other")
    assert described(worker, plain)[0].train.loss == "CrossEntropyLoss"
    with pytest.raises(JobDocumentError, match="class Net has no method of that name"):
        described(worker, plain, TrainSpecification(loss="training_step"))
    with pytest.raises(JobDocumentError, match="loss_options are given, weight, but the model's own training_step"):
        described(worker, train=TrainSpecification(loss_options={"weight": [1.0]}))
    with pytest.raises(JobDocumentError, match="collate of the model's class Net .*write @staticmethod before it"):
        described(worker, PADDED.replace("@staticmethod", "").replace("(samples)", "(self, samples)"))
    with pytest.raises(Exception, match="the job distils, and its loss is the model's own training_step"):
        described(worker, distillation_alpha=1.0, rule=RuleChoice(name="relay"))


def test_an_accuracy_function_needs_what_the_step_says_of_the_output(worker, studies):
    job, source = described(worker)
    test = studies("test")
    _, _, evaluation = run(worker, job, source, SERVED, ServedData(test, test, lambda output, target: len(target)))
    assert evaluation.accuracy == (3 * 8 * 8 + 6 * 6) / 30
    unsaid = STEPS.replace("def validation_step", "def unused").replace("assert self.training", "")
    job, source = described(worker, unsaid)
    worker.prepare(job, SERVED, source, ServedData(test, test, lambda output, target: 1.0))
    with pytest.raises(DataError, match="accuracy function.*'preds' and 'target'"):
        worker.evaluate(Path("initial"))


WEIGHED = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def training_step(self, batch):
        return {"loss": (self.scale * batch["values"]).mean(), "weight": batch["values"].sum(), "first": 1}

    def summarize(self, means):
        return {"twice": 2 * means["loss"], "sum": means["loss"] + means["first"]}
"""
VALUES = [{"values": float(value)} for value in range(1, 7)]


def test_means_are_over_what_a_step_says_that_they_are_over(worker):
    job, source = described(worker, WEIGHED, TRAIN.model_copy(update={"batch_size": 4}))
    worker.prepare(job, SERVED, source, ServedData(VALUES, VALUES))
    found = worker.evaluate(Path("initial"))
    # Batches as large as in training: of 1 to 4, and of 5 and 6.
    assert found.loss == pytest.approx((2.5 * 10 + 5.5 * 11) / 21)
    assert found.metrics == {"first": 1, "twice": 2 * found.loss, "sum": found.loss + 1}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('batch["values"].sum()', "0", "returned 0 as 'weight', expected how many things the loss is a mean over"),
        ('batch["values"].sum()', '"all"', "returned 'all' as 'weight', expected how many"),
        ('batch["values"].sum()', 'batch["values"]', "as 'weight', expected how many"),
        ('{"twice": 2', '3 or {"twice": 2', "summarize returned 3, expected a dict of numbers by name"),
        ('2 * means["loss"]', '"2"', "summarize returned '2' as 'twice', expected one number"),
        ('means["first"]', 'means["last"]', r"summarize raised KeyError: 'last' \(line 14 of the source\)"),
    ],
)
def test_a_weight_or_a_summary_that_is_none_is_told(worker, before, after, message):
    job, source = described(worker, WEIGHED.replace(before, after))
    with pytest.raises(TrainingError, match=message):
        worker.prepare(job, SERVED, source, ServedData(VALUES, VALUES))
