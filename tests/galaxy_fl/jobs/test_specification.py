"""The train section of a job document."""

import math
import sys
from subprocess import run

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from galaxy_fl.jobs.specification import LARGEST_INTEGER, TrainSpecification

OPTION = (
    st.booleans()
    | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.lists(st.integers(0, 100) | st.floats(0, 1), max_size=4)
    | st.none()
)
SPECIFICATION = st.builds(
    TrainSpecification,
    optimizer=st.from_regex(r"\A[A-Za-z][A-Za-z0-9]{0,20}\Z"),
    optimizer_options=st.dictionaries(st.from_regex(r"\A[a-z]{3,9}\Z"), OPTION, max_size=4),
    learning_rate=st.floats(1e-9, 1e3),
    batch_size=st.integers(0, 2**31 - 1),
    local_epochs=st.integers(1, 1000),
    seed=st.integers(0, LARGEST_INTEGER),
    scheduler=st.sampled_from(["StepLR", "ExponentialLR"]),
    scheduler_options=st.dictionaries(st.from_regex(r"\A[a-z]{3,9}\Z"), OPTION, max_size=2),
)


@given(SPECIFICATION)
def test_every_specification_survives_canonical_json(specification):
    document = rfc8785.dumps(specification.model_dump())
    assert rfc8785.dumps(TrainSpecification.model_validate_json(document).model_dump()) == document


def test_the_defaults_are_those_of_the_protocol_and_what_is_not_asked_for_is_left_out():
    assert TrainSpecification().model_dump(exclude_none=True) == {
        "optimizer": "SGD",
        "optimizer_options": {},
        "learning_rate": 0.01,
        "scheduler_options": {},
        "loss": "CrossEntropyLoss",
        "loss_options": {},
        "batch_size": 32,
        "local_epochs": 1,
        "seed": 0,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": "cuda"},
        {"optimizer": "os.system"},
        {"optimizer": ""},
        {"loss": "__class__"},
        {"loss": 3},
        {"learning_rate": 0},
        {"learning_rate": -0.1},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"learning_rate": "0.1"},
        {"learning_rate": True},
        {"optimizer_options": {"lr": 0.1}},
        {"optimizer_options": {"betas": ["0.9", "0.999"]}},
        {"optimizer_options": {"betas": [0.9, math.inf]}},
        {"optimizer_options": {"betas": [[0.9]]}},
        {"optimizer_options": {"betas": [0.9] * 10_001}},
        {"scheduler": "torch.optim"},
        {"scheduler_options": {"gamma": 0.5}},
        {"optimizer_options": {"momentum": math.nan}},
        {"batch_size": -1},
        {"batch_size": 1.5},
        {"local_epochs": 0},
        {"seed": -1},
        {"seed": 2**53},
    ],
)
def test_what_is_out_of_range_or_of_another_type_is_refused_by_its_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrainSpecification(**wrong)


def test_an_option_may_be_a_list_of_numbers_and_a_tuple_becomes_one():
    specification = TrainSpecification(optimizer_options={"betas": (0.9, 0.999)}, loss_options={"weight": [1, 2.5]})
    assert specification.optimizer_options == {"betas": [0.9, 0.999]}
    assert specification.loss_options == {"weight": [1, 2.5]}


def test_it_can_not_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        TrainSpecification().learning_rate = 1.0  # type: ignore[misc]


def test_neither_it_nor_the_worker_imports_torch():
    program = "import sys, galaxy_fl.worker.worker; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", program], check=False).returncode == 0
