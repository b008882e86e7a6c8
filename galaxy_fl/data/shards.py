"""One client's part of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from galaxy_fl.data.batches import count as samples
from galaxy_fl.data.datasets import Split, load
from galaxy_fl.data.partition import Partition, parse_shard

__all__ = ["load_shard"]


def load_shard(
    name: str, split: Split, shard: str, partition: str = "iid", seed: int = 0, root: Path | None = None
) -> Dataset[Any]:
    """The `shard`, "i/n", of data set `name` under `partition`: clients with equal arguments agree on it.

    A data set of tensors gives one of tensors, so that it trains as fast.

    Raises ConfigurationError for a malformed shard or partition, DataError for data that are not there or
    can't be divided so.
    """
    index, count = parse_shard(shard)
    way = Partition.parse(partition)
    dataset = load(name, split, root)
    if count == 1:
        return dataset
    # Where they don't matter, targets may be anything: sequences, images, numbers.
    labels = _labels(dataset) if way.by_labels else np.zeros(samples(dataset), np.int64)
    indices = way.split(labels, count, seed)[index - 1]
    if isinstance(dataset, TensorDataset):
        return TensorDataset(*(tensor[torch.from_numpy(indices)] for tensor in dataset.tensors))
    return Subset(dataset, indices.tolist())


def _labels(dataset: Dataset[Any]) -> npt.NDArray[Any]:
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[-1].numpy()
    if hasattr(dataset, "targets"):
        return np.asarray(dataset.targets)
    length = len(dataset)  # type: ignore[arg-type]  # torch's Dataset declares no __len__
    return np.asarray([dataset[index][1] for index in range(length)])
