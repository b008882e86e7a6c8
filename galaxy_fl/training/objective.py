"""What a model is trained to make small: the loss of a batch, and what else the batch says of the model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from galaxy_fl.exceptions import DataError, GalaxyError, TrainingError
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.specification import OWN_LOSS, TrainSpecification
from galaxy_fl.training.losses import build_loss
from galaxy_fl.training.minibatches import output_of, split
from galaxy_fl.training.source_model import raised

__all__ = ["Objective", "Outcome", "build_objective", "summary"]


@dataclass(frozen=True)
class Outcome:
    """What a batch came to.

    Attributes:
        loss: Mean over its samples, a scalar with the graph to differentiate.
        output: What the model gave, [N, …]; None where its own step does not say it.
        target: What it should have given, [N, …].
        figures: What else its own step says of the batch.
        weight: How many things `loss` and `figures` are means over, such as tokens; None for samples.
    """

    loss: Tensor
    output: Tensor | None = None
    target: Tensor | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    weight: float | None = None


Objective = Callable[[Any], Outcome]
"""From a batch on the model's device. The model's mode says whether it is training."""


def build_objective(
    model: nn.Module, specification: TrainSpecification, ending: Ending = "logits", device: str = "cpu"
) -> Objective:
    """Return the objective of a job for a model of it: the model's own training_step, or a loss of its output.

    The objective raises DataError, with torch's complaint, for data that do not fit the model or the loss, and
    TrainingError where the model's step fails.

    Raises:
        TrainingError: there is no such loss, or it does not take its options.
    """
    if specification.loss == OWN_LOSS:
        return _OwnStep(model, specification, device)
    return _OfLoss(model, build_loss(specification, ending), specification, device)


def summary(model: nn.Module, specification: TrainSpecification, means: Mapping[str, float]) -> dict[str, float]:
    """Return what the model's own `summarize` says follows from the means over a data set; nothing if it has none.

    Args:
        model: The model.
        specification: How it trains.
        means: The mean loss, as `loss`, and the means of the figures of the model's own step.

    Raises:
        TrainingError: it fails, or returns something else than numbers by name.
    """
    summarize: Any = getattr(model, "summarize", None)
    if specification.loss != OWN_LOSS or not callable(summarize):
        return {}
    try:
        given = summarize(dict(means))
    except GalaxyError:
        raise
    except (Exception, SystemExit) as error:
        raise TrainingError(f"the model's summarize {raised(error)}") from error
    if not isinstance(given, Mapping):
        raise TrainingError(f"the model's summarize returned {_told(given)}, expected a dict of numbers by name")
    return _figures(given, "summarize")


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
        inputs, targets = split(batch)
        with _autocast(self._specification, self._device):
            output = output_of(self._model, *inputs)
        if self._specification.precision is not None:
            output = output.float()  # losses are sums, which bfloat16 has too few digits for
        try:
            return Outcome(self._loss_of(output, targets), output, targets)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise DataError(
                f"targets of shape {tuple(targets.shape)} and type {targets.dtype} do not fit the model's output "
                f"of shape {tuple(output.shape)} in this loss: {error}"
            ) from error


class _OwnStep:
    """The model's method training_step, or in evaluation validation_step, if it has one."""

    def __init__(self, model: nn.Module, specification: TrainSpecification, device: str) -> None:
        self._model = model
        self._specification = specification
        self._device = device
        self._batches = 0

    def __call__(self, batch: Any) -> Outcome:
        validates = not self._model.training and callable(getattr(self._model, "validation_step", None))
        name = "validation_step" if validates else OWN_LOSS
        step: Any = getattr(self._model, name)
        # Lightning's has the batch's number as well, which few use.
        numbered = len(inspect.signature(step).parameters) > 1
        try:
            with _autocast(self._specification, self._device):
                given = step(batch, self._batches) if numbered else step(batch)
        except GalaxyError:
            raise
        except (Exception, SystemExit) as error:
            raise TrainingError(f"the model's {name} {raised(error)}") from error
        self._batches += 1
        return _outcome(given, name)


def _outcome(given: Any, name: str) -> Outcome:
    entries = dict(given) if isinstance(given, Mapping) else {"loss": given}
    loss = entries.pop("loss", None)
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        raise TrainingError(
            f"the model's {name} returned {_told(given)}, expected the loss, a tensor of one number, or a dict that "
            "has it as 'loss'"
        )
    output, target = entries.pop("preds", None), entries.pop("target", None)
    for what, each in (("preds", output), ("target", target)):
        if not isinstance(each, Tensor | None) or (output is None) != (target is None):
            raise TrainingError(
                f"the model's {name} returned {_told(each)} as {what!r}, expected tensors as both 'preds' and 'target'"
            )
    weight = entries.pop("weight", None)
    if weight is not None and not (_one_number(weight) and 0 < float(weight) < math.inf):
        raise TrainingError(
            f"the model's {name} returned {_told(weight)} as 'weight', expected how many things the loss is a mean "
            "over, more than 0"
        )
    figures = _figures(entries, name)
    if output is not None and output.is_floating_point():
        output = output.detach().float()
    return Outcome(loss.reshape(()).float(), output, target, figures, None if weight is None else float(weight))


def _figures(entries: Mapping[Any, Any], name: str) -> dict[str, float]:
    figures = {}
    for what, each in entries.items():
        if not isinstance(what, str) or not 0 < len(what) <= 64 or not what.isprintable():
            raise TrainingError(f"the model's {name} returned a figure by the name {what!r:.80}, expected a short text")
        if not _one_number(each):
            raise TrainingError(
                f"the model's {name} returned {_told(each)} as {what!r}, expected one number: figures are means over a "
                "batch's samples; outputs and targets for metrics are 'preds' and 'target'"
            )
        figures[what] = float(each)
    return figures


def _one_number(value: object) -> TypeGuard[int | float | Tensor]:
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)


def _told(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and type {value.dtype}"
    return f"a dict of {', '.join(map(str, value))}" if isinstance(value, Mapping) else f"{value!r:.80}"
