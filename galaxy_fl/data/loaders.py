"""A DataLoader is not a data set."""

from __future__ import annotations

from galaxy_fl.exceptions import DataError

__all__ = ["refuse_loader"]


def refuse_loader(given: object, what: str) -> None:
    """Makes sure that a data set is not a DataLoader around one. Does not import torch.

    Args:
        given: The data set.
        what: What to call it.

    Raises:
        DataError: it is.
    """
    if any(base.__name__ == "DataLoader" and base.__module__.startswith("torch.") for base in type(given).__mro__):
        raise DataError(
            f"{what} is a DataLoader, which gives batches, not samples: give the data set that it loads (its "
            "`.dataset`); the size of batches and their order are the job's"
        )
