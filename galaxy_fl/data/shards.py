"""Clients' parts of data sets: each data set is loaded once, and divided once, however many parts are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from galaxy_fl.data.batches import Rows
from galaxy_fl.data.batches import count as samples
from galaxy_fl.data.datasets import Split, load
from galaxy_fl.data.loaded import indexed, streams
from galaxy_fl.data.partition import Indices, Partition, parse_shard
from galaxy_fl.exceptions import DataError

__all__ = ["Divided", "NamedData", "load_shard"]


class Divided:
    """A data set that is divided among clients, which agree on it by dividing it alike.

    Args:
        dataset: The whole; the parts of a data set of tensors have no copies of them.
        partition: How it is divided; see `Partition`.
        seed: From which seed.

    Raises:
        ConfigurationError: the partition is malformed.
    """

    def __init__(self, dataset: Dataset[Any], partition: str = "iid", seed: int = 0) -> None:
        self._dataset = indexed(dataset)
        self._way = Partition.parse(partition)
        self._seed = seed
        self._parts: dict[int, list[Indices]] = {}

    def part(self, shard: str) -> Dataset[Any]:
        """Return the `shard`, "i/n".

        Raises:
            ConfigurationError: the shard is malformed.
            DataError: the data can't be divided so.
        """
        index, count = parse_shard(shard)
        dataset = self._dataset
        if count == 1:
            return dataset
        if streams(dataset):
            raise DataError(
                f"the data set {type(dataset).__name__} is a stream, which can't be divided into {count} parts: give "
                "each client a stream of its own"
            )
        if count not in self._parts:
            # Where they don't matter, targets may be anything: sequences, images, numbers.
            labels = _labels(dataset) if self._way.by_labels else np.zeros(samples(dataset), np.int64)
            self._parts[count] = self._way.split(labels, count, self._seed)
        indices = self._parts[count][index - 1]
        if isinstance(dataset, TensorDataset):
            return Rows(dataset, torch.from_numpy(indices))
        return Subset(dataset, indices.tolist())


class NamedData:
    """The data sets that were asked for by name, and how they were divided."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, Split, Path | None], Dataset[Any]] = {}
        self._divided: dict[tuple[str, Split, Path | None, str, int], Divided] = {}

    def whole(self, name: str, split: Split, root: Path | None = None) -> Dataset[Any]:
        """Return a data set as `galaxy_fl.data.datasets.load` does; the same one each time.

        Raises:
            DataError: the data are not there.
        """
        named = name, split, root
        if named not in self._loaded:
            self._loaded[named] = load(*named)
        return self._loaded[named]

    def part(
        self, name: str, split: Split, shard: str, partition: str = "iid", seed: int = 0, root: Path | None = None
    ) -> Dataset[Any]:
        """Return the `shard`, "i/n", of a data set: clients with equal arguments agree on it.

        Raises:
            ConfigurationError: the shard or the partition is malformed.
            DataError: the data are not there, or can't be divided so.
        """
        parse_shard(shard)  # first, as loading may take a while
        named = name, split, root, partition, seed
        if named not in self._divided:
            Partition.parse(partition)
            self._divided[named] = Divided(self.whole(name, split, root), partition, seed)
        return self._divided[named].part(shard)


def load_shard(
    name: str, split: Split, shard: str, partition: str = "iid", seed: int = 0, root: Path | None = None
) -> Dataset[Any]:
    """The `shard`, "i/n", of data set `name` under `partition`: clients with equal arguments agree on it.

    A data set of tensors gives one of tensors of its own.

    Raises ConfigurationError for a malformed shard or partition, DataError for data that are not there or
    can't be divided so.
    """
    part = NamedData().part(name, split, shard, partition, seed, root)
    return TensorDataset(*(tensor[part.indices] for tensor in part.whole.tensors)) if isinstance(part, Rows) else part


def _labels(dataset: Dataset[Any]) -> npt.NDArray[Any]:
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[-1].numpy()
    if hasattr(dataset, "targets"):
        return np.asarray(dataset.targets)
    try:
        return np.asarray([dataset[index][1] for index in range(samples(dataset))])
    except (TypeError, IndexError, KeyError, ValueError) as error:
        raise DataError(
            f"the data set {type(dataset).__name__} can't be divided by its labels, because its samples are not "
            f"(input, label) ({type(error).__name__}: {error}): divide it 'iid', or give each client its own data set"
        ) from error
