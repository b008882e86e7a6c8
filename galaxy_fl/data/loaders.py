"""A DataLoader in place of a data set is taken for the data set that it loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galaxy_fl.exceptions import DataError

if TYPE_CHECKING:
    from galaxy_fl.data.loaded import Loaded

__all__ = ["is_loader", "taken_for_its_data", "unused_options"]

CHOOSING = ("SequentialSampler", "RandomSampler")
"""Samplers that take every sample once."""
UNUSED = {
    "num_workers": 0,
    "pin_memory": False,
    "drop_last": False,
    "timeout": 0,
    "worker_init_fn": None,
    "generator": None,
    "multiprocessing_context": None,
    "persistent_workers": False,
}
"""Options that are of no use here, apart from the batches' size and order, and their defaults."""


def is_loader(given: object) -> bool:
    """Tell whether it is a torch DataLoader. Does not import torch."""
    return any(base.__name__ == "DataLoader" and base.__module__.startswith("torch.") for base in type(given).__mro__)


def taken_for_its_data(loader: Any, what: str) -> Loaded:
    """Return the data set that a DataLoader loads, with the loader's `collate_fn` if that is not torch's own.

    Args:
        loader: The DataLoader.
        what: What to call it.

    Raises:
        DataError: its sampler leaves samples out or repeats them, which would be lost.
    """
    from galaxy_fl.data.loaded import Loaded

    samplers = [getattr(loader, "sampler", None), getattr(loader.batch_sampler, "sampler", None)]
    for given, known in ((loader.batch_sampler, ("BatchSampler",)), *((each, CHOOSING) for each in samplers)):
        name = type(given).__name__
        infinite = name == "_InfiniteConstantSampler"  # of an IterableDataset
        if given is not None and not infinite and name not in known:
            raise DataError(
                f"{what} is a DataLoader with the sampler {name}, which chooses samples; the job chooses their order, "
                "and takes each once: give the samples themselves, such as torch.utils.data.Subset(data, indices)"
            )
        if getattr(given, "replacement", False) or getattr(given, "_num_samples", None) is not None:
            raise DataError(
                f"{what} is a DataLoader whose RandomSampler draws with replacement or num_samples; the job takes each "
                "sample once an epoch: give the data set itself"
            )
    return Loaded(loader, what)


def unused_options(loader: Any) -> list[str]:
    """Return the names of the loader's options that something else has the place of here."""
    found = [] if loader.batch_size in (1, None) else ["batch_size"]
    found += ["shuffle"] if type(getattr(loader, "sampler", None)).__name__ == "RandomSampler" else []
    return found + [name for name, default in UNUSED.items() if getattr(loader, name, default) not in (default, None)]
