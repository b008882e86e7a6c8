"""Data sets by name."""

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

import galaxy_fl.data
from galaxy_fl.data.datasets import load
from galaxy_fl.data.loaded import notes_of
from galaxy_fl.data.shards import load_shard
from galaxy_fl.exceptions import DataError

DIGITS = Path(galaxy_fl.data.__file__).with_name("digits.npz")


@pytest.mark.parametrize(("split", "samples"), [("train", 1437), ("test", 360)])
def test_digits_are_images_of_one_channel_scaled_to_one(split, samples):
    images, labels = load("digits", split).tensors
    assert images.shape == (samples, 1, 8, 8)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (0, 1)
    assert labels.dtype == torch.int64
    assert labels.unique().tolist() == list(range(10))


def test_the_digits_are_split_in_equal_proportions_and_do_not_overlap():
    train, test = load("digits", "train"), load("digits", "test")
    share = torch.bincount(train.tensors[1]) / (torch.bincount(train.tensors[1]) + torch.bincount(test.tensors[1]))
    assert ((share - 1437 / 1797).abs() < 0.01).all()
    seen = {image.numpy().tobytes() for image in train.tensors[0]}
    assert not any(image.numpy().tobytes() in seen for image in test.tensors[0])


def test_the_digits_file_is_small_and_holds_plain_arrays():
    assert DIGITS.stat().st_size <= 100_000
    with zipfile.ZipFile(DIGITS) as archive:
        assert len(archive.namelist()) == 4
    with np.load(DIGITS, allow_pickle=False) as stored:
        assert {stored[name].dtype for name in stored} == {np.dtype(np.uint8)}


def test_an_unknown_name_is_told_what_exists():
    with pytest.raises(DataError, match="unknown data set 'digit': use one of digits, cifar-10, fashion-mnist, mnist"):
        load("digit", "train")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar-10"])
def test_files_that_are_not_there_are_not_downloaded_but_asked_for(name, tmp_path):
    with pytest.raises(DataError, match=f"expected in {tmp_path}.*download=True"):
        load(name, "train", root=tmp_path)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    with gzip.open(path, "wb") as file:
        file.write(header + values.tobytes())


def test_mnist_files_are_read_into_scaled_tensors(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.arange(2 * 28 * 28, dtype=np.int64).reshape(2, 28, 28) % 256
    for prefix in ("train", "t10k"):
        for stem, values in (
            ("images-idx3", pixels.astype(np.uint8)),
            ("labels-idx1", np.array([3, 7], np.uint8)),
        ):
            write_idx(raw / f"{prefix}-{stem}-ubyte.gz", values)
            (raw / f"{prefix}-{stem}-ubyte").write_bytes(
                gzip.decompress((raw / f"{prefix}-{stem}-ubyte.gz").read_bytes())
            )
    images, labels = load("mnist", "test", root=tmp_path).tensors
    assert images.shape == (2, 1, 28, 28)
    assert torch.equal(images[:, 0], torch.from_numpy(pixels / 255).float())
    assert labels.tolist() == [3, 7]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hospital_data.py").write_text(
        "import torch\n"
        "from torch.utils.data import TensorDataset\n"
        "def both(split):\n"
        "    samples = 8 if split == 'train' else 2\n"
        "    return TensorDataset(torch.zeros(samples, 3), torch.arange(samples))\n"
        "def training_only():\n"
        "    return [(torch.zeros(3), label % 2) for label in range(6)]\n"
        "def broken():\n"
        "    raise KeyError('patient')\n"
        "def number():\n"
        "    return 5\n"
    )


@pytest.mark.usefixtures("own")
def test_a_function_of_the_current_directory_gives_a_data_set():
    assert len(load("hospital_data:both", "train")) == 8
    assert len(load("hospital_data:both", "test")) == 2
    assert len(load("hospital_data:training_only", "train")) == 6


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "split", "said"),
    [
        ("hospital_data:training_only", "test", "no test data"),
        ("hospital_data:broken", "train", "KeyError: 'patient'"),
        ("hospital_data:number", "train", "returned int"),
        ("hospital_data:absent", "train", "no function 'absent'"),
        ("no_such_module_here:f", "train", "ModuleNotFoundError"),
    ],
)
def test_what_is_wrong_with_a_function_of_the_user_is_said(name, split, said):
    with pytest.raises(DataError, match=said):
        load(name, split)


def test_shards_of_tensors_are_tensors_and_cover_the_data_set():
    shards = [load_shard("digits", "train", f"{number}/4") for number in range(1, 5)]
    assert all(isinstance(shard, TensorDataset) for shard in shards)
    assert sum(map(len, shards)) == 1437
    together = sorted(image.numpy().tobytes() for shard in shards for image in shard.tensors[0])
    assert together == sorted(image.numpy().tobytes() for image in load("digits", "train").tensors[0])


@pytest.mark.usefixtures("own")
def test_shards_of_any_other_data_set_are_subsets_by_its_labels():
    shard = load_shard("hospital_data:training_only", "train", "1/2", "labels:1")
    assert isinstance(shard, Subset)
    assert len({label for _, label in (shard[index] for index in range(len(shard)))}) == 1


def test_sequences_as_targets_can_be_divided_alike(tmp_path, monkeypatch):
    (tmp_path / "sequences.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        "def load():\n    return TensorDataset(torch.rand(10, 3, 2), torch.arange(30).view(10, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    parts = [load_shard("sequences:load", "train", f"{number}/2") for number in (1, 2)]
    assert [len(part) for part in parts] == [5, 5]
    assert {int(part[index][1][0]) for part in parts for index in range(5)} == set(range(0, 30, 3))
    with pytest.raises(DataError, match="expected one label a sample"):
        load_shard("sequences:load", "train", "1/2", "labels:2")


def test_a_loader_is_taken_for_its_data_set_and_what_is_not_used_is_told(tmp_path, monkeypatch):
    (tmp_path / "loaded.py").write_text(
        "import torch\nfrom torch.utils.data import DataLoader, TensorDataset\n"
        "def load():\n"
        "    data = TensorDataset(torch.rand(10, 3), torch.arange(10))\n"
        "    return DataLoader(data, batch_size=4, shuffle=True, drop_last=True)\n"
    )
    monkeypatch.chdir(tmp_path)
    dataset = load("loaded:load", "train")
    assert len(dataset) == 10
    assert notes_of(load_shard("loaded:load", "train", "1/2")) == notes_of(dataset)
    assert notes_of(dataset) == [
        "what data set 'loaded:load' returned is a DataLoader: its data set is used, and its batch_size, shuffle, "
        "drop_last are not; the job says how large batches are, and their order follows from its seed"
    ]
