"""Clipping, accumulation, mixed precision and FedProx's pull, against what each is by hand."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.jobs.train import Train
from galaxy_fl.training.trainer import evaluate, train

PLAIN = {"loss": "MSELoss", "learning_rate": 0.1, "optimizer_options": {"momentum": 0.0}}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def points(samples: int = 12) -> TensorDataset:
    torch.manual_seed(0)
    inputs = torch.randn(samples, 3)
    return TensorDataset(inputs, inputs @ torch.tensor([[1.0], [-2.0], [0.5]]) + 3)


def linear() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(3, 1)


def trained(dataset=None, model=None, shared=None, **options) -> nn.Module:
    model = linear() if model is None else model
    train(model, points() if dataset is None else dataset, TrainSpecification(**PLAIN | options), 5, shared=shared)
    return model


def gradient(model: nn.Module, dataset: TensorDataset) -> dict[str, torch.Tensor]:
    """That of the mean loss over all of the data."""
    model = copy.deepcopy(model)
    inputs, targets = dataset.tensors
    nn.functional.mse_loss(model(inputs), targets).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())


@pytest.mark.parametrize("samples", [12, 11, 10, 9])
def test_accumulated_batches_are_one_large_batch_also_where_the_last_is_smaller(samples):
    data = points(samples)
    large, small = trained(data, batch_size=6), trained(data, batch_size=2, accumulate=3)
    assert not same(large, linear())
    for name, value in large.state_dict().items():
        torch.testing.assert_close(small.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_steps_are_counted_and_not_the_batches_that_make_them():
    result = train(linear(), points(10), TrainSpecification(**PLAIN, batch_size=2, accumulate=2, local_epochs=2), 0)
    assert result.batches == 2 * 3
    assert result.samples == 10


def test_a_gradient_is_scaled_down_to_the_norm_and_a_shorter_one_left_alone():
    begun, whole = linear(), gradient(linear(), points())
    norm = torch.cat([each.flatten() for each in whole.values()]).norm()
    assert norm > 0.5
    clipped = trained(batch_size=0, clip_norm=0.5)
    for name, value in begun.state_dict().items():
        torch.testing.assert_close(clipped.state_dict()[name], value - 0.1 * whole[name] * 0.5 / norm)
    assert same(trained(batch_size=0, clip_norm=1e6), trained(batch_size=0))


def test_numbers_of_a_gradient_are_cut_to_a_value():
    begun, whole = linear(), gradient(linear(), points())
    clipped = trained(batch_size=0, clip_value=0.25)
    for name, value in begun.state_dict().items():
        torch.testing.assert_close(clipped.state_dict()[name], value - 0.1 * whole[name].clamp(-0.25, 0.25))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_proximal_term_pulls_by_mu_times_the_way_from_the_global_model(steps):
    mu, rate, data = 0.7, 0.1, points()
    by_hand, begun = linear(), linear().state_dict()
    for _ in range(steps):
        of_the_loss = gradient(by_hand, data)
        with torch.no_grad():
            for name, parameter in by_hand.named_parameters():
                parameter -= rate * (of_the_loss[name] + mu * (parameter - begun[name]))
    found = trained(batch_size=0, local_epochs=steps, proximal=mu)
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value)
    assert same(found, trained(batch_size=0, local_epochs=steps)) == (steps == 1)  # the first step begins at w_global


def test_the_gradient_is_that_of_the_whole_objective_with_momentum_and_accumulation_too():
    mu, data = 0.3, points()
    options = {"optimizer": "Adam", "optimizer_options": {}, "local_epochs": 3, "clip_norm": 1.0}
    found = trained(data, batch_size=4, accumulate=3, proximal=mu, **options)
    by_hand = linear()
    begun = {name: value.clone() for name, value in by_hand.named_parameters()}
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        inputs, targets = data.tensors
        away = sum(((value - begun[name].detach()) ** 2).sum() for name, value in by_hand.named_parameters())
        (nn.functional.mse_loss(by_hand(inputs), targets) + mu / 2 * away).backward()
        nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
        optimizer.step()
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_only_trained_parameters_that_are_shared_are_pulled():
    def halves(**options):
        model = nn.Sequential(linear(), linear())
        model[1].weight = nn.Parameter(torch.ones(1, 1))
        model[1].bias.requires_grad_(False)
        return trained(model=model, batch_size=0, local_epochs=2, **options)

    free, pulled = halves(), halves(proximal=5.0, shared={"0.weight", "0.bias"})
    everything = halves(proximal=5.0)
    assert torch.equal(pulled[1].bias, free[1].bias)
    assert not torch.equal(pulled[0].weight, free[0].weight)
    assert not torch.equal(pulled[1].weight, everything[1].weight)


def test_a_large_mu_keeps_the_weights_near_those_that_the_round_began_with():
    def way(mu):
        model = trained(batch_size=4, local_epochs=5, proximal=mu)
        return sum(float((value - linear().state_dict()[name]).norm()) for name, value in model.state_dict().items())

    assert way(5.0) < way(1.0) < way(0.1) < way(0.0)
    assert same(trained(proximal=0.0), trained())


def test_bfloat16_trains_to_the_same_bits_each_time_and_leaves_weights_float32():
    model = trained(precision="bf16", batch_size=4, local_epochs=10)
    assert same(model, trained(precision="bf16", batch_size=4, local_epochs=10))
    assert not same(model, trained(batch_size=4, local_epochs=10))
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    specification = TrainSpecification(**PLAIN, precision="bf16")
    assert evaluate(model, points(), specification).loss < 0.1 * evaluate(linear(), points(), specification).loss


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proximal": -0.1}, r"proximal: .*greater than or equal to 0 \(found -0.1\)"),
        ({"proximal": float("nan")}, r"proximal: .*finite.*\(found nan\)"),
        ({"clip_norm": 0.0}, r"clip_norm: .*greater than 0"),
        ({"clip_norm": float("inf")}, r"clip_norm: .*finite"),
        ({"clip_value": -1.0}, r"clip_value: .*greater than 0"),
        ({"clip_norm": 1.0, "clip_value": 1.0}, "clip_norm and clip_value are two ways .* leave one of them out"),
        ({"accumulate": 0}, r"accumulate: .*greater than or equal to 1"),
        ({"precision": "fp8"}, r"precision: .*'bf16' \(found 'fp8'\)"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options, message):
    with pytest.raises(JobDocumentError, match=message):
        Train(**options)
