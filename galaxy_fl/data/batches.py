"""A batch of a data set, by the indices of its samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset, default_collate

from galaxy_fl.data import structure
from galaxy_fl.data.loaded import Loaded, Streamed, indexed, own_collate, streams
from galaxy_fl.data.loaders import is_loader
from galaxy_fl.exceptions import DataError

__all__ = ["Batch", "Batches", "Collated", "Held", "Repeated", "Rows", "batches", "count", "read", "stacks", "take"]

Batch = Any
"""Samples as `galaxy_fl.data.structure.stack` stacks them, or as a collate function of the data set's or the model's
puts them together; of most data sets (samples, targets), each with one entry a sample."""


class Batches(Dataset[Any]):
    """A data set that is asked for several batches at once, and has the next on their way while one is used."""

    stacks: bool
    """Whether a batch is samples stacked, and not what somebody's function made of them."""

    @abstractmethod
    def fetch(self, picks: Sequence[Tensor]) -> Iterator[Batch]:
        """Yield the batches of the indices in `picks`, int64 [n] each, one after the other."""


class Rows(Dataset[tuple[Tensor, ...]]):
    """Some samples of a data set of tensors, which is shared and not copied.

    Args:
        whole: The data set.
        indices: Which samples of it, int64 [n].
    """

    def __init__(self, whole: TensorDataset, indices: Tensor) -> None:
        self.whole = whole
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        row: tuple[Tensor, ...] = self.whole[int(self.indices[index])]
        return row


class Collated(Dataset[Any]):
    """A data set of which a function of the model's makes batches, where the data set has none of its own."""

    def __init__(self, dataset: Dataset[Any], collate: Callable[[list[Any]], Any]) -> None:
        self.dataset = dataset
        self.collate = collate
        self.streams = streams(dataset)

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]


class Held(Dataset[Any]):
    """A batch that was stacked, as a data set."""

    def __init__(self, batch: Batch, samples: int) -> None:
        self.batch = batch
        self._samples = samples

    def __len__(self) -> int:
        return self._samples


class Repeated(Batches):
    """The first few samples of a data set, again and again.

    Args:
        dataset: The data set.
        few: How many are read.
        samples: How many there seem to be.
    """

    def __init__(self, dataset: Dataset[Any], few: int, samples: int) -> None:
        self._dataset = dataset
        self._few = few
        self._samples = samples
        self.stacks = stacks(dataset)

    def __len__(self) -> int:
        return self._samples

    def fetch(self, picks: Sequence[Tensor]) -> Iterator[Batch]:
        """Yield their batches."""
        return batches(self._dataset, [pick % self._few for pick in picks])


def count(dataset: Dataset[Any]) -> int:
    """The number of samples.

    Raises DataError where there is none: an empty data set, or one that can only be iterated over.
    """
    if is_loader(dataset):
        raise DataError("the data set is a DataLoader, which gives batches: give the data set that it loads")
    try:
        samples = len(dataset)  # type: ignore[arg-type]  # torch's Dataset declares no __len__
    except TypeError as error:
        raise DataError(
            f"the data set {type(dataset).__name__} has no length: give it __len__, and __getitem__ or, for a stream, "
            "__iter__; of an endless stream the length is how many samples a local epoch takes"
        ) from error
    if samples == 0:
        raise DataError("the data set is empty: a client needs at least one sample")
    return samples


def stacks(dataset: Dataset[Any]) -> bool:
    """Tell whether a data set's batches are samples stacked."""
    if isinstance(dataset, Batches):
        return dataset.stacks
    return not isinstance(dataset, Collated) and own_collate(dataset) is None


def batches(dataset: Dataset[Any], picks: Sequence[Tensor]) -> Iterator[Batch]:
    """Yield the batches of the indices in `picks`, int64 [n] each."""
    if isinstance(dataset, Batches):
        return dataset.fetch(picks)
    return (take(dataset, pick) for pick in picks)


def take(dataset: Dataset[Any], indices: Tensor | Sequence[int]) -> Batch:
    """The batch of the samples at `indices`, int64 [n].

    The data set's own `collate_fn` makes it of them, or else the model's `collate`, or else they are stacked. A
    TensorDataset, or rows of one, is indexed, which for small samples is many times faster than stacking.

    Raises DataError when a sample is nothing that a batch is made of, or can't be stacked with the others. What the
    data set itself raises goes through.
    """
    if isinstance(dataset, Rows):
        return take(dataset.whole, dataset.indices[torch.as_tensor(indices)])
    if isinstance(dataset, TensorDataset) and own_collate(dataset) is None:
        picked = torch.as_tensor(indices)
        return tuple(tensor[picked] for tensor in dataset.tensors)
    if isinstance(dataset, Held):
        return structure.pick(dataset.batch, torch.as_tensor(indices))
    if isinstance(dataset, Loaded) and dataset.collate_fn is None:
        return take(dataset.dataset, indices)
    inner = dataset.dataset if isinstance(dataset, Collated) else dataset
    samples = read(inner, indices)
    if (own := own_collate(inner)) is not None:
        return own(samples)
    if isinstance(dataset, Collated):
        parts = [structure.flatten(sample) for sample in samples]
        return dataset.collate([structure.unflatten(*part) for part in parts])
    return _stacked(samples)


def read(dataset: Dataset[Any], indices: Tensor | Sequence[int]) -> list[Any]:
    """The samples at `indices` as the data set gives them; each is read once, however often it is asked for."""
    if isinstance(dataset, Loaded):
        return read(dataset.dataset, indices)
    dataset = indexed(dataset)
    picks: list[int] = indices.tolist() if isinstance(indices, Tensor) else list(indices)
    once = picks if len(set(picks)) == len(picks) else sorted(set(picks))
    batched = None if isinstance(dataset, Streamed) else getattr(dataset, "__getitems__", None)
    samples = [dataset[index] for index in once] if batched is None else list(batched(once))
    if once is picks:
        return samples
    by_index = dict(zip(once, samples, strict=True))
    return [by_index[index] for index in picks]


def _stacked(samples: list[Any]) -> Batch:
    first = samples[0]
    pair = type(first) in (tuple, list) and len(first) == 2
    if not pair or not all(isinstance(part, Tensor | np.ndarray | np.generic | int | float) for part in first):
        return structure.stack(samples)
    try:
        return tuple(default_collate(samples))
    except (TypeError, RuntimeError, ValueError, KeyError) as error:
        raise DataError(
            f"samples can't be stacked to a batch: {error}; a sample is an input and a target, each a tensor or a "
            "number, and all inputs have one shape: give the data set a transform that sees to it, such as ToTensor"
        ) from error
