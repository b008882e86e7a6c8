"""How clients train, as a job's author writes it."""

from __future__ import annotations

import dataclasses

import pytest
from torch import nn

from galaxy_fl import JobDocumentError, Train
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.losses import LOSSES
from galaxy_fl.training.optimizers import OPTIMIZERS
from galaxy_fl.training.schedulers import SCHEDULERS


@pytest.mark.parametrize(
    ("given", "loss"),
    [
        ("nll", "NLLLoss"),
        ("nll_loss", "NLLLoss"),
        ("NLLLoss", "NLLLoss"),
        ("cross_entropy", "CrossEntropyLoss"),
        ("CrossEntropy", "CrossEntropyLoss"),
        ("mse", "MSELoss"),
        ("l1", "L1Loss"),
        ("smooth_l1_loss", "SmoothL1Loss"),
        ("kl_div", "KLDivLoss"),
        ("poisson_nll", "PoissonNLLLoss"),
        ("bce", "BCELoss"),
        ("bce_with_logits", "BCEWithLogitsLoss"),
        ("binary_cross_entropy", "BCELoss"),
        ("binary_cross_entropy_with_logits", "BCEWithLogitsLoss"),
        ("multilabel_soft_margin_loss", "MultiLabelSoftMarginLoss"),
        ("margin_ranking", "MarginRankingLoss"),
    ],
)
def test_a_loss_by_its_class_or_a_short_name(given, loss):
    assert Train(loss=given).loss == loss
    assert Train(loss=given) == Train(loss=loss)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_has_the_name_of_its_function_in_torch(name):
    known = {function.replace("_", ""): function for function in dir(nn.functional)}
    function = known.get(name.lower(), known.get(name.lower().removesuffix("loss")))
    if function is not None:
        assert Train(loss=function).loss == name
    assert Train(loss=name).loss == name


def test_optimizers_and_schedules_by_short_names():
    for name in OPTIMIZERS:
        assert Train(optimizer=name.lower()).optimizer == name
    options = {"scheduler": "cosine_annealing", "scheduler_options": {"T_max": 5}}
    assert Train(**options).scheduler == "CosineAnnealingLR"
    assert len({name.lower().removesuffix("lr") for name in SCHEDULERS}) == len(SCHEDULERS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loss": "cross_entropi"}, "unknown loss 'cross_entropi': did you mean CrossEntropyLoss"),
        ({"loss": "nnl"}, "did you mean .*NLLLoss"),
        ({"loss": "zzz"}, "unknown loss 'zzz': use one of .*NLLLoss"),
        ({"optimizer": "sdg"}, r"unknown optimizer 'sdg': did you mean .*SGD"),
        ({"scheduler": "StepLT"}, "did you mean .*StepLR"),
        ({"scheduler": "LambdaLR"}, "it calls a function"),
        ({"learning_rate": -0.1}, r"learning_rate: .*greater than 0.*-0\.1"),
        ({"learning_rate": "0.1"}, r"learning_rate: .*number.*'0\.1'"),
        ({"learning_rate": 0, "batch_size": -1, "local_epochs": 0}, "learning_rate: .*batch_size: .*local_epochs: "),
        ({"loss": 3}, r"loss: .*string.*3"),
        ({"seed": -1}, "seed: "),
        ({"momentum": 0.9, "optimizer": "adam"}, "optimizer Adam with options .*momentum"),
        ({"momentum": 0.9, "optimizer_options": {"momentum": 0.5}}, "momentum is given twice"),
        ({"optimizer_options": {"lr": 0.5}}, "set learning_rate instead"),
        ({"optimizer_options": {"momentun": 0.5}}, "momentun"),
        ({"loss_options": {"reduction": "none"}}, "no single number"),
        ({"scheduler_options": {"gamma": 0.5}}, "without a scheduler"),
    ],
)
def test_what_is_wrong_is_named_at_once(wrong, said):
    with pytest.raises(JobDocumentError, match=said):
        Train(**wrong)


def test_it_is_the_train_section_of_a_document():
    names = {one.name for one in dataclasses.fields(Train)} - {"momentum"}
    assert names == set(TrainSpecification.model_fields)
    train = Train(
        loss="mse",
        learning_rate=1,
        batch_size=8,
        local_epochs=2,
        optimizer="sgd",
        momentum=0.9,
        scheduler="step",
        seed=5,
        loss_options={"reduction": "sum"},
        optimizer_options={"weight_decay": 0.1},
        scheduler_options={"step_size": 2},
    )
    assert train.specification() == TrainSpecification(
        loss="MSELoss",
        learning_rate=1.0,
        batch_size=8,
        local_epochs=2,
        optimizer="SGD",
        optimizer_options={"weight_decay": 0.1, "momentum": 0.9},
        scheduler="StepLR",
        scheduler_options={"step_size": 2},
        loss_options={"reduction": "sum"},
        seed=5,
    )
    assert Train().specification() == TrainSpecification()


def test_it_stays_as_it_is_and_reads_as_it_is_written():
    train = Train(loss="nll", optimizer_options={"weight_decay": 0.01}, batch_size=16)
    assert repr(train) == "Train(loss='NLLLoss', batch_size=16, optimizer_options={'weight_decay': 0.01})"
    assert repr(Train()) == "Train()"
    with pytest.raises(dataclasses.FrozenInstanceError):
        train.seed = 3
