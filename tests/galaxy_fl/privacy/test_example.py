"""The mode `example`: each example's gradient is clipped, noise is added, and nothing follows from the job's seed."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset, TensorDataset

from galaxy_fl.exceptions import ConfigurationError, DataError, DivergedError, JobDocumentError, TrainingError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.privacy import ExamplePrivacy
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.privacy.accountant import epsilon_of, mechanism_of
from galaxy_fl.training import private
from galaxy_fl.training.private import check_examples_apart, train_privately
from galaxy_fl.training.private_models import check_private_model
from galaxy_fl.training.rehearsal import rehearse
from galaxy_fl.training.trainer import train
from galaxy_fl.vectors import Layout

pytestmark = pytest.mark.xdist_group("opacus")  # it takes seconds to import

CERTAIN = 7.0


def privacy(noise_multiplier=1.0, max_grad_norm=1.0, delta=1e-5):
    return ExamplePrivacy(noise_multiplier=noise_multiplier, max_grad_norm=max_grad_norm, delta=delta)


def specification(**more):
    plain = {"learning_rate": 1.0, "optimizer_options": {"momentum": 0.0}, "batch_size": 0, "loss": "MSELoss"}
    return TrainSpecification(**plain | more)


def linear(inputs=3, outputs=1, bias=False):
    torch.manual_seed(3)
    return nn.Linear(inputs, outputs, bias=bias)


def data(*sizes, samples=20, seed=5):
    made = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(samples, sizes[0], generator=made), torch.randn(samples, 1, generator=made))


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(private, "gaussians", np.zeros)


def weights(model):
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()]).clone()


def step(model, dataset, spec=None, chosen=None):
    """How far one training takes the weights."""
    before = weights(model)
    result = train(model, dataset, spec or specification(), 1, privacy=chosen or privacy())
    return weights(model) - before, result


# ---- Clipping and noise -----------------------------------------------------------------------------------------


def clipped_by_hand(model, dataset, norm):
    total = torch.zeros_like(weights(model))
    for sample, target in dataset:
        gradient = torch.autograd.grad(nn.functional.mse_loss(model(sample[None]), target[None]), model.parameters())
        flat = torch.cat([each.reshape(-1) for each in gradient])
        total += flat * min(1.0, norm / float(flat.norm()))
    return total


@pytest.mark.parametrize("samples", [1, 20, 150])  # parts of 64
def test_each_example_is_clipped_on_its_own(quiet, samples):
    model, dataset = nn.Sequential(linear(4, 5, True), nn.Tanh(), linear(5, 1, True)), data(4, samples=samples)
    expected = -clipped_by_hand(model, dataset, 0.3) / samples
    moved, result = step(model, dataset, chosen=privacy(max_grad_norm=0.3))
    assert torch.allclose(moved, expected, atol=1e-5)
    assert (result.samples, result.batches) == (samples, 1)


def test_no_example_moves_the_weights_further_than_the_clip(quiet):
    moved, _ = step(linear(), TensorDataset(torch.full((1, 3), 1e4), torch.full((1, 1), -1e4)))
    assert float(moved.norm()) <= 1.0


def test_without_clipping_and_noise_it_trains_as_ever(quiet):
    dataset, spec = data(3), specification(learning_rate=0.1, local_epochs=3)
    one, other = linear(), linear()
    train(one, dataset, spec, 1)
    train(other, dataset, spec, 1, privacy=privacy(max_grad_norm=1e6))
    assert torch.allclose(weights(one), weights(other), atol=1e-6)


@pytest.mark.parametrize("batch_size", [0, 10])
def test_the_noise_has_the_deviation_that_was_asked_for(batch_size):
    """Noise that is left out, or is too small or too large by a twentieth, fails."""
    size, chosen = 100_000, privacy(noise_multiplier=2.0, max_grad_norm=0.5)
    dataset = TensorDataset(torch.zeros(20, size), torch.zeros(20, 1))  # no gradients
    spec = specification(batch_size=batch_size)
    moved, _ = step(linear(size), dataset, spec, chosen)
    expected = batch_size or 20
    noise = moved.numpy().astype(float) * expected / math.sqrt(20 / expected)
    assert abs(noise.std() - 1) < CERTAIN / math.sqrt(2 * size) < 0.05


def test_a_step_that_takes_no_example_is_noise_all_the_same(monkeypatch):
    monkeypatch.setattr(private, "uniforms", np.ones)  # nobody is drawn
    moved, result = step(linear(5000), data(5000), specification(batch_size=5, local_epochs=2))
    assert (moved != 0).all()
    assert (result.samples, result.batches) == (20, 8)
    assert math.isfinite(result.loss)
    assert abs(float(moved.std()) * 5 / math.sqrt(8) - 1) < CERTAIN / math.sqrt(2 * 5000)


def test_fedprox_and_clipping_come_after_the_noise(quiet):
    dataset = data(3)
    plain, _ = step(linear(), dataset)
    pulled, _ = step(linear(), dataset, specification(proximal=0.5))
    assert torch.equal(plain, pulled)  # in the first step there is nothing to pull
    two, _ = step(linear(), dataset, specification(local_epochs=2))
    pulled, _ = step(linear(), dataset, specification(local_epochs=2, proximal=0.5))
    assert torch.allclose(pulled, two - 0.5 * plain, atol=1e-6)
    short, _ = step(linear(), dataset, specification(clip_norm=1e-3))
    assert float(short.norm()) == pytest.approx(1e-3, rel=1e-3)


def test_the_sum_of_losses_is_not_divided(quiet):
    one, _ = step(linear(), data(3))
    summed, _ = step(linear(), data(3), specification(loss_options={"reduction": "sum"}))
    assert torch.allclose(20 * one, summed, atol=1e-4)


def test_nothing_of_it_is_left_in_the_model():
    model = linear()
    before = set(vars(model.weight)) | set(vars(model))
    step(model, data(3))
    assert (set(vars(model.weight)) | set(vars(model))) <= before
    assert not model._forward_hooks
    assert not model._backward_hooks


# ---- Chance -----------------------------------------------------------------------------------------------------


def test_nothing_follows_from_the_seed():
    first, second = (step(linear(1000), data(1000))[0] for _ in range(2))
    assert float((first == second).float().mean()) < 0.01


def test_each_example_is_drawn_by_chance_which_no_seed_decides():
    drawn = []
    for _ in range(2):
        torch.manual_seed(1)
        np.random.seed(1)
        drawn.append(torch.stack([torch.bincount(private._drawn(500, 0.3), minlength=500) for _ in range(400)]))
    assert not torch.equal(*drawn)
    both = torch.cat(drawn).double()
    assert abs(float(both.mean()) - 0.3) < CERTAIN * math.sqrt(0.21 / both.numel())
    deviation = math.sqrt(0.21 / len(both))
    assert float((both.mean(0) - 0.3).abs().max()) < 8 * deviation  # each alike
    sizes = both.sum(1)
    assert 0.6 < float(sizes.var()) / (500 * 0.21) < 1.6  # not always as many
    assert len(private._drawn(50, 1.0)) == 50


def test_dropout_follows_from_no_seed_either(quiet):
    model = nn.Sequential(nn.Dropout(0.5), linear(1000))
    weight = weights(model)
    moved = []
    for _ in range(2):
        model[1].weight.data.copy_(weight.view(1, -1))
        moved.append(step(model, data(1000, samples=1))[0])
    assert not torch.equal(*moved)


# ---- An attack --------------------------------------------------------------------------------------------------


def attacked(runs, with_it, chosen, spec):
    """Where trainings end whose data have an example, or an empty one in its place."""
    inputs = torch.zeros(4, 1)
    inputs[0, 0] = 100.0 if with_it else 0.0
    dataset, ends = TensorDataset(inputs, torch.full((4, 1), -100.0)), []
    for _ in range(runs):
        model = nn.Linear(1, 1, bias=False)
        model.weight.data.zero_()
        train_privately(model, dataset, spec, chosen)
        ends.append(model.weight.item())
    return -np.array(ends) * 4 / chosen.max_grad_norm / chosen.noise_multiplier


def empirical_epsilon(with_, without, confidence=1e-10):
    from scipy.stats import beta  # here: every process of the tests imports every module of them

    best = 0.0
    for threshold in (0.1, 0.5, 1.0, 2.0, 3.0):
        hits, errors, runs = int((with_ > threshold).sum()), int((without > threshold).sum()), len(with_)
        least = beta.ppf(confidence / 10, hits, runs - hits + 1) if hits else 0.0
        most = beta.ppf(1 - confidence / 10, errors + 1, runs - errors)
        best = max(best, math.log(max(least - 1e-5, 1e-9) / most))
    return best


def attack(runs, noise_multiplier, spec):
    chosen = privacy(noise_multiplier=noise_multiplier)
    epsilon = epsilon_of([mechanism_of(chosen, spec, 4)], chosen.delta)
    return empirical_epsilon(*(attacked(runs, with_it, chosen, spec) for with_it in (True, False))), epsilon


def test_an_attack_finds_less_than_the_accountant_and_sees_noise_that_is_too_small(monkeypatch):
    spec = specification()
    found, epsilon = attack(300, 2.0, spec)
    assert found < epsilon
    from galaxy_fl.privacy.entropy import gaussians

    monkeypatch.setattr(private, "gaussians", lambda count: gaussians(count) / 20)
    found, epsilon = attack(300, 4.0, spec)
    assert found > epsilon


@pytest.mark.extended
@pytest.mark.parametrize("batch_size", [0, 2])
def test_attacks_with_many_runs(batch_size):
    found, epsilon = attack(10_000, 1.0, specification(batch_size=batch_size, local_epochs=1))
    assert 0.02 * epsilon < found < epsilon


# ---- Refused ----------------------------------------------------------------------------------------------------


def document(**train):
    layout = [{"name": "w", "shape": [9], "fraction_bits": 24}]
    model = {"builtin": "mlp"}
    return JobDocument(name="p", model=model, layout=layout, privacy=privacy(), train=TrainSpecification(**train))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"accumulate": 4}, r"draws each step's examples by chance: leave out accumulate"),
        ({"loss": "training_step"}, r"the loss of the model's own training_step apart: name a loss"),
        ({"precision": "bf16"}, r"leave out precision"),
        ({"loss_options": {"weight": [1.0, 2.0]}}, r"CrossEntropyLoss with weight divides by"),
        ({"loss": "NLLLoss", "loss_options": {"ignore_index": 3}}, r"NLLLoss with ignore_index divides by"),
    ],
)
def test_what_mixes_examples_is_refused_by_name(train, message):
    with pytest.raises(ValueError, match=message):
        document(**train)
    document(proximal=0.1, clip_norm=1.0, loss_options={"weight": [1.0, 2.0], "reduction": "sum"})


class Named(nn.Module):
    def __init__(self, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.LSTM(4, 4), r"the layer 'inner' \(LSTM\)"),
        (nn.MultiheadAttention(4, 2), r"the layer 'inner' \(MultiheadAttention\)"),
        (nn.BatchNorm1d(4, track_running_stats=False), r"the layer 'inner' \(BatchNorm1d\)"),
        (nn.BatchNorm1d(4), r"running statistic of BatchNorm1d"),
    ],
)
def test_layers_that_opacus_can_not_handle_are_refused_by_name(layer, message):
    model = Named(inner=layer)
    state = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    with pytest.raises(JobDocumentError, match=message):
        check_private_model(model, privacy(), Layout.of(state, set()).padded())


def test_layers_that_it_handles_pass():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(4, 2), nn.LayerNorm(2))
    check_private_model(model, privacy(), Layout.of(model.state_dict(), set()).padded())


def test_a_layer_that_nobody_trains_needs_no_protection():
    """What is frozen may be whatever it is: it sees examples, and keeps nothing of them."""
    model = Named(inner=nn.BatchNorm1d(4), last=nn.Linear(4, 2))
    layout = Layout.of(model.last.state_dict(prefix="last."), set()).padded()
    frozen = [name for name in model.state_dict() if name.startswith("inner.")]
    check_private_model(model, privacy(), layout, frozen)
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(JobDocumentError, match=r"the layer 'inner' \(BatchNorm1d\)"):
        check_private_model(model, privacy(), layout)


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        return self.layer(x - x.mean(0))


def test_a_model_that_mixes_examples_is_refused_before_the_first_round():
    with pytest.raises(TrainingError, match=r"depends on the others of its batch"):
        rehearse(Mixing(), data(3), specification(), "cpu", "logits", privacy=privacy())
    rehearse(nn.Sequential(nn.Dropout(0.5), linear()), data(3), specification(), "cpu", "logits", privacy=privacy())
    check_examples_apart(nn.Sequential(nn.Dropout(0.5), linear()), data(3), specification())


class Folded(nn.Module):
    """Joins the steps of a series with the examples: what is clipped then are steps, of which an example has two."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        return self.layer(torch.stack([x, 2 * x], 1).reshape(-1, 3)).reshape(len(x), 2).sum(1, keepdim=True)


class OneExample(Folded):
    """All examples are one to its layer."""

    def forward(self, x):
        return self.layer(x.unsqueeze(0))[0]


class Exchanged(nn.Module):
    """One layer has the examples in another order than the other."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x):
        return self.last(self.layer(x.flip(0)).flip(0))


class Past(Exchanged):
    """A weight is used past its layer."""

    def forward(self, x):
        return self.last(nn.functional.linear(torch.tanh(self.layer(x)), self.layer.weight))


@pytest.mark.parametrize("model", [Folded, OneExample, Exchanged, Past])
def test_a_model_whose_examples_are_not_told_apart_is_refused_before_the_first_round(model):
    with pytest.raises(TrainingError, match=r"does not find the gradient of each example"):
        rehearse(model(), data(3), specification(), "cpu", "logits", privacy=privacy())


@pytest.mark.parametrize("model", [Folded, OneExample])
def test_and_no_step_is_taken_either_should_it_do_so_later(model):
    with pytest.raises(TrainingError, match=r"does not find the gradient of each example"):
        train_privately(model(), data(3), specification(), privacy())


def test_a_parameter_that_is_not_used_is_refused_before_the_first_round():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.other = nn.Linear(3, 1), nn.Linear(3, 1)

        def forward(self, x):
            return self.layer(x)

    with pytest.raises(TrainingError, match=r"gradients of single examples can't be computed for this model"):
        rehearse(Unused(), data(3), specification(), "cpu", "logits", privacy=privacy())


def test_a_stream_is_refused_before_the_first_round():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([(torch.ones(3), torch.ones(1))] * 9)

        def __len__(self):
            return 9

    with pytest.raises(DataError, match=r"a stream, of which no example can be drawn by chance"):
        rehearse(linear(), Stream(), specification(), "cpu", "logits", privacy=privacy())


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.counter = Counter()

    def forward(self, x):
        return self.layer(self.counter(x))


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1), persistent=False)

    def forward(self, x):
        self.seen += x.sum().detach()
        return x


def test_a_buffer_that_remembers_is_refused_before_the_first_round():
    with pytest.raises(TrainingError, match=r"training changed the buffer 'counter.seen'"):
        rehearse(Counts(), data(3), specification(), "cpu", "logits", privacy=privacy())


def test_a_loss_that_is_not_finite_and_targets_that_are_left_out_are_errors():
    with pytest.raises(DivergedError, match="loss became"):
        step(linear(), TensorDataset(torch.full((2, 3), torch.nan), torch.zeros(2, 1)))
    targets = torch.tensor([0, -100])
    with pytest.raises(TrainingError, match=r"targets -100"):
        step(linear(3, 2), TensorDataset(torch.randn(2, 3), targets), specification(loss="CrossEntropyLoss"))


def test_without_opacus_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("opacus.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opacus", None)
    state = linear().state_dict()
    for ask in (
        lambda: step(linear(), data(3)),
        lambda: check_private_model(linear(), privacy(), Layout.of(state, set()).padded()),
    ):
        with pytest.raises(ConfigurationError, match=r"needs Opacus, which is not installed here: pip install 'galaxy"):
            ask()
