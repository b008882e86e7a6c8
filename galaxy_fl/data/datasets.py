"""Data sets by name: digits comes with Galaxy, others from torchvision or from the user's own function."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset

from galaxy_fl.data.loaded import indexed
from galaxy_fl.data.loaders import is_loader, taken_for_its_data
from galaxy_fl.data.names import TORCHVISION, check_data_name
from galaxy_fl.exceptions import DataError
from galaxy_fl.without_compiler import import_compiler_later

__all__ = ["Split", "import_function", "load"]

Split = Literal["train", "test"]


def load(name: str, split: Split, root: Path | None = None, download: bool = False) -> Dataset[Any]:
    """The data set `name`: samples (float32 tensor scaled to 0..1, int64 label) unless it is the user's own.

    - `digits`: the UCI handwritten digits, 1x8x8, 10 classes, 1,437 to train and 360 to test on.
    - `mnist`, `fashion-mnist` (1x28x28) and `cifar-10` (3x32x32): torchvision's, under `root` (default
      `data` in the current directory); fetched only with `download`.
    - `module:function`: what the user's `function(split)` returns, imported from the current directory
      or an installed package. A function without parameters gives training data only.

    Raises DataError that says what is missing and where it is expected.
    """
    check_data_name(name)
    if name == "digits":
        return _digits(split)
    if name in TORCHVISION:
        return _torchvision(name, split, Path("data") if root is None else root, download)
    return _own(name, split)


def _digits(split: Split) -> TensorDataset:
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as stored:
        images, labels = stored[f"{split}_images"], stored[f"{split}_labels"]
    return _tensors(images[:, None], labels, brightest=16)


def _torchvision(name: str, split: Split, root: Path, download: bool) -> TensorDataset:
    import_compiler_later()
    from torchvision import datasets

    class_name, folder = TORCHVISION[name]
    try:
        found = getattr(datasets, class_name)(root, train=split == "train", download=download)
    except (RuntimeError, OSError) as error:
        if download:
            raise DataError(f"{name} could not be downloaded to {root.absolute()}: {error}") from error
        raise DataError(
            f"{name} is not there: its files are expected in {root.absolute() / folder}; put them there, or "
            f"fetch them once with load({name!r}, {split!r}, download=True)"
        ) from error
    images = np.asarray(found.data)
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return _tensors(images, np.asarray(found.targets), brightest=255)


def _tensors(images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], brightest: int) -> TensorDataset:
    scaled = np.ascontiguousarray(images, dtype=np.float32) / np.float32(brightest)
    return TensorDataset(torch.from_numpy(scaled), torch.from_numpy(labels.astype(np.int64)))


def _own(name: str, split: Split) -> Dataset[Any]:
    function = import_function(name, "data set")
    try:
        takes_split = bool(inspect.signature(function).parameters)
    except (TypeError, ValueError) as error:
        raise DataError(f"data set {name!r}: it can't be seen how to call the function ({error})") from error
    if split == "test" and not takes_split:
        raise DataError(f"data set {name!r} has no test data: give the function a parameter, split")
    try:
        dataset = function(split) if takes_split else function()
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"data set {name!r}: the function raised {type(error).__name__}: {error}") from error
    if is_loader(dataset):
        return taken_for_its_data(dataset, f"what data set {name!r} returned")
    dataset = indexed(dataset)
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise DataError(
            f"data set {name!r}: the function returned {type(dataset).__name__}, expected a torch Dataset with a length"
        )
    return dataset


def import_function(name: str, what: str) -> Callable[..., Any]:
    """Import `module:function` from the current directory or an installed package.

    Args:
        name: Module and function.
        what: What the function is for, to say in errors.

    Raises:
        DataError: there is no such function.
    """
    module_name, _, function_name = name.partition(":")
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        importlib.invalidate_caches()
        module = importlib.import_module(module_name)
    except Exception as error:
        raise DataError(
            f"{what} {name!r}: importing {module_name!r} (from {here} or the installed packages) "
            f"raised {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(here)
    function = getattr(module, function_name, None)
    if not callable(function):
        where = getattr(module, "__file__", None) or "built in"
        raise DataError(f"{what} {name!r}: {module_name!r} ({where}) has no function {function_name!r}")
    return function  # type: ignore[no-any-return]  # callable, as just checked
