"""PFL's names, values, defaults and exception texts, one test each."""

from __future__ import annotations

import inspect

import pytest

from galaxy_fl.core.strategy import (
    FederateStrategy,
    RunTimeStrategy,
    TrainStrategyFactory,
    TrainStrategyFatorcy,
    WorkModeStrategy,
)
from galaxy_fl.exceptions import GalaxyError
from galaxy_fl.exceptions.fl_expection import PFLException

LOSSES = {
    "L1_LOSS": "L1loss",
    "MSE_LOSS": "MSELoss",
    "CROSSENTROPY_LOSS": "CrossEntropyLoss",
    "NLL_LOSS": "NLLLoss",
    "POISSIONNLL_LOSS": "PoissonNLLLoss",
    "KLDIV_LOSS": "KLDivLoss",
    "BCE_LOSS": "BCELoss",
    "BCEWITHLOGITS_Loss": "BCEWithLogitsLoss",
    "MARGINRANKING_Loss": "MarginRankinpfloss",
}
OPTIMIZERS = {"OPTIM_SGD": "SGD", "OPTIM_ADAM": "Adam"}


@pytest.mark.parametrize(
    ("strategy", "name", "value"),
    [
        (WorkModeStrategy, "WORKMODE_STANDALONE", "standalone"),
        (WorkModeStrategy, "WORKMODE_CLUSTER", "cluster"),
        (WorkModeStrategy, "WORKMODE_BLOCKCHAIN", "blockchain"),
        (FederateStrategy, "FED_AVG", "fed_avg"),
        (FederateStrategy, "FED_DISTILLATION", "fed_distillation"),
        *((RunTimeStrategy, name, value) for name, value in (LOSSES | OPTIMIZERS).items()),
    ],
)
def test_a_member_has_pfls_name_and_equals_its_value(strategy, name, value):
    member = getattr(strategy, name)
    assert member.value == value == member
    assert str(member) == value


@pytest.mark.parametrize(
    ("right", "pfls"),
    [
        ("POISSONNLL_LOSS", "POISSIONNLL_LOSS"),
        ("BCEWITHLOGITS_LOSS", "BCEWITHLOGITS_Loss"),
        ("MARGINRANKING_LOSS", "MARGINRANKING_Loss"),
    ],
)
def test_a_right_spelling_is_the_same_member(right, pfls):
    assert getattr(RunTimeStrategy, right) is getattr(RunTimeStrategy, pfls)
    assert TrainStrategyFactory is TrainStrategyFatorcy


def test_the_arguments_of_a_train_strategy_are_pfls_first():
    parameters = list(inspect.signature(TrainStrategyFatorcy).parameters.values())
    positional = [(one.name, one.default) for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert positional == [
        ("optimizer", "SGD"),
        ("learning_rate", 0.01),
        ("loss_function", "NLLLoss"),
        ("batch_size", 0),
        ("epoch", 10),
    ]


@pytest.mark.parametrize(
    ("name", "default", "other"),
    [
        ("optimizer", "SGD", RunTimeStrategy.OPTIM_ADAM),
        ("learning_rate", 0.01, 0.5),
        ("loss_function", "NLLLoss", RunTimeStrategy.MSE_LOSS),
        ("batch_size", 0, 7),
        ("epoch", 10, 3),
    ],
)
def test_each_attribute_has_a_getter_and_a_setter(name, default, other):
    strategy = TrainStrategyFatorcy()
    assert getattr(strategy, name) == getattr(strategy, f"get_{name}")() == default
    getattr(strategy, f"set_{name}")(other)
    assert getattr(strategy, name) == getattr(strategy, f"get_{name}")() == other
    assert getattr(TrainStrategyFatorcy(**{name: other}), name) == other


def test_a_setter_takes_a_value_as_well_as_a_member():
    strategy = TrainStrategyFatorcy(optimizer="Adam", loss_function="L1loss")
    assert strategy.optimizer is RunTimeStrategy.OPTIM_ADAM
    assert strategy.loss_function is RunTimeStrategy.L1_LOSS


@pytest.mark.parametrize("wrong", ["sgd", RunTimeStrategy.NLL_LOSS, None, 3])
def test_an_unknown_optimizer(wrong):
    with pytest.raises(PFLException) as caught:
        TrainStrategyFatorcy().set_optimizer(wrong)
    assert str(caught.value) == "'optimizer strategy not found'"
    with pytest.raises(PFLException, match="optimizer strategy not found"):
        TrainStrategyFatorcy(optimizer=wrong)


@pytest.mark.parametrize("wrong", ["nll", RunTimeStrategy.OPTIM_SGD, None, 3])
def test_an_unknown_loss(wrong):
    with pytest.raises(PFLException) as caught:
        TrainStrategyFatorcy().set_loss_function(wrong)
    assert str(caught.value) == "'loss strategy not found'"


def test_the_strategies_that_there_are():
    strategy = TrainStrategyFatorcy()
    assert strategy.get_loss_functions() == list(LOSSES.values())
    assert strategy.get_fed_strategies() == ["fed_avg", "fed_distillation"]
    assert strategy.get_optim_strategies() == ["SGD", "Adam"]


def test_pfls_exception():
    error = PFLException({"a": 1})
    assert str(error) == repr({"a": 1})
    assert error.value == {"a": 1}
    assert isinstance(error, GalaxyError)
    assert error.exit_code == 14


@pytest.mark.parametrize("loss", [one for one in RunTimeStrategy if one not in OPTIMIZERS.values()])
def test_every_loss_is_one_of_torch(loss):
    from torch import nn

    assert issubclass(getattr(nn, TrainStrategyFatorcy(loss_function=loss).specification().loss), nn.Module)


def test_a_strategy_becomes_the_train_section_of_a_job():
    strategy = TrainStrategyFatorcy(
        optimizer=RunTimeStrategy.OPTIM_ADAM,
        learning_rate=1,
        loss_function=RunTimeStrategy.L1_LOSS,
        batch_size=8,
        local_epochs=2,
        seed=5,
        optimizer_options={"weight_decay": 0.1},
        loss_options={"reduction": "sum"},
        scheduler="StepLR",
        scheduler_options={"step_size": 2},
    )
    assert strategy.specification().model_dump(exclude_none=True) == {
        "optimizer": "Adam",
        "optimizer_options": {"weight_decay": 0.1},
        "learning_rate": 1.0,
        "loss": "L1Loss",
        "loss_options": {"reduction": "sum"},
        "scheduler": "StepLR",
        "scheduler_options": {"step_size": 2},
        "batch_size": 8,
        "local_epochs": 2,
        "seed": 5,
    }


def test_wrong_values_are_named_all_at_once():
    with pytest.raises(PFLException, match=r"learning_rate: .*0.*batch_size: .*-1"):
        TrainStrategyFatorcy(learning_rate=0, batch_size=-1).specification()
