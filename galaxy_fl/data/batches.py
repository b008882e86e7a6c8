"""A batch of a data set, by the indices of its samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset, default_collate

from galaxy_fl.data.loaders import refuse_loader
from galaxy_fl.exceptions import DataError

__all__ = ["Batch", "Batches", "Rows", "count", "take"]

Batch = tuple[Tensor, Tensor]
"""Samples and targets, each with one entry a sample."""


class Batches(Dataset[Batch]):
    """A data set that is asked for several batches at once, and has the next on their way while one is used."""

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


def count(dataset: Dataset[Any]) -> int:
    """The number of samples.

    Raises DataError where there is none: an empty data set, or one that can only be iterated over.
    """
    refuse_loader(dataset, "the data set")
    try:
        samples = len(dataset)  # type: ignore[arg-type]  # torch's Dataset declares no __len__
    except TypeError as error:
        raise DataError(
            f"the data set {type(dataset).__name__} has no length: give it __len__ and __getitem__"
        ) from error
    if samples == 0:
        raise DataError("the data set is empty: a client needs at least one sample")
    return samples


def take(dataset: Dataset[Any], indices: Tensor | Sequence[int]) -> Batch:
    """The samples at `indices`, int64 [n], and their targets, stacked by torch's `default_collate`.

    A TensorDataset, or rows of one, is indexed, which for small samples is many times faster than stacking.

    Raises DataError when a sample is not (input, target), or can't be stacked with the others. What the data set
    itself raises goes through.
    """
    if isinstance(dataset, Rows):
        return take(dataset.whole, dataset.indices[torch.as_tensor(indices)])
    if isinstance(dataset, TensorDataset):
        if len(dataset.tensors) != 2:
            raise DataError(f"a sample has {len(dataset.tensors)} tensors, expected two: input and target")
        picked = torch.as_tensor(indices)
        return dataset.tensors[0][picked], dataset.tensors[1][picked]
    picks: list[int] = indices.tolist() if isinstance(indices, Tensor) else list(indices)
    batched = getattr(dataset, "__getitems__", None)
    samples = [dataset[index] for index in picks] if batched is None else batched(picks)
    try:
        batch = default_collate(samples)
    except (TypeError, RuntimeError, ValueError, KeyError) as error:
        raise DataError(
            f"samples can't be stacked to a batch: {error}; a sample is an input and a target, each a tensor or a "
            "number, and all inputs have one shape: give the data set a transform that sees to it, such as ToTensor"
        ) from error
    if not isinstance(batch, list | tuple) or len(batch) != 2 or not all(isinstance(part, Tensor) for part in batch):
        raise DataError(f"a sample is {_kind(samples[0])}, expected (input, target), each a tensor or a number")
    return batch[0], batch[1]


def _kind(sample: object) -> str:
    if isinstance(sample, tuple | list):
        return f"({', '.join(type(part).__name__ for part in sample)})"
    return f"a {type(sample).__name__}"
