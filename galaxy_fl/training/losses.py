"""Losses by their names in torch.nn, and what each wants to be given.

A data set gives class labels, and a model ends in a softmax, in a log-softmax, or in neither; losses differ in which of
these they take. Tables say so, and nobody has to wrap a model to change the loss. What an output is, its values say:
see `Ending`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import loss as torch_losses

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.training.names import unknown_name
from galaxy_fl.training.specification import TrainSpecification

__all__ = ["LOSSES", "Ending", "build_loss", "log_probabilities"]


class Ending(Enum):
    """What a model ends in, told by its output [N, classes, …] with at least two classes, a whole batch at a time:

    - probabilities, if no value is negative and the values of each sample sum to 1;
    - log-probabilities, if no value is positive and the exponentials of each sample's values sum to 1;
    - logits otherwise, and wherever there are no classes.

    Sums may be off by 1e-4. Logits are taken for one of the others only if all samples of a batch happen to sum so.

    Losses then get, where the target is class labels or a distribution over classes:

    | loss | probabilities p | log-probabilities log p | logits z |
    |---|---|---|---|
    | CrossEntropy (which takes a log-softmax itself) | log p | log p | z |
    | NLL, KLDiv | log p | log p | log softmax(z) |
    | BCEWithLogits, MultiLabelSoftMargin | log p - log(1 - p) | log p - log(1 - p) | z |
    | BCE | p | p | sigmoid(z) |
    | L1, MSE, SmoothL1, Huber | p | p | z |
    | PoissonNLL (of log-rates, unless log_input=False) | log p | log p | z |
    | any other | as it is | as it is | as it is |

    So every loss that is defined on probabilities is the same for a softmax and for a log-softmax model, and the
    categorical ones for all three. Where the target is real numbers, L1, MSE, SmoothL1, Huber and PoissonNLL are
    regressions, and the output is left as it is. BCE also takes an output between 0 and 1 as it is, which is what a
    sigmoid gives.
    """

    PROBABILITIES = "probabilities"
    LOG_PROBABILITIES = "log-probabilities"
    LOGITS = "logits"

    @classmethod
    def of(cls, output: Tensor) -> Ending:
        """What a model ends in that gives `output`."""
        values = output.detach()
        if values.dim() < 2 or values.shape[1] < 2:
            return cls.LOGITS
        if bool((values >= 0).all()) and bool(((values.sum(dim=1) - 1).abs() < TOLERANCE).all()):
            return cls.PROBABILITIES
        if bool((values <= 0).all()) and bool(((values.exp().sum(dim=1) - 1).abs() < TOLERANCE).all()):
            return cls.LOG_PROBABILITIES
        return cls.LOGITS


TOLERANCE = 1e-4

CATEGORICAL = {"KLDivLoss", "NLLLoss"}
BINARY = {"BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"}
REGRESSION = {"HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss"}
COUNTS = {"PoissonNLLLoss"}
PROBABILISTIC = {"BCELoss"}

DENSE = BINARY | REGRESSION | COUNTS | PROBABILISTIC | {"KLDivLoss"}
"""Take a float target of the output's shape; class labels become one-hot."""


def _of_two(candidate: Any) -> bool:
    # Triplet, CTC, GaussianNLL, … compare more than an output with a target: no data set here gives that.
    is_loss = inspect.isclass(candidate) and issubclass(candidate, torch_losses._Loss)
    return is_loss and len(inspect.signature(candidate.forward).parameters) == 3


# LinearCrossEntropyLoss is a layer with weights of its own, which are no part of a job's model.
LOSSES: dict[str, Any] = {
    name: found
    for name, found in inspect.getmembers(nn, _of_two)
    if not name.startswith("_") and name not in {"LinearCrossEntropyLoss", "NLLLoss2d"}
} | {"MarginRankingLoss": nn.MarginRankingLoss}


def build_loss(specification: TrainSpecification) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of `specification` as a function of a model's output and the data set's targets.

    Output: float [N, classes] (or [N, …]); targets: int64 [N] labels, or whatever the loss itself takes. What becomes
    of either is said in `Ending`. Class labels become one-hot where the loss wants the output's shape.
    MarginRankingLoss compares two scores: here x1 is that of the labelled class, x2 that of the best of the others, and
    y is 1, so x1 has to exceed x2 by `margin`; scores are the output as it is.

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
        computed: Tensor
        if name == "MarginRankingLoss":
            true, other = _margin(output, target)
            computed = criterion(true, other, torch.ones_like(true))
            return computed
        labels = not target.is_floating_point()
        if labels or name not in REGRESSION | COUNTS:
            output = _as_wanted(output, name, options)
        if name in DENSE:
            target = _dense(output, target)
            if labels and options.get("log_target"):  # of KLDivLoss
                target = target.clamp_min(torch.finfo(target.dtype).tiny).log()
        elif not labels:
            target = target.to(output.dtype)
        computed = criterion(output, target)
        return computed

    return loss


def log_probabilities(output: Tensor) -> Tensor:
    """Log-probabilities of `output`, [N, classes, …], whatever its `Ending`; the gradient is finite at 0 and 1.

    A log-softmax leaves log-probabilities as they are, so these need not be told from logits.
    """
    if Ending.of(output) is Ending.PROBABILITIES:
        return output.clamp_min(torch.finfo(output.dtype).tiny).log()
    return torch.log_softmax(output, dim=1)


def _as_wanted(output: Tensor, name: str, options: dict[str, Any]) -> Tensor:
    if name in CATEGORICAL:
        return log_probabilities(output)
    ending = Ending.of(output)
    if name in PROBABILISTIC:
        if ending is Ending.LOG_PROBABILITIES:
            return output.exp()
        values = output.detach()
        given = ending is Ending.PROBABILITIES or bool(((values >= 0) & (values <= 1)).all())
        return output.clamp(0, 1) if given else output.sigmoid()
    if ending is Ending.LOGITS:
        return output
    if name == "CrossEntropyLoss":
        return log_probabilities(output)
    if name in BINARY:
        logarithms = log_probabilities(output)
        # log(1 - p) from log p; away from p = 1, where it is infinite.
        below = logarithms.clamp_max(-torch.finfo(output.dtype).eps)
        return logarithms - (-below.expm1()).log()
    if name in COUNTS and options.get("log_input", True):
        return log_probabilities(output)
    if name in REGRESSION | COUNTS:
        return output.exp() if ending is Ending.LOG_PROBABILITIES else output
    return output


def _dense(output: Tensor, target: Tensor) -> Tensor:
    """A float target of the output's shape. One output a sample takes one number a sample, whatever their shapes."""
    if not target.is_floating_point() and output.dim() == target.dim() + 1 and output.shape[1] > 1:
        target = nn.functional.one_hot(target, output.shape[1]).movedim(-1, 1)
    target = target.to(output.dtype)
    if target.numel() == output.numel() == len(output):
        return target.view_as(output)
    if target.shape != output.shape:  # torch would repeat the one along the other
        raise ValueError("they differ in shape")
    return target


def _margin(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The score of the labelled class and the best of the others, each [N, …]."""
    if target.is_floating_point() or output.dim() != target.dim() + 1 or output.shape[1] < 2:
        raise ValueError(
            "MarginRankingLoss takes class labels, and an output with a score for each of two classes or more"
        )
    labelled = target.unsqueeze(1)
    others = output.scatter(1, labelled, -torch.inf)
    return output.gather(1, labelled).squeeze(1), others.amax(dim=1)
