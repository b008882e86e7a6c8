"""Whether a job can be trained as its author says, found without its data."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.specification import OWN_LOSS, TrainSpecification
from galaxy_fl.training.losses import build_loss
from galaxy_fl.training.metrics import check_metrics
from galaxy_fl.training.optimizers import build_optimizer
from galaxy_fl.training.schedulers import Schedule

__all__ = ["check_training"]


def check_training(specification: TrainSpecification, parameters: Iterable[nn.Parameter] | None = None) -> None:
    """Make sure that torch has the loss, optimizer, schedule and metrics, and that they take their options.

    Args:
        specification: How the job trains.
        parameters: The model's; without them, a matrix takes their place.

    Raises:
        TrainingError: one of them is unknown, or takes no such option.
    """
    if specification.loss == OWN_LOSS:
        if specification.loss_options:
            raise TrainingError(
                f"loss_options are given, {', '.join(specification.loss_options)}, but the model's own training_step "
                "computes the loss: leave them out, or name a loss of torch.nn"
            )
    else:
        build_loss(specification)
    if specification.metrics:
        check_metrics(specification.metrics)
    chosen = [nn.Parameter(torch.zeros(1, 1))] if parameters is None else parameters
    Schedule(build_optimizer(chosen, specification), specification)
