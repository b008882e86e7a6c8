"""Losses by their names in torch.nn, and what each wants to be given.

A data set gives class labels, and a model ends in a softmax, in a log-softmax, or in neither; losses differ in which of
these they take. Nobody has to wrap a model to change the loss: what the model ends in is written in the job document
(`galaxy_fl.jobs.ending`), never guessed from a batch, and this table says what a loss then gets where the target is
class labels or a distribution over classes:

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
regressions, and the output is left as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import loss as torch_losses

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.names import unknown_name

__all__ = [
    "BINARY",
    "CATEGORICAL",
    "FUNCTIONS",
    "LOSSES",
    "PROBABILISTIC",
    "REGRESSION",
    "are_labels",
    "build_loss",
    "log_probabilities",
]

TOLERANCE = 1e-4
"""By how much rounding may take a probability out of its range."""

CATEGORICAL = {"KLDivLoss", "NLLLoss"}
BINARY = {"BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"}
REGRESSION = {"HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss"}
COUNTS = {"PoissonNLLLoss"}
PROBABILISTIC = {"BCELoss"}

DENSE = BINARY | REGRESSION | COUNTS | PROBABILISTIC | {"KLDivLoss"}
"""Take a float target of the output's shape; class labels become one-hot."""

TENSORS = ("weight", "pos_weight")
"""The options that are tensors: a number for each class, which is dimension 1 of the output."""


def _of_two(candidate: Any) -> bool:
    # Triplet, CTC, GaussianNLL, … compare more than an output with a target: no data set here gives that.
    is_loss = inspect.isclass(candidate) and issubclass(candidate, torch_losses._Loss)
    return is_loss and len(inspect.signature(candidate.forward).parameters) == 3


# LinearCrossEntropyLoss is a layer with weights of its own, which are not part of a job's model.
LOSSES: dict[str, Any] = {
    name: found
    for name, found in inspect.getmembers(nn, _of_two)
    if not name.startswith("_") and name not in {"LinearCrossEntropyLoss", "NLLLoss2d"}
} | {"MarginRankingLoss": nn.MarginRankingLoss}
FUNCTIONS = {
    "binary_cross_entropy": "BCELoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
}
"""Losses that torch.nn.functional calls otherwise than torch.nn."""


def build_loss(specification: TrainSpecification, ending: Ending = "logits") -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of `specification` as a function of the output of a model that ends in `ending`, and the targets.

    Output: float [N, classes] (or [N, …]); targets: int64 [N] labels, or whatever the loss itself takes. What becomes
    of the output is said above. Class labels become one-hot where the loss wants the output's shape.
    MarginRankingLoss compares two scores: here x1 is that of the labelled class, x2 that of the best of the others, and
    y is 1, so x1 has to exceed x2 by `margin`; scores are the output as it is. Class weights (`weight`, `pos_weight`)
    are a number for each class, also where torch would have to be given a shape such as [classes, 1, 1].

    Raises TrainingError for a name that torch does not have (with the nearest ones), for one that takes
    more than an output and a target, and for options that the loss does not take. The function raises it for an
    output that is not what the model ends in, and for weights that are not as many as the classes.
    """
    name, options = specification.loss, specification.loss_options
    if name not in LOSSES:
        raise TrainingError(unknown_name("loss", name, LOSSES))
    if options.get("reduction", "mean") == "none":
        raise TrainingError(f"loss {name}: reduction 'none' gives no single number to train on; use 'mean'")
    weights = {option: _numbers(name, option, options[option]) for option in TENSORS if option in options}
    # KLDivLoss's own default divides by the number of classes too, which is not the divergence.
    defaults = {"reduction": "batchmean"} if name == "KLDivLoss" else {}
    try:
        criterion = LOSSES[name](**defaults | options | weights)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"loss {name} with options {options!r}: {error}") from error

    def loss(output: Tensor, target: Tensor) -> Tensor:
        computed: Tensor
        if name == "MarginRankingLoss":
            true, other = _margin(output, target)
            computed = criterion(true, other, torch.ones_like(true))
            return computed
        labels = not target.is_floating_point()
        if name not in REGRESSION | COUNTS or are_labels(output, target):
            output = _as_wanted(output, name, options, ending)
        if name in DENSE:
            target = _dense(output, target)
            if labels and options.get("log_target"):  # of KLDivLoss
                target = target.clamp_min(torch.finfo(target.dtype).tiny).log()
            if name in BINARY | PROBABILISTIC and not bool(((target >= 0) & (target <= 1)).all()):
                raise ValueError(  # torch computes on, and the loss falls without end
                    f"{name} takes targets from 0 (no) to 1 (yes), and the data have {target.min():g} to "
                    f"{target.max():g}: give it such targets, or take CrossEntropyLoss for classes"
                )
        elif not labels:
            target = target.to(output.dtype)
        for option, given in weights.items():
            if given is not None:
                setattr(criterion, option, _for_classes(given, output, f"{option} of {name}", name in DENSE))
        computed = criterion(output, target)
        return computed

    return loss


def _numbers(loss: str, option: str, given: Any) -> Tensor | None:
    """A tensor option, as a document has it: a list of numbers, or one number."""
    if given is None:
        return None
    numbers = given if isinstance(given, list) else [given]
    if not numbers or any(isinstance(each, bool | str) for each in numbers):
        raise TrainingError(f"loss {loss}: {option} is {given!r}, expected a list of numbers, one for each class")
    return torch.tensor(numbers, dtype=torch.float32)


def _for_classes(numbers: Tensor, output: Tensor, what: str, repeated: bool) -> Tensor:
    """`numbers`, one a class, in the shape that repeats each over the rest of `output`, if the loss needs that."""
    classes = output.shape[1] if output.dim() > 1 else 1
    if len(numbers) != classes:
        raise TrainingError(
            f"{what} has {len(numbers)} numbers, but the model's output of shape {tuple(output.shape)} has {classes} "
            f"{'class' if classes == 1 else 'classes'}: give one number for each"
        )
    numbers = numbers.to(output.device, output.dtype)
    return numbers.view(-1, *[1] * (output.dim() - 2)) if repeated and output.dim() > 2 else numbers


def log_probabilities(output: Tensor, ending: Ending = "logits") -> Tensor:
    """Log-probabilities of `output`, [N, classes, …], of a model that ends in `ending`.

    The gradient is finite at 0 and 1. A log-softmax leaves log-probabilities as they are.

    Raises TrainingError for an output that is not what the model ends in.
    """
    if ending == "probabilities":
        return _checked(output, ending).clamp_min(torch.finfo(output.dtype).tiny).log()
    return torch.log_softmax(output, dim=1)


def _checked(output: Tensor, ending: Ending) -> Tensor:
    """`output`, unless no model that ends in `ending` gives it. A NaN is for the loss to find."""
    if ending == "logits":
        return output
    values = output.detach()
    least, most = (0.0, 1.0) if ending == "probabilities" else (-torch.inf, 0.0)
    wrong = values[(values < least - TOLERANCE) | (values > most + TOLERANCE)]
    if len(wrong):
        raise TrainingError(
            f"the job says that its model ends in {ending}, but it gives {wrong[0].item():g}: what a model ends in is "
            "said when its job is made, by `output`"
        )
    return output


def _as_wanted(output: Tensor, name: str, options: dict[str, Any], ending: Ending) -> Tensor:
    if name in CATEGORICAL:
        return log_probabilities(output, ending)
    _checked(output, ending)
    if name in PROBABILISTIC:
        if ending == "log-probabilities":
            return output.exp()
        return output.clamp(0, 1) if ending == "probabilities" else output.sigmoid()
    if ending == "logits":
        return output
    if name == "CrossEntropyLoss":
        return log_probabilities(output, ending)
    if name in BINARY:
        logarithms = output if ending == "log-probabilities" else log_probabilities(output, ending)
        # log(1 - p) from log p; away from p = 1, where it is infinite.
        below = logarithms.clamp_max(-torch.finfo(output.dtype).eps)
        return logarithms - (-below.expm1()).log()
    if name in COUNTS and options.get("log_input", True):
        return log_probabilities(output, ending)
    if name in REGRESSION | COUNTS:
        return output.exp() if ending == "log-probabilities" else output
    return output


def are_labels(output: Tensor, target: Tensor) -> bool:
    """Whether targets are class labels, [N, …], of an output [N, classes, …], and not whole numbers to be met.

    An output [N, steps, 1] and whole numbers [N, steps] are a regression of sequences.
    """
    return (
        not target.is_floating_point()
        and output.dim() > 1
        and output.shape[1] > 1
        and target.shape == (len(output), *output.shape[2:])
    )


def _dense(output: Tensor, target: Tensor) -> Tensor:
    """A float target of the output's shape. One output a sample, or a step, takes one number, whatever their shapes."""
    if are_labels(output, target):
        target = nn.functional.one_hot(target, output.shape[1]).movedim(-1, 1)
    target = target.to(output.dtype)
    if target.numel() == output.numel() and (len(output) == output.numel() or output.shape == (*target.shape, 1)):
        return target.view_as(output)
    if target.shape != output.shape:  # torch would repeat the one along the other
        raise ValueError("they differ in shape")
    return target


def _margin(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The score of the labelled class and the best of the others, each [N, …]."""
    if not are_labels(output, target):
        raise ValueError(
            "MarginRankingLoss takes class labels, and an output with a score for each of two classes or more"
        )
    labelled = target.unsqueeze(1)
    others = output.scatter(1, labelled, -torch.inf)
    return output.gather(1, labelled).squeeze(1), others.amax(dim=1)
