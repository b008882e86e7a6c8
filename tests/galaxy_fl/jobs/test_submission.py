"""What of a model goes with a job, and what is refused because participants would not get it."""

from __future__ import annotations

import enum
import functools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from galaxy_fl.exceptions import EncodingError, JobDocumentError
from galaxy_fl.jobs.likeness import check_output, difference
from galaxy_fl.jobs.parts import PartTensor
from galaxy_fl.jobs.submission import describe_model, floats_of
from galaxy_fl.vectors import TensorLayout, decode, encode


def describe(model, fresh=None, **bits):
    return describe_model(model, type(model)() if fresh is None else fresh, **bits)


class Shape(enum.Enum):
    ROUND = 1
    SQUARE = 2


class Config:
    def __init__(self, depth):
        self.depth = depth


class Configured(nn.Module):
    """Whatever may be an argument and changes no shape."""

    def __init__(self, option=None, **options):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.option = option
        for name, value in options.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.layer(x)


class Dropping(nn.Module):
    def __init__(self, p=0.5):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 2), nn.Dropout(p))


class Tying(nn.Module):
    def __init__(self, tie=True):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        if tie:
            self.second.weight = self.first.weight


class Counting(nn.Module):
    """Integer, boolean, constant and unsaved buffers."""

    def __init__(self, length=2):
        super().__init__()
        self.layer = nn.Linear(length, 1)
        self.register_buffer("steps", torch.tensor(3))
        self.register_buffer("used", torch.tensor([True, False]))
        self.register_buffer("mask", torch.full((2, 2), -math.inf).triu(1))
        self.register_buffer("scale", torch.ones(2), persistent=False)
        self.register_buffer("turn", torch.polar(torch.ones(2), torch.arange(2.0)))


def test_integers_travel_frozen_parameters_are_named_and_what_no_fixed_point_carries_is_a_constant():
    model = Counting()
    model.steps += 4
    model.layer.bias.requires_grad_(False)
    described = describe(model)
    assert [tensor.name for tensor in described.layout.tensors] == ["layer.weight"]
    assert described.frozen == (PartTensor(name="layer.bias", type="float32", shape=[1]),)
    assert [(tensor.name, tensor.type, tensor.constant) for tensor in described.local] == [
        ("steps", "int64", False),
        ("used", "bool", False),
        ("mask", "float32", True),
        ("turn", "complex64", True),
    ]
    for tensor in described.local:
        assert torch.equal(tensor.tensor(), model.state_dict()[tensor.name])


@pytest.mark.parametrize("size", [1, 2, 8, 9])
def test_the_vectors_of_tiny_models_are_padded_to_more_than_a_ledgers_smallest_chunk(size):
    model = nn.Linear(size, 1, bias=False)
    layout = describe_model(model, nn.Linear(size, 1, bias=False)).layout
    assert (layout.padding, layout.parameters) == (9 - size, 9)
    vector = encode(floats_of(model, layout), layout)
    assert vector.shape == (9,)
    assert not vector[size:].any()
    assert torch.allclose(decode(vector, layout)["weight"], model.weight, atol=2**-25)


@pytest.mark.parametrize(
    ("model", "fresh", "said"),
    [
        (Dropping(0.9), Dropping(), r"the model's layers\.1\.p is 0\.9, the class makes 0\.5"),
        (Configured("tanh"), Configured("relu"), "option is 'tanh', the class makes 'relu'"),
        (Configured(torch.tanh), Configured(torch.relu), "option is .*tanh, the class makes .*relu"),
        (Configured(lambda x: x), Configured(lambda x: -x), "option is another function"),
        (Configured(functools.partial(pow, 2)), Configured(functools.partial(pow, 3)), r"option\[1\]\[0\] is 2"),
        (Configured(nn.Tanh), Configured(nn.ReLU), "option is Tanh, the class makes ReLU"),
        (Configured({"a": [1, 2]}), Configured({"a": [1, 3]}), r"option\['a'\]\[1\] is 2, the class makes 3"),
        (Configured({"a": 1}), Configured({"b": 1}), "option has the keys"),
        (Configured({1, 2}), Configured({1, 3}), "option is {1, 2}"),
        (Configured(Config(1)), Configured(Config(2)), r"option\.depth is 1, the class makes 2"),
        (Configured(Shape.ROUND), Configured(Shape.SQUARE), "option is <Shape.ROUND: 1>"),
        (Configured(torch.ones(2)), Configured(torch.zeros(2)), "option, a tensor that is not registered"),
        (Configured(np.ones(2)), Configured(np.zeros(2)), "option, an array"),
        (Configured([nn.Linear(2, 2)]), Configured([nn.Linear(2, 2)]), r"option\[0\]\.weight, a tensor that is not"),
        (Configured(more=1), Configured(), "more is 1, the class makes no such attribute"),
        (Configured(), Configured(more=1), "the model has no more"),
        (Tying(), Tying(tie=False), "'second.weight' is tied to 'first.weight'"),
        (Tying(tie=False), Tying(), "'second.weight' is not tied to 'first.weight'"),
        (Counting(3), Counting(), r"'layer.weight' of the model has the shape \(1, 3\).* \(1, 2\)"),
        (Counting().half(), Counting(), "has the type torch.float16"),
        (nn.Sequential(nn.Linear(1, 1)), nn.Sequential(), "has a tensor '0.weight'"),
        (nn.Sequential(), nn.Sequential(nn.Linear(1, 1)), "has no tensor '0.weight'"),
        (nn.LazyLinear(2), nn.LazyLinear(2), "'weight' has no size before the first batch"),
    ],
)
def test_what_participants_would_not_get_is_refused_by_name(model, fresh, said):
    with pytest.raises(JobDocumentError, match=said):
        describe_model(model, fresh)


def changed(change):
    model = Counting()
    change(model)
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (changed(lambda model: model.mask.fill_(math.inf)), "'mask' is constant"),
        (changed(lambda model: model.turn.mul_(2)), "'turn' is constant"),
        (changed(lambda model: model.scale.mul_(2)), "'scale' is not in the state_dict"),
        (changed(lambda model: model.requires_grad_(False)), "nothing to train"),
        (
            changed(lambda model: model.layer.register_forward_hook(print)),
            "_forward_hooks has 1 items, the class makes 0",
        ),
    ],
)
def test_what_of_an_instance_can_not_travel_is_refused_by_name(model, said):
    with pytest.raises(JobDocumentError, match=said):
        describe(model)


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, dtype=torch.complex64))


class Extra(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)

    def get_extra_state(self):
        return {"a": 1}


class Sparse(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)
        self.register_buffer("graph", torch.eye(2).to_sparse())


@pytest.mark.parametrize(
    ("kind", "said"), [(Complex, "'weight' is torch.complex64"), (Extra, "_extra_state"), (Sparse, "'graph' is sparse")]
)
def test_tensors_of_kinds_that_no_job_has_are_refused_by_name(kind, said):
    with pytest.raises(JobDocumentError, match=said):
        describe(kind())


def zoo():
    """Modules whose instances are alike, though much about them differs by chance."""
    yield lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    yield lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False)
    yield lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    yield lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
    yield lambda: nn.utils.spectral_norm(nn.Linear(3, 2))
    yield lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten())
    yield lambda: Configured(Config(lambda x: x + 1))
    yield Counting


@pytest.mark.parametrize("make", list(zoo()))
def test_instances_that_were_made_alike_are_alike(make):
    one, other = make(), make()
    one.eval()
    assert difference(one, other) is None
    describe_model(one, other)


def test_numbers_of_one_value_are_alike_and_so_are_not_a_number_and_itself():
    assert difference(Configured(2), Configured(2.0)) is None
    assert difference(Configured(math.nan), Configured(float("nan"))) is None


class Wrapped(nn.Module):
    """An argument that nothing shows: it is in a generator."""

    def __init__(self, factor=1):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.factors = (factor for _ in iter(int, 1))

    def forward(self, x):
        return self.layer(x) * next(self.factors)


def test_a_sample_shows_what_no_attribute_does():
    sample, model = torch.rand(3, 2), Wrapped(2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert difference(model, Wrapped()) is None
    with pytest.raises(JobDocumentError, match="on the sample the model's output is another"):
        check_output(model, Wrapped(), sample)
    check_output(model, Wrapped(2), sample)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Prices(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.out = nn.Linear(1, 1)
        nn.init.constant_(self.out.bias, 500_000.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(x))


def bits_of(described):
    return {tensor.name: tensor.fraction_bits for tensor in described.layout.tensors}


def test_fraction_bits_follow_from_the_initial_values_with_a_margin_of_16():
    found = bits_of(describe(Prices()))
    assert found == {
        "norm.weight": 24, "norm.bias": 24, "norm.running_mean": 16, "norm.running_var": 16, "out.weight": 24,
        "out.bias": 8,
    }  # fmt: skip
    assert 2 ** (31 - found["out.bias"]) >= 16 * 500_000 > 2 ** (31 - found["out.bias"] - 1)


def test_fraction_bits_can_be_set_by_name_and_pattern():
    found = bits_of(describe(Prices(), fraction_bits={"norm.running_var": -2, "norm.*": 4, "*.running_*": 6}))
    assert (found["norm.weight"], found["norm.running_mean"], found["norm.running_var"]) == (4, 6, -2)
    with pytest.raises(
        JobDocumentError, match=r"names 'norn\.\*', which fits none of the model's 6 tensors, such as norm"
    ):
        describe(Prices(), fraction_bits={"norn.*": 4})


def test_what_the_error_for_a_large_value_advises_works():
    model = Prices()
    model.norm.running_var.fill_(3e8)
    layout = describe(Prices()).layout
    with pytest.raises(EncodingError, match=r'scale the data.*"norm\.running_var" = -2 in the table fraction_bits'):
        encode(floats_of(model, layout), layout)
    finer = layout.with_bits({"norm.running_var": -2})
    assert decode(encode(floats_of(model, finer), finer), finer)["norm.running_var"].item() == 3e8


@pytest.mark.parametrize("value", [3e38, -3e38, 1e9, 2.0**30, 1e-3])
@pytest.mark.parametrize("bits", [-96, -40, -1, 0])
def test_coarse_fixed_point_rounds_to_half_a_step(value, bits):
    layout = describe_model(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).layout
    layout = type(layout)((TensorLayout("w", (1,), bits),))
    if abs(value) >= 2.0 ** (31 - bits):
        with pytest.raises(EncodingError):
            encode({"w": torch.tensor([value])}, layout)
        return
    back = decode(encode({"w": torch.tensor([value])}, layout), layout)["w"].double().item()
    assert abs(back - value) <= 2.0 ** (-bits - 1) + abs(value) * 2**-24
