"""The training loop."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from galaxy_fl.data.datasets import load
from galaxy_fl.data.shards import load_shard
from galaxy_fl.exceptions import DataError, DivergedError
from galaxy_fl.jobs.document import BuiltinModel
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.models import build_model
from galaxy_fl.training.trainer import evaluate, train

DIGITS = BuiltinModel(builtin="cnn")
QUICK = TrainSpecification(learning_rate=0.1, batch_size=16, local_epochs=2)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def state_bytes(model: nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


def test_four_clients_reach_ninety_five_percent_on_digits_in_five_rounds():
    test = load("digits", "test")
    shards = [load_shard("digits", "train", f"{client}/4") for client in range(1, 5)]
    model, client_model = build_model(DIGITS, 0), build_model(DIGITS, 0)
    for number in range(5):
        states = []
        for client, shard in enumerate(shards):
            client_model.load_state_dict(model.state_dict())
            train(client_model, shard, QUICK, seed=10 * number + client)
            states.append({name: value.clone() for name, value in client_model.state_dict().items()})
        model.load_state_dict({name: sum(state[name] for state in states) / 4 for name in states[0]})
    assert evaluate(model, test, QUICK).accuracy >= 0.95


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    def trained(seed):
        model = nn.Sequential(build_model(DIGITS, 0), nn.Dropout(0.2))
        train(model, load_shard("digits", "train", "1/8"), QUICK, seed)
        return state_bytes(model)

    before = torch.get_rng_state()
    assert trained(1) == trained(1)
    assert trained(1) != trained(2)
    assert torch.equal(before, torch.get_rng_state())


def test_the_kind_of_data_set_changes_no_bit():
    def trained(dataset):
        model = build_model(DIGITS, 0)
        train(model, dataset, QUICK, seed=1)
        return state_bytes(model)

    tensors = load_shard("digits", "train", "1/20")
    assert trained(tensors) == trained(Subset(tensors, range(len(tensors))))


def test_batch_size_zero_is_all_samples_in_one_batch():
    result = train(build_model(DIGITS, 0), load_shard("digits", "train", "1/20"), TrainSpecification(batch_size=0), 0)
    assert (result.samples, result.batches) == (72, 1)


def test_the_accuracy_may_be_the_users_own_and_is_weighted_by_samples():
    data = load_shard("digits", "train", "1/2")  # 719 samples: 512 and 207
    found = evaluate(build_model(DIGITS, 0), data, TrainSpecification(), score=lambda output, target: len(target))
    assert found.accuracy == pytest.approx((512**2 + 207**2) / 719)


@pytest.mark.parametrize("kind", ["tensors", "subset"])
def test_every_data_set_is_trained_on_once_an_epoch(kind):
    tensors = load_shard("digits", "train", "1/20")
    dataset = tensors if kind == "tensors" else Subset(tensors, range(len(tensors)))
    seen = []
    specification = TrainSpecification(batch_size=20, local_epochs=3)
    result = train(build_model(DIGITS, 0), dataset, specification, 0, on_batch=lambda *batch: seen.append(batch[:2]))
    assert len(tensors) == 72
    assert seen == [(epoch, batch) for epoch in (1, 2, 3) for batch in (1, 2, 3, 4)]
    assert (result.samples, result.batches) == (72, 12)
    assert 0 <= result.accuracy <= 1


def test_every_epoch_has_an_order_of_its_own():
    class Recorder(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.seen = []

        def forward(self, samples):
            self.seen.append(samples[:, 0].int().tolist())
            return samples * self.weight

    model = Recorder()
    numbers = torch.arange(50.0)[:, None]
    train(
        model,
        TensorDataset(numbers, numbers),
        TrainSpecification(loss="MSELoss", batch_size=50, local_epochs=2),
        3,
    )
    first, second = model.seen
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_evaluation_changes_nothing_and_weighs_a_short_batch_by_its_samples():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10), nn.BatchNorm1d(10))
    before = state_bytes(model)
    data = load_shard("digits", "train", "1/2")  # 719 samples: one batch of 512 and a shorter one
    found = evaluate(model, data, TrainSpecification())
    assert state_bytes(model) == before
    expected = nn.functional.cross_entropy(model.eval()(data.tensors[0]), data.tensors[1])
    assert found.loss == pytest.approx(expected.item(), rel=1e-5)
    assert found.samples == 719


def test_regression_has_a_loss_and_no_accuracy():
    data = TensorDataset(torch.rand(30, 3), torch.rand(30, 1))
    result = train(nn.Linear(3, 1), data, TrainSpecification(loss="MSELoss"), 0)
    assert result.accuracy is None
    assert evaluate(nn.Linear(3, 1), data, TrainSpecification(loss="MSELoss")).accuracy is None


def test_a_divergence_says_where_and_what_to_do():
    data = TensorDataset(torch.full((40, 3), 1e30), torch.zeros(40, 1))
    specification = TrainSpecification(loss="MSELoss", learning_rate=0.5, batch_size=10)
    with pytest.raises(DivergedError, match=r"became inf in epoch 1, batch 1, with learning rate 0.5: lower"):
        train(nn.Linear(3, 1), data, specification, 0)
    with pytest.raises(DivergedError, match="diverged"):
        evaluate(nn.Linear(3, 1), data, specification)


def test_samples_that_do_not_fit_the_model_are_told_by_their_shape():
    data = TensorDataset(torch.rand(10, 3, 8, 8), torch.zeros(10, dtype=torch.int64))
    with pytest.raises(DataError, match=r"samples of shape \(3, 8, 8\) and type torch.float32 .*channels"):
        train(build_model(DIGITS, 0), data, QUICK, 0)


def test_labels_that_do_not_fit_the_output_are_told_with_its_shape():
    data = TensorDataset(torch.rand(10, 1, 8, 8), torch.full((10,), 10))
    with pytest.raises(DataError, match=r"output of shape \(10, 10\)"):
        train(build_model(DIGITS, 0), data, QUICK, 0)


class Nothing(Dataset):
    def __len__(self):
        return 0


class Samples(Dataset):
    def __init__(self, *samples):
        self._samples = samples

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, index):
        return self._samples[index]


class Endless(IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (Samples(torch.rand(1, 8, 8)), "a sample is a Tensor"),
        (Samples((torch.rand(1, 8, 8), "a cat")), r"a sample is \(Tensor, list\), expected \(input, target\)"),
        (Samples({"image": torch.rand(1, 8, 8), "label": 1}), "a sample is a dict of image, label.*training_step"),
        (Samples((torch.rand(1, 8, 8), 1, 2)), "and type torch.int64 do not fit the model"),
        (Samples((object(), 1)), "such as ToTensor"),
        (Samples((torch.rand(1, 8, 8), 0), (torch.rand(1, 9, 9), 0)), "can't be stacked"),
        (Endless(), "Endless has no length"),
    ],
)
def test_samples_of_another_kind_are_refused_with_what_was_expected(dataset, said):
    with pytest.raises(DataError, match=said):
        train(build_model(DIGITS, 0), dataset, QUICK, 0)


def test_a_model_that_gives_more_than_a_tensor_is_told_so():
    class Pair(nn.Linear):
        def forward(self, samples):
            return samples, samples

    with pytest.raises(DataError, match="gives a tuple"):
        train(Pair(2, 2), TensorDataset(torch.rand(4, 2), torch.zeros(4)), QUICK, 0)


def test_of_several_outputs_the_main_one_counts_and_its_parameters_are_trained():
    from torchvision.models.googlenet import GoogLeNetOutputs

    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.side = nn.Linear(2, 3), nn.Linear(2, 3)

        def forward(self, samples):
            main = self.main(samples)
            return GoogLeNetOutputs(main, self.side(samples), None) if self.training else main

    data, model = TensorDataset(torch.rand(4, 2), torch.tensor([0, 1, 2, 0])), Auxiliary()
    main, side = model.main.weight.clone(), model.side.weight.clone()
    result = train(model, data, QUICK, 0)
    assert not torch.equal(model.main.weight, main)
    assert torch.equal(model.side.weight, side)
    assert result.accuracy is not None


@pytest.mark.parametrize(
    ("samples", "size", "sizes"), [(33, 16, [16, 17]), (34, 16, [16, 16, 2]), (1, 16, [1]), (3, 1, [1] * 3)]
)
@pytest.mark.parametrize("normalizes", [True, False])
def test_a_last_batch_of_one_joins_the_one_before_where_batches_are_normalized(samples, size, sizes, normalizes):
    seen = []

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv1d(1, 2, 1)
            self.norm = nn.BatchNorm1d(2) if normalizes else nn.Identity()

        def forward(self, samples):
            seen.append(len(samples))
            return self.norm(self.layer(samples)).sum(dim=2)

    data = TensorDataset(torch.rand(samples, 1, 3), torch.zeros(samples, dtype=torch.int64))
    result = train(Net(), data, TrainSpecification(batch_size=size), 0)
    assert seen == ([16, 16, 1] if samples == 33 and not normalizes else sizes)
    assert (result.samples, result.batches) == (samples, len(seen))


@pytest.mark.parametrize("dataset", [TensorDataset(torch.rand(0, 1, 8, 8), torch.zeros(0)), Nothing()])
def test_an_empty_data_set_is_refused(dataset):
    with pytest.raises(DataError, match="empty"):
        train(build_model(DIGITS, 0), dataset, QUICK, 0)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 1)

    def forward(self, left, right):
        return self.layer(torch.cat([left, right], dim=1))


def test_a_model_of_several_inputs_is_called_with_all_but_the_last_part_of_a_sample():
    torch.manual_seed(0)
    left, right = torch.rand(20, 2), torch.rand(20, 3)
    target = left.sum(1, keepdim=True) - right.sum(1, keepdim=True)
    specification = TrainSpecification(loss="MSELoss", learning_rate=0.3, batch_size=5, local_epochs=50)
    states = []
    for dataset in (TensorDataset(left, right, target), list(zip(left, right, target, strict=True))):
        torch.manual_seed(1)
        model = Two()
        train(model, dataset, specification, 0)
        assert evaluate(model, dataset, specification).loss < 0.01
        states.append(state_bytes(model))
    assert states[0] == states[1]


def test_a_sample_of_one_tensor_has_no_target():
    with pytest.raises(DataError, match=r"a sample is \(Tensor\), expected \(input, target\)"):
        train(build_model(DIGITS, 0), TensorDataset(torch.rand(4, 1)), QUICK, 0)
