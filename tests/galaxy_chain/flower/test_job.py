"""Registering the job of a Flower app, and which jobs are fit for one."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from galaxy_chain.flower.arrays import as_arrays, difference_of, encoded, numpy_arrays
from galaxy_chain.flower.job import check_fit, create_job, document_of
from galaxy_chain.flower.messages import Asked, samples_of
from galaxy_fl.exceptions import ConfigurationError, EncodingError, JobDocumentError
from galaxy_fl.jobs.rule_choice import RuleChoice
from galaxy_fl.training.models import find_builder
from tests.galaxy_chain.flower.app import initial


def npy(shape):
    """The head of an array's bytes."""
    head = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head


def test_a_models_arrays_travel_there_and_back():
    document, vector = document_of(initial(), "app")
    assert [tensor.name for tensor in document.tensors.tensors] == ["layer.weight", "layer.bias", "half"]
    arrays = as_arrays(document, vector, initial())
    assert list(arrays) == list(initial())
    assert difference_of(document, vector, arrays) is None
    again = encoded(document, arrays, "it")  # float32 has 24 bits, and so has a fraction
    assert np.abs(again[:-5] - vector[:-5]).max() <= 2
    assert np.abs(again[-5:] - vector[-5:]).max() <= 2**13


def test_of_a_module_buffers_get_a_wider_range_and_what_no_vector_has_stays_as_it_began():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    document, vector = document_of(Net(), "app", {"linear.bias": 20})
    bits = {tensor.name: tensor.fraction_bits for tensor in document.tensors.tensors}
    assert bits["norm.running_var"] == 16
    assert (bits["linear.weight"], bits["linear.bias"]) == (24, 20)
    state = {name: value.numpy() for name, value in Net().state_dict().items()}
    arrays = as_arrays(document, vector, state)
    assert arrays["norm.num_batches_tracked"].dtype == np.int64
    assert arrays["mask"][1] == -np.inf
    assert difference_of(document, vector, arrays) is None


@pytest.mark.parametrize(
    ("model", "match"),
    [
        ({"counts": np.zeros(3, np.int64)}, "empty, expected at least one tensor"),
        ({"words": np.array(["a"])}, "'words' is not an array that numpy reads .it is of <U1"),
        ([np.zeros(3)], "model is a list, expected what round 1 starts from"),
        ({"half": torch.zeros(9, dtype=torch.bfloat16)}, "'half' is not an array that numpy reads"),
    ],
)
def test_models_that_can_not_be_carried_are_refused(model, match):
    with pytest.raises(JobDocumentError, match=match):
        document_of(model, "app")


def test_a_value_that_no_fixed_point_carries_is_named():
    with pytest.raises(EncodingError, match="'weight' at"):
        document_of({"weight": np.array([1e3] * 9, np.float32)}, "app", {"weight": 30})


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04junk", npy("(2**62,)"), npy("(1152921504606846976,)"), npy("("), npy("(1,)")[:9]]
)
def test_bytes_that_are_no_array_are_refused_whatever_numpy_meets_them_with(data):
    class Sent:
        def numpy(self):
            return np.load(io.BytesIO(data), allow_pickle=False)  # as Flower does

    with pytest.raises(JobDocumentError, match="'vector' is not an array that numpy reads"):
        numpy_arrays({"vector": Sent()})


def test_it_has_to_be_said_who_may_join():
    with pytest.raises(ConfigurationError, match=r"nobody may join the job: .* open=True"):
        create_job(initial(), rounds=1, clients=1)
    with pytest.raises(ConfigurationError, match="leave out one of them"):
        create_job(initial(), rounds=1, clients=1, open=True, admit=["0x" + "1" * 40])
    with pytest.raises(ConfigurationError, match=r"the job's terms: rounds"):
        create_job(initial(), rounds=0, clients=1, open=True)
    with pytest.raises(ConfigurationError, match=r"settings of a ledger: acount"):
        create_job(initial(), rounds=1, clients=1, open=True, acount="dev:1")


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"rule": RuleChoice(name="coordinate_median")}, "its rule is coordinate_median"),
        ({"weighting": "uniform"}, "its weighting is 'uniform'"),
        ({"reveal": "after-close"}, "it reveals updates 'after-close'"),
        ({"seal": "members"}, "it is sealed"),
    ],
)
def test_jobs_of_another_kind_are_not_served_to_flower(changed, match):
    document, _ = document_of(initial(), "app")
    check_fit(document, 3)
    with pytest.raises(ConfigurationError, match=f"job 3 is not one for a Flower app: {match}"):
        check_fit(document.model_copy(update=changed), 3)


def test_galaxys_own_clients_are_told_whose_model_it_is():
    document, _ = document_of(initial(), "app")
    with pytest.raises(JobDocumentError, match="that of a Flower app"):
        find_builder(document.model.builtin)


@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), float("inf"), True, [3], "3", 2**32])
def test_samples_are_a_whole_number(value):
    with pytest.raises(ConfigurationError, match="expected a whole number"):
        samples_of({"num-examples": value}, "num-examples")


def test_samples_are_found_by_their_key():
    assert samples_of({"num-examples": 12.0}, "num-examples") == 12
    with pytest.raises(ConfigurationError, match="lacks 'num-examples'"):
        samples_of({"loss": 1.0}, "num-examples")


def test_what_is_asked_travels_and_all_else_is_refused():
    asked = Asked(3, 7, "num-examples")
    assert Asked.of(asked.to_record()) == asked
    with pytest.raises(ConfigurationError, match=re.escape("OnLedger(FedAvg(…), job=…)")):
        Asked.of(None)
    for wrong in ({"job": "3"}, {"job": True}, {"attempt": -1}, {"attempt": 2**60}, {"weighted-by": 3}):
        with pytest.raises(ConfigurationError, match="one version of galaxy-fl"):
            Asked.of(asked.to_record() | wrong)


def test_without_flower_the_extra_is_named():
    program = (
        "import sys; sys.modules['flwr'] = None\n"
        "import galaxy_chain.flower as flower\n"
        "from galaxy_fl.exceptions import ConfigurationError\n"
        "for name in ('OnLedger', 'galaxy_mod'):\n"
        "    try: getattr(flower, name)\n"
        "    except ConfigurationError as error: assert \"pip install 'galaxy-fl[flower]'\" in str(error), error\n"
        "    else: raise SystemExit(name)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
