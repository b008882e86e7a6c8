"""Learning rate schedules."""

import pytest
import torch
from torch import nn

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.optimizers import build_optimizer
from galaxy_fl.training.schedulers import SCHEDULERS, Schedule

OPTIONS = {
    "ConstantLR": {},
    "CosineAnnealingLR": {"T_max": 5},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 2},
    "ExponentialLR": {"gamma": 0.5},
    "LinearLR": {},
    "MultiStepLR": {"milestones": [2, 3]},
    "OneCycleLR": {"max_lr": 1.0, "total_steps": 6},
    "PolynomialLR": {},
    "StepLR": {"step_size": 2},
}


def specification(name, options, **more):
    return TrainSpecification(learning_rate=0.2, scheduler=name, scheduler_options=options, **more)


def optimizer_of(train):
    return build_optimizer([nn.Parameter(torch.zeros(1))], train)


def test_every_schedule_that_can_be_stepped_is_there():
    assert SCHEDULERS.keys() == OPTIONS.keys()


@pytest.mark.parametrize("name", OPTIONS)
def test_a_round_goes_on_where_the_one_before_ended(name):
    train = specification(name, OPTIONS[name], local_epochs=2)
    optimizer = optimizer_of(train)
    whole = SCHEDULERS[name](optimizer, **OPTIONS[name])
    expected = []
    for _ in range(6):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        whole.step()
    rates = []
    for round in (1, 2, 3):
        optimizer = optimizer_of(train)
        schedule = Schedule(optimizer, train, round)
        for _ in range(2):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    assert rates == pytest.approx(expected)
    assert len(set(rates)) > 1


def test_no_schedule_leaves_the_learning_rate_alone():
    train = TrainSpecification(learning_rate=0.2)
    optimizer = optimizer_of(train)
    Schedule(optimizer, train, 7).step()
    assert optimizer.param_groups[0]["lr"] == 0.2


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("steplr", {}, "did you mean StepLR"),
        ("LRScheduler", {}, "unknown scheduler 'LRScheduler'"),
        ("Optimizer", {}, "unknown scheduler 'Optimizer'"),
        ("ReduceLROnPlateau", {}, "ReduceLROnPlateau can't be used: it steps by a metric"),
        ("LambdaLR", {}, "calls a function"),
        ("MultiplicativeLR", {}, "calls a function"),
        ("SequentialLR", {}, "made of other schedulers"),
        ("ChainedScheduler", {}, "made of other schedulers"),
        ("StepLR", {}, "step_size"),
        ("StepLR", {"step_size": 1, "gama": 1}, "gama"),
        ("StepLR", {"step_size": 1, "last_epoch": 3}, "initial_lr"),
        ("OneCycleLR", {"max_lr": 0.1}, "total_steps"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_said(name, options, said):
    train = specification(name, options)
    with pytest.raises(TrainingError, match=said):
        Schedule(optimizer_of(train), train)


def test_the_end_of_a_schedule_is_told_as_such():
    train = specification("OneCycleLR", {"max_lr": 1.0, "total_steps": 3})
    with pytest.raises(TrainingError, match="OneCycleLR can't take another step: .*one a local epoch"):
        Schedule(optimizer_of(train), train, round=6)
