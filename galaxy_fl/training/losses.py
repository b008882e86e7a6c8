"""Losses by their names in torch.nn, and what each wants to be given.

A data set gives class labels and a model gives logits, probabilities or log-probabilities; losses differ
in which of them they take. Two tables say so, and nobody has to wrap a model to change the loss.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import loss as torch_losses

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.training.names import unknown_name
from galaxy_fl.training.specification import TrainSpecification

__all__ = ["LOSSES", "build_loss", "log_probabilities"]

LogProbabilities = {"NLLLoss", "KLDivLoss"}
"""Take log-probabilities as input."""

OneHot = {
    "BCELoss",
    "BCEWithLogitsLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MultiLabelSoftMarginLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
}
"""Take a float target of the output's shape."""


def _of_two(candidate: Any) -> bool:
    # MarginRanking, Triplet, CTC, … compare more than an output with a target: no data set here gives that.
    is_loss = inspect.isclass(candidate) and issubclass(candidate, torch_losses._Loss)
    return is_loss and len(inspect.signature(candidate.forward).parameters) == 3


LOSSES: dict[str, Any] = {name: found for name, found in inspect.getmembers(nn, _of_two) if not name.startswith("_")}


def build_loss(specification: TrainSpecification) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of `specification` as a function of a model's output and the data set's targets.

    Output: float [N, classes] (or [N, …]); targets: int64 [N] labels, or whatever the loss itself takes.

    Raises TrainingError for a name that torch does not have (with the nearest ones), for one that takes
    more than an output and a target, and for options that the loss does not take.
    """
    name, options = specification.loss, specification.loss_options
    if name not in LOSSES:
        raise TrainingError(unknown_name("loss", name, LOSSES))
    if options.get("reduction", "mean") == "none":
        raise TrainingError(f"loss {name}: reduction 'none' gives no single number to train on; use 'mean'")
    # KLDivLoss's own default divides by the number of classes too, which is not the divergence.
    defaults = {"reduction": "batchmean"} if name == "KLDivLoss" else {}
    try:
        criterion = LOSSES[name](**defaults | options)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"loss {name} with options {options!r}: {error}") from error

    def loss(output: Tensor, target: Tensor) -> Tensor:
        if name in LogProbabilities:
            output = log_probabilities(output)
        if name in OneHot:
            target = _one_hot(output, target)
        computed: Tensor = criterion(output, target)
        return computed

    return loss


def log_probabilities(output: Tensor) -> Tensor:
    """Log-probabilities of `output`, [N, classes, …]: of probabilities, their logarithms or logits.

    Probabilities are told by their values: none negative, and every sample's sum is 1. Logits and
    log-probabilities need not be told apart, since log-softmax leaves log-probabilities as they are.
    """
    values = output.detach()
    if bool((values >= 0).all()) and bool(((values.sum(dim=1) - 1).abs() < 1e-4).all()):
        return output.clamp_min(torch.finfo(output.dtype).tiny).log()
    return torch.log_softmax(output, dim=1)


def _one_hot(output: Tensor, target: Tensor) -> Tensor:
    if target.is_floating_point():
        return target
    if output.dim() == target.dim() + 1 and output.shape[1] > 1:
        return nn.functional.one_hot(target, output.shape[1]).movedim(-1, 1).to(output.dtype)
    return target.to(output.dtype).view_as(output)  # one output: the label is its target
