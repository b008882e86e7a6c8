"""Samples with a structure, taken apart and put together again."""

from collections import UserDict, namedtuple
from dataclasses import asdict, dataclass

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch.utils.data import default_collate

from galaxy_fl.data import structure
from galaxy_fl.exceptions import DataError

Point = namedtuple("Point", "x y")


@dataclass
class Study:
    image: torch.Tensor
    age: float
    note: str
    where: Point


def study(number: int) -> Study:
    return Study(torch.full((2, 2), float(number)), 0.5 * number, f"Grüße {number}", Point(number, [number, 2]))


def travelled(value):
    return structure.decode(*structure.encode(value))


def test_a_batch_keeps_the_structure_and_the_names_of_its_samples_here_and_over_a_pipe():
    for batch in (structure.stack([study(1), study(2)]), travelled(structure.stack([study(1), study(2)]))):
        assert type(batch).__name__ == "Study"
        assert batch.image.shape == (2, 2, 2)
        assert batch.age.tolist() == [0.5, 1.0]
        assert batch.age.dtype == torch.float64
        assert batch.note == ["Grüße 1", "Grüße 2"]
        assert type(batch.where).__name__ == "Point"
        assert batch.where.x.tolist() == [1, 2]
        assert batch.where.y.tolist() == [[1, 2], [2, 2]]
        assert list(asdict(batch)) == ["image", "age", "note", "where"]


@pytest.mark.parametrize(
    "samples",
    [
        [(torch.rand(3), 1), (torch.rand(3), 2)],
        [{"a": torch.rand(3), "b": 1.5}, {"a": torch.rand(3), "b": 2.5}],
        [(np.float32(1), True, np.arange(3)), (np.float32(2), False, np.arange(3))],
        [Point(torch.rand(1), 2), Point(torch.rand(1), 3)],
        [torch.rand(2, 2), torch.rand(2, 2)],
        [5, 6],
        [(torch.rand(2), {"deep": [torch.rand(1), (torch.rand(1),)]})] * 3,
    ],
)
def test_what_torch_stacks_is_stacked_to_the_same_bits(samples):
    expected, found = default_collate(samples), travelled(structure.stack(samples))
    for one, other in zip(structure.flatten(expected)[1], structure.flatten(found)[1], strict=True):
        assert torch.equal(one, other)
        assert one.dtype == other.dtype


def test_samples_travel_apart_each_with_a_form_of_its_own():
    samples = [
        {"words": ["a", "b"], "boxes": torch.rand(2, 4)},
        {"words": [], "boxes": torch.rand(0, 4)},
        "text",
        7,
        None,
    ]
    found = structure.decode(*structure.encode_each(samples))
    assert found[0]["words"] == ["a", "b"]
    assert torch.equal(found[0]["boxes"], samples[0]["boxes"])
    assert found[1]["words"] == []
    assert found[1]["boxes"].shape == (0, 4)
    assert found[2:] == ["text", 7, None]


@pytest.mark.parametrize("number", [0.1, -0.0, float("inf"), 2**62, True])
def test_numbers_keep_every_digit_and_their_type(number):
    (found,) = structure.decode(*structure.encode_each([number]))
    assert (repr(found), type(found)) == (repr(number), type(number))


def test_rows_of_batches_are_picked_cut_and_joined():
    samples = [{"x": torch.tensor([float(n)]), "t": str(n), "of": {"n": n}} for n in range(6)]
    whole = structure.stack(samples)
    halves = structure.join([structure.rows(whole, 0, 2), structure.rows(whole, 2, 6)])
    picked = structure.pick(whole, torch.tensor([4, 1]))
    assert halves["t"] == whole["t"]
    assert torch.equal(halves["of"]["n"], whole["of"]["n"])
    assert picked["t"] == ["4", "1"]
    assert picked["x"].tolist() == [[4.0], [1.0]]
    assert structure.nbytes(whole) == 6 * 4 + 6 * 8


def test_mappings_are_dicts_and_the_batch_moves_as_a_whole():
    batch = structure.to(structure.stack([UserDict(ids=[1, 2]), UserDict(ids=[3, 4])]), "meta")
    assert type(batch) is dict
    assert batch["ids"].device.type == "meta"


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([{"image": object()}], r"a sample has a object at \['image'\], expected a tensor, an array.*such as ToTensor"),
        ([{"a": {"b": {1, 2}}}], r"a sample has a set at \['a'\]\['b'\]"),
        ([{("x", "y"): 1}], r"a sample has the key \('x', 'y'\): keys are texts or whole numbers"),
        ([{"a": np.array(["x"])}], r"an array of type <U1 at \['a'\]"),
        ([{"a": 1}, {"b": 1}], "one has a dict of a and another a dict of b: give all of them the same entries"),
        ([(1, 2), (1, 2, 3)], "one has a tuple of 2 and another a tuple of 3"),
        ([{"a": torch.rand(2)}, {"a": torch.rand(3)}], "can't be stacked.*one shape.*padding.*collate"),
        ([{"a": 1}, {"a": "one"}], "can't be stacked"),
    ],
)
def test_what_no_batch_can_be_made_of_is_told_with_its_place(samples, message):
    with pytest.raises(DataError, match=message):
        structure.stack(samples)


def test_a_sample_within_itself_ends():
    sample: list = [1]
    sample[0] = sample
    with pytest.raises(DataError, match="more than 32 levels deep"):
        structure.stack([sample])


def test_tensors_that_share_memory_and_arrays_that_are_flipped_travel():
    """A language model's labels are often its inputs, and its samples windows of one text."""
    text = torch.arange(6)
    for value in ({"inputs": text, "labels": text}, {"inputs": text[:4], "labels": text[1:5]}):
        sent = load(save(structure.encode(value)[1]))
        found = structure.decode(structure.encode(value)[0], sent)
        assert {name: each.tolist() for name, each in found.items()} == {k: v.tolist() for k, v in value.items()}
    assert travelled({"image": np.arange(6).reshape(2, 3)[:, ::-1]})["image"].tolist() == [[2, 1, 0], [5, 4, 3]]


def test_names_that_python_made_up_travel():
    made_up = namedtuple("Made", ["class", "x"], rename=True)
    assert tuple(travelled(made_up(1, 2))) == (1, 2)


def test_an_error_is_no_longer_than_people_read_whatever_the_keys():
    with pytest.raises(DataError) as long:
        structure.flatten({"k" * 10**6: object()})
    with pytest.raises(DataError) as other:
        structure.stack([{"k" * 10**6: 1}, {"j" * 10**6: 1}])
    assert max(len(str(long.value)), len(str(other.value))) < 1000
    with pytest.raises(DataError, match=r"a list of numbers at \[0\] that torch can't take"):
        structure.flatten(([2**70],))
