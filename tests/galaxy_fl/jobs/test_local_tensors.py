"""Tensors that go with a job document."""

from __future__ import annotations

import base64
import math
import zlib

import pytest
import torch
from pydantic import ValidationError

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.local_tensors import LocalTensor


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor(3),
        torch.tensor([[True, False]]),
        torch.zeros(0, 3, dtype=torch.int8),
        torch.arange(12, dtype=torch.int16).reshape(3, 4).t(),
        torch.full((3, 3), -math.inf).triu(1),
        torch.tensor([1.5, math.nan], dtype=torch.bfloat16),
        torch.tensor([2**63], dtype=torch.uint64),
        torch.tensor([1 + 2j]).conj(),
    ],
)
def test_a_tensor_comes_back_bit_for_bit(value):
    there = LocalTensor.of("a", value)
    back = LocalTensor.model_validate_json(there.model_dump_json()).tensor()
    assert back.dtype == value.dtype
    assert back.shape == value.shape
    assert torch.equal(torch.nan_to_num(back) if back.is_floating_point() else back,
                       torch.nan_to_num(value) if back.is_floating_point() else value.resolve_conj())  # fmt: skip


def test_a_large_mask_takes_little_room():
    assert len(LocalTensor.of("mask", torch.full((1024, 1024), -math.inf).triu(1)).data) < 20_000


def test_a_type_that_does_not_travel_is_named():
    with pytest.raises(JobDocumentError, match=r"'a' is torch\.float8_e5m2"):
        LocalTensor.of("a", torch.zeros(1, dtype=torch.float8_e5m2))


def coded(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"data": coded(bytes(7))},
        {"data": coded(bytes(9))},
        {"data": coded(bytes(2**20))},
        {"data": coded(bytes(8))[:-4]},
        {"data": "%%%"},
        {"data": base64.b64encode(b"not compressed").decode()},
        {"data": base64.b64encode(zlib.compress(bytes(8)) + b"more").decode()},
        {"shape": [-1]},
        {"shape": [2**40]},
        {"shape": [0, 2**40]},
        {"type": "object"},
        {"name": ""},
        {"more": 1},
    ],
)
def test_what_a_stranger_makes_up_is_refused(change):
    right = {"name": "a", "type": "int64", "shape": [], "data": coded(bytes(8))}
    assert LocalTensor.model_validate(right).tensor().item() == 0
    with pytest.raises(ValidationError):
        LocalTensor.model_validate(right | change)
