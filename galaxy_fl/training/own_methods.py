"""What the class of a model may say of training besides `forward`: a loss of its own, and how batches are made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.specification import OWN_LOSS, TrainSpecification

__all__ = ["collate_of", "with_loss"]


def collate_of(kind: type) -> Callable[[list[Any]], Any] | None:
    """Return the function `collate` of a model's class, which makes a batch of a list of samples; None if it has none.

    Raises:
        TrainingError: it needs an instance of the class.
    """
    found = inspect.getattr_static(kind, "collate", None)
    if found is None:
        return None
    if not isinstance(found, staticmethod | classmethod):
        raise TrainingError(
            f"collate of the model's class {kind.__name__} is not a function of samples alone: write @staticmethod "
            "before it, and the list of samples as its only argument"
        )
    collate: Callable[[list[Any]], Any] = getattr(kind, "collate")  # noqa: B009
    return collate


def with_loss(specification: TrainSpecification, model: nn.Module, named: bool | None = None) -> TrainSpecification:
    """Return how a job of a model trains: by its training_step, if it has one and no loss was named.

    Args:
        specification: As the job's author wrote it.
        model: The model.
        named: Whether the author named the loss; None where the specification itself shows it.

    Raises:
        TrainingError: the model's training_step was asked for, and it has none.
    """
    steps = callable(getattr(model, OWN_LOSS, None))
    if specification.loss == OWN_LOSS and not steps:
        raise TrainingError(
            f"the loss is {OWN_LOSS!r}, and the model's class {type(model).__name__} has no method of that name: give "
            "it training_step(self, batch), which returns the loss, or name a loss of torch.nn"
        )
    if steps and not ("loss" in specification.model_fields_set if named is None else named):
        return specification.model_copy(update={"loss": OWN_LOSS})
    return specification
