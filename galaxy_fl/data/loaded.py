"""Data sets that stand for what a user gave: a DataLoader's, and a stream that is read by numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import Dataset, IterableDataset, Subset, default_collate, default_convert

from galaxy_fl.data.loaders import unused_options
from galaxy_fl.exceptions import DataError

__all__ = ["Loaded", "Streamed", "indexed", "notes_of", "own_collate", "streams"]


class Loaded(Dataset[Any]):
    """The data set of a DataLoader.

    Attributes:
        dataset: It.
        collate_fn: The loader's, unless it is torch's own.
        notes: What the operator should know of it.
    """

    def __init__(self, loader: Any, what: str) -> None:
        self.dataset: Dataset[Any] = indexed(loader.dataset)
        self.collate_fn = None if loader.collate_fn in (default_collate, default_convert) else loader.collate_fn
        unused = unused_options(loader)
        self.notes = [
            f"{what} is a DataLoader: its data set is used"
            + (", with its collate_fn" if self.collate_fn is not None else "")
            + (f", and its {', '.join(unused)} {'are' if len(unused) > 1 else 'is'} not" if unused else "")
            + "; the job says how large batches are, and their order follows from its seed"
        ]

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]


class Streamed(Dataset[Any]):
    """An IterableDataset that states its length: a round trains on so many samples from its beginning, as they come.

    Raises:
        DataError: when it is read, it ends before that.
    """

    def __init__(self, source: IterableDataset[Any]) -> None:
        self.source = source
        self._iterator: Iterator[Any] | None = None
        self._next = 0

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        if self._iterator is None or index < self._next:
            self._iterator, self._next = iter(self.source), 0
        for sample in self._iterator:
            self._next += 1
            if self._next > index:
                return sample
        read, self._iterator = self._next, None
        raise DataError(
            f"the data set {type(self.source).__name__} ended after {read} samples, and its length is {len(self)}: "
            "state as many as it gives"
        )


def indexed(dataset: Any) -> Dataset[Any]:
    """Return a data set that can be read by numbers: the same one, unless it is a stream."""
    if isinstance(dataset, Dataset | Sequence) and not isinstance(dataset, IterableDataset):
        return dataset  # type: ignore[return-value]
    by_numbers = hasattr(dataset, "__getitem__") and not isinstance(dataset, IterableDataset)
    return dataset if by_numbers or not hasattr(dataset, "__iter__") else Streamed(dataset)


def streams(dataset: Any) -> bool:
    """Tell whether samples come in an order of their own."""
    if isinstance(dataset, Loaded):
        return streams(dataset.dataset)
    return isinstance(dataset, Streamed) or bool(getattr(dataset, "streams", False))


def own_collate(dataset: Any) -> Callable[[list[Any]], Any] | None:
    """Return the `collate_fn` of a data set, or of the one that it is a part of."""
    while getattr(dataset, "collate_fn", None) is None and isinstance(dataset, Subset):
        dataset = dataset.dataset
    found = getattr(dataset, "collate_fn", None)
    return found if callable(found) else None


def notes_of(dataset: Any) -> list[str]:
    """Return what the operator should know of a data set."""
    while isinstance(getattr(dataset, "dataset", None), Dataset) and not isinstance(dataset, Loaded):
        dataset = dataset.dataset  # of a part of one
    return list(dataset.notes) if isinstance(dataset, Loaded) else []
