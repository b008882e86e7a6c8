"""Learning from other models: exactly the sum of the divergences, whatever their number."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, kl_div
from torch.utils.data import TensorDataset

from galaxy_fl.exceptions import DataError, DivergedError
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.distillation import Lessons
from galaxy_fl.training.trainer import train

ALPHA = 0.7


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Net(nn.Module):
    def __init__(self, seed, ending="identity", dropout=0.0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.Linear(8, 4))
        self.ending = ending

    def forward(self, samples):
        output = self.layers(samples)
        return output if self.ending == "identity" else getattr(output, self.ending)(dim=1)


def data(count=40):
    generator = torch.Generator().manual_seed(5)
    return TensorDataset(torch.randn(count, 3, generator=generator), torch.arange(count) % 4)


def states(count, **options):
    return [Net(seed, **options).state_dict for seed in range(1, count + 1)]


def log_softmax_of(model, samples):
    return model.layers(samples).log_softmax(dim=1)


def divergence(logarithms, taught, reduction):
    """As torch's kl_div; it warns of its own default, `mean`."""
    total = kl_div(logarithms, taught, reduction="sum", log_target=True)
    return total / (len(logarithms) if reduction == "batchmean" else logarithms.numel())


def straightforward(student, teachers, samples, labels, specification, reduction, seed):
    """Every teacher asked again for every batch, and torch's own divergences added up."""
    optimizer = torch.optim.SGD(student.parameters(), lr=specification.learning_rate, momentum=0.5)
    order = torch.Generator().manual_seed(seed)
    student.train()
    total = 0.0
    for pick in torch.randperm(len(samples), generator=order).split(specification.batch_size):
        logarithms = log_softmax_of(student, samples[pick])
        loss = cross_entropy(logarithms, labels[pick])
        for teacher in teachers:
            with torch.no_grad():
                taught = log_softmax_of(teacher.eval(), samples[pick])
            loss = loss + ALPHA * divergence(logarithms, taught, reduction)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(pick)
    return total / len(samples)


@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
@pytest.mark.parametrize("ending", ["identity", "softmax", "log_softmax"])
def test_weights_and_losses_are_those_of_the_sum_of_the_divergences(ending, reduction):
    specification = TrainSpecification(learning_rate=0.1, batch_size=16)
    samples, labels = data().tensors
    expected_model, model = Net(0), Net(0, ending)
    expected = straightforward(
        expected_model, [Net(seed) for seed in (1, 2, 3)], samples, labels, specification, reduction, seed=9
    )
    said = {"identity": "logits", "softmax": "probabilities", "log_softmax": "log-probabilities"}[ending]
    lessons = Lessons.ask(Net(7, ending), states(3), data(), ALPHA, reduction, ending=said)
    result = train(model, data(), specification, 9, lessons=lessons, ending=said)
    assert result.loss == pytest.approx(expected, abs=1e-5)
    for mine, theirs in zip(model.parameters(), expected_model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


@given(teachers=st.integers(1, 6), alpha=st.floats(0, 4), scale=st.floats(0.1, 50), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_term_is_the_sum_of_the_divergences(teachers, alpha, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    outputs = [scale * torch.randn(7, 5, generator=generator) for _ in range(teachers + 1)]
    table = nn.Embedding(7, 5)
    lookup = TensorDataset(torch.arange(7), torch.zeros(7))
    asked = [lambda output=output: {"weight": output} for output in outputs[1:]]
    pick = torch.tensor([4, 0, 6])
    for reduction in ("batchmean", "mean"):
        lessons = Lessons.ask(table, asked, lookup, alpha, reduction)
        expected = sum(
            divergence(outputs[0][pick].log_softmax(1), taught[pick].log_softmax(1), reduction).item()
            for taught in outputs[1:]
        )
        assert lessons.loss(outputs[0][pick], pick).item() == pytest.approx(alpha * expected, rel=1e-4, abs=1e-4)


def test_a_model_learns_nothing_from_itself():
    model = Net(1).eval()
    lessons = Lessons.ask(Net(2), [model.state_dict], data(), 1.0, "batchmean")
    samples, _ = data().tensors
    loss = lessons.loss(model(samples), torch.arange(len(samples)))
    loss.backward()
    assert abs(loss.item()) < 1e-6
    assert max(parameter.grad.abs().max() for parameter in model.parameters()) < 1e-6


def test_teachers_answer_in_evaluation_mode_and_are_not_trained():
    states_ = states(2, dropout=0.5)
    first, second = (Lessons.ask(Net(0, dropout=0.5), states_, data(), 1.0, "batchmean") for _ in range(2))
    assert torch.equal(first.probabilities, second.probabilities)
    assert not first.probabilities.requires_grad


def test_without_teachers_there_is_nothing_to_learn():
    assert Lessons.ask(Net(0), [], data(), 1.0, "batchmean") is None


def test_memory_does_not_grow_with_the_number_of_teachers():
    lessons = {count: Lessons.ask(Net(0), states(count), data(), 1.0, "mean") for count in (1, 50)}
    assert lessons[1].probabilities.nbytes == lessons[50].probabilities.nbytes
    alive, most = 0, 0

    class Weights(dict):
        def __init__(self, state):
            nonlocal alive, most
            super().__init__(state)
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    Lessons.ask(Net(0), [lambda seed=seed: Weights(Net(seed).state_dict()) for seed in range(9)], data(), 1.0, "mean")
    assert most == 1


def test_probabilities_of_zero_are_no_obstacle():
    certain = nn.Embedding(2, 2)
    lookup = TensorDataset(torch.arange(2), torch.zeros(2))
    for ending, state in {
        "probabilities": [[1.0, 0.0], [0.0, 1.0]],
        "log-probabilities": [[0.0, -math.inf], [-math.inf, 0.0]],
        "logits": [[500.0, -500.0], [-500.0, 500.0]],
    }.items():
        asked = [lambda state=state: {"weight": torch.tensor(state)}]
        lessons = Lessons.ask(certain, asked, lookup, 1.0, "batchmean", ending=ending)
        assert lessons.negative_entropy.isfinite().all()
        assert lessons.loss(torch.zeros(2, 2), torch.arange(2)).item() == pytest.approx(math.log(2))


def test_a_teacher_that_diverged_is_named():
    broken = {name: value * torch.nan for name, value in Net(1).state_dict().items() if value.is_floating_point()}
    with pytest.raises(DivergedError, match="teacher 2"):
        Lessons.ask(Net(0), [Net(1).state_dict, lambda: broken], data(), 1.0, "mean")


def test_a_model_without_classes_is_refused():
    model = nn.Linear(3, 1)
    with pytest.raises(DataError, match=r"shape \(40, 1\).*at least two classes"):
        Lessons.ask(model, [model.state_dict], data(), 1.0, "mean")
