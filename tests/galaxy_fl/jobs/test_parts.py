"""Which tensors of a model are shared, personal and frozen, and the file of those that do not travel."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.base import BaseFile, read_base, write_base
from galaxy_fl.jobs.job import Job
from galaxy_fl.jobs.method import Distillation
from galaxy_fl.jobs.parts import Parts, PartTensor, divide
from galaxy_fl.jobs.submission import describe_model


class Net(nn.Module):
    """Layers of which each may be another part."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 3)
        self.bn = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 2)
        self.register_buffer("mask", torch.full((2,), -math.inf))


class Still(Net):
    def __init__(self):
        super().__init__()
        self.body.bias.requires_grad_(False)


class Tied(Net):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(3, 2)
        self.other.weight = self.head.weight


def found(model=Net, **patterns):
    described = describe_model(model(), model(), None, Parts(**patterns))
    return (
        [tensor.name for tensor in described.layout.tensors],
        [tensor.name for tensor in described.personal],
        [tensor.name for tensor in described.frozen],
        [tensor.name for tensor in described.local],
    )


BODY, HEAD = ["body.weight", "body.bias"], ["head.weight", "head.bias"]
AFFINE, STATISTICS = ["bn.weight", "bn.bias"], ["bn.running_mean", "bn.running_var"]
COUNT = ["bn.num_batches_tracked"]


@pytest.mark.parametrize(
    ("patterns", "parts"),
    [
        ({}, ([*BODY, *AFFINE, *STATISTICS, *HEAD], [], [], ["mask", *COUNT])),
        ({"personal": ["bn.*"]}, ([*BODY, *HEAD], [*AFFINE, *STATISTICS, *COUNT], [], ["mask"])),
        ({"personal": ["*.running_*"]}, ([*BODY, *AFFINE, *HEAD], STATISTICS, [], ["mask", *COUNT])),
        ({"frozen": ["b*", "mask"]}, (HEAD, [], ["mask", *BODY, *AFFINE, *STATISTICS, *COUNT], [])),
        ({"frozen": ["not trainable"]}, ([*BODY, *AFFINE, *HEAD], [], ["mask", *STATISTICS, *COUNT], [])),
        ({"shared": ["trainable"]}, ([*BODY, *AFFINE, *HEAD], [], STATISTICS, ["mask", *COUNT])),
        ({"shared": ["head.weight"], "personal": ["head.bias"]}, (
            HEAD[:1], HEAD[1:], [*BODY, *AFFINE, *STATISTICS], ["mask", *COUNT])),
        ({"shared": ["head.*"], "personal": ["body.*"], "frozen": ["bn.*"]}, (
            HEAD, BODY, [*AFFINE, *STATISTICS, *COUNT], ["mask"])),
    ],
)  # fmt: skip
def test_patterns_divide_a_model(patterns, parts):
    in_order = [name for name in Net().state_dict() if any(name in part for part in parts)]
    assert found(**patterns) == tuple(sorted(part, key=in_order.index) for part in parts)


def test_what_requires_no_gradient_is_frozen_whatever_fits_it_beside():
    assert found(Still)[2] == ["body.bias"]
    assert found(Still, personal=["body.*"])[1:3] == (["body.weight"], ["body.bias"])
    assert found(Still, shared=["trainable"])[2] == ["body.bias", *STATISTICS]


@pytest.mark.parametrize(
    ("model", "patterns", "said"),
    [
        (Net, {"personal": ["hed.*"]}, "personal: 'hed.*' fits none of the model's 10 tensors; there are 'head.bias'"),
        (Net, {"frozen": ["nothing"]}, "frozen: 'nothing' fits none"),
        (Net, {"personal": ["*.bias"], "frozen": ["head.*"]}, "'head.bias' is frozen by 'head.*' and personal by '*.b"),
        (Net, {"shared": ["bn.*"], "personal": ["bn.weight"]}, "'bn.weight' is personal by 'bn.weight' and shared by"),
        (Net, {"personal": ["*"]}, "none of the model's 10 tensors is shared"),
        (Net, {"frozen": ["trainable"]}, "no parameter of the model requires a gradient and is not frozen"),
        (Net, {"shared": ["head.*"], "frozen": ["bn.*"]}, "neither has 'body.weight', 'body.bias': name them"),
        (Still, {"personal": ["body.bias"]}, "'body.bias' fits only parameters that do not require gradients"),
        (Tied, {"personal": ["head.*"]}, "'head.weight' and 'other.weight' are one parameter, and 'head.weight' is p"),
    ],
)  # fmt: skip
def test_parts_that_are_not_the_models_are_refused_by_name(model, patterns, said):
    with pytest.raises(JobDocumentError) as error:
        found(model, **patterns)
    assert said in str(error.value)


def test_tensors_that_are_one_stay_one_part():
    assert divide(Tied(), Parts(personal=["head.*", "other.*"]))["other.weight"] == "personal"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"personal": "bn*"}, r"personal is 'bn\*', expected a list"),
        ({"shared": []}, "shared: it is empty, so nothing would travel"),
        ({"frozen": 3}, "frozen is 3, expected a list"),
        ({"shared": ["a", "a"]}, "the pattern 'a' is there twice"),
        ({"frozen": [""]}, "frozen"),
        ({"personal": ["bn*"], "method": Distillation(0.5)}, "in a distillation each client has its whole model"),
    ],
)
def test_lists_of_patterns_are_checked_at_once(given, said):
    with pytest.raises(JobDocumentError, match=said):
        Job(model="mlp", rounds=1, **given)


TYPES = [
    *(torch.bool, torch.uint8, torch.uint16, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64),
    torch.complex64,
]


def test_a_base_is_what_safetensors_reads_and_one_file_for_one_model(tmp_path):
    state = {f"of {dtype}": torch.arange(6).reshape(2, 3).to(dtype) for dtype in TYPES}
    state |= {"scalar": torch.tensor(math.nan), "empty": torch.zeros(3, 0), "turned": torch.arange(6.0).reshape(2, 3).T}
    tensors = [
        PartTensor(name=name, type=str(value.dtype).removeprefix("torch."), shape=list(value.shape))
        for name, value in state.items()
    ]
    write_base(tmp_path / "base", tensors, state)
    write_base(tmp_path / "again", tensors[::-1], state)
    assert (tmp_path / "base").read_bytes() == (tmp_path / "again").read_bytes()
    for read in (read_base(tmp_path / "base", tensors), load_file(tmp_path / "base")):
        assert read.keys() == state.keys()
        for name, value in state.items():
            assert read[name].dtype == value.dtype
            torch.testing.assert_close(read[name], value, rtol=0, atol=0, equal_nan=True)
    unfit = PartTensor(name="wide", type="complex128", shape=[1])
    with pytest.raises(JobDocumentError, match="'wide' is complex128"):
        write_base(tmp_path / "unfit", [unfit], {"wide": torch.zeros(1, dtype=torch.complex128)})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": torch.zeros(2, 3)}, "'b' is not in its base"),
        ({"a": torch.zeros(2, 3), "b": torch.zeros(1), "c": torch.zeros(1)}, "'c' is not in its document"),
        ({"a": torch.zeros(3, 2), "b": torch.zeros(1)}, r"'a' of the job's base is F32 of shape \[3, 2\]"),
        ({"a": torch.zeros(2, 3).half(), "b": torch.zeros(1)}, "'a' of the job's base is F16"),
        (None, "not a safetensors file"),
    ],
)
def test_a_strangers_base_is_compared_with_its_document(tmp_path, content, said):
    if content is None:
        (tmp_path / "base").write_bytes(bytes(100))
    else:
        save_file(content, tmp_path / "base")
    tensors = [PartTensor(name="a", type="float32", shape=[2, 3]), PartTensor(name="b", type="float32", shape=[1])]
    with pytest.raises(JobDocumentError, match=said):
        read_base(tmp_path / "base", tensors)


def test_what_a_base_is_mapped_from_is_not_written_to(tmp_path):
    tensors = [PartTensor(name="a", type="float32", shape=[2])]
    write_base(tmp_path / "base", tensors, {"a": torch.zeros(2)})
    read_base(tmp_path / "base", tensors)["a"].fill_(1)
    assert read_base(tmp_path / "base", tensors)["a"].tolist() == [0, 0]


def test_a_base_that_nobody_has_any_more_is_gone():
    file = BaseFile()
    write_base(file.path, [PartTensor(name="a", type="float32", shape=[2])], {"a": torch.zeros(2)})
    assert file.described.size == file.path.stat().st_size
    folder = file.path.parent
    del file
    assert not folder.exists()
