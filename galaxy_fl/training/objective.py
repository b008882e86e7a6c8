"""What a model is trained to make small: the loss of a batch, and what else the batch says of the model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from galaxy_fl.exceptions import DataError
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.losses import build_loss
from galaxy_fl.training.minibatches import output_of

__all__ = ["Objective", "Outcome", "build_objective"]


@dataclass(frozen=True)
class Outcome:
    """What a batch came to.

    Attributes:
        loss: Mean over its samples, a scalar with the graph to differentiate.
        output: What the model gave, [N, …].
        target: What it should have given, [N, …].
    """

    loss: Tensor
    output: Tensor
    target: Tensor


Objective = Callable[[Any], Outcome]
"""From a batch on the model's device. The model's mode says whether it is training."""


def build_objective(
    model: nn.Module, specification: TrainSpecification, ending: Ending = "logits", device: str = "cpu"
) -> Objective:
    """Return the objective of a job for a model of it.

    The objective raises DataError, with torch's complaint, for data that do not fit the model or the loss.

    Raises:
        TrainingError: there is no such loss, or it does not take its options.
    """
    return _OfLoss(model, build_loss(specification, ending), specification, device)


def _autocast(specification: TrainSpecification, device: str) -> AbstractContextManager[Any]:
    if specification.precision is None:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


class _OfLoss:
    """One of torch's losses, of the model's output and the targets."""

    def __init__(
        self,
        model: nn.Module,
        loss_of: Callable[[Tensor, Tensor], Tensor],
        specification: TrainSpecification,
        device: str,
    ) -> None:
        self._model = model
        self._loss_of = loss_of
        self._specification = specification
        self._device = device

    def __call__(self, batch: Any) -> Outcome:
        samples, targets = batch
        with _autocast(self._specification, self._device):
            output = output_of(self._model, samples)
        if self._specification.precision is not None:
            output = output.float()  # losses are sums, which bfloat16 has too few digits for
        try:
            return Outcome(self._loss_of(output, targets), output, targets)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise DataError(
                f"targets of shape {tuple(targets.shape)} and type {targets.dtype} do not fit the model's output "
                f"of shape {tuple(output.shape)} in this loss: {error}"
            ) from error
