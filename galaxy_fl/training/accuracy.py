"""The usual accuracy: the fraction of the targets that the model's output names."""

from __future__ import annotations

import math

from torch import Tensor

from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.losses import BINARY, CATEGORICAL, PROBABILISTIC, REGRESSION, are_labels

__all__ = ["Accuracy"]

PADDED = {"CrossEntropyLoss", "NLLLoss"}
IGNORED = -100
"""The label that these losses leave out, unless their option `ignore_index` names another."""
DECISIVE = PROBABILISTIC | BINARY - {"MultiLabelSoftMarginLoss"}
"""Losses of yes and no, of which there may be one a sample."""
DISTRIBUTED = {"CrossEntropyLoss", "KLDivLoss"}
"""Losses that take a distribution over the classes; its largest entry counts as the label."""
DENSE = PROBABILISTIC | BINARY | REGRESSION | CATEGORICAL | DISTRIBUTED
HALF: dict[Ending, float] = {"logits": 0.0, "probabilities": 0.5, "log-probabilities": math.log(0.5)}
"""Above which an output says yes."""


class Accuracy:
    """Counts over the batches of a data set.

    - Class labels [N, …] and an output [N, classes, …]: the largest output is the label's. Labels that the loss ignores
      are not counted.
    - Targets of the output's shape [N, classes, …], all of them one-hot, or distributions where the loss takes them:
      the largest output is the largest target's.
    - Targets of the output's shape, all 0 or 1, for BCE, BCEWithLogits and MultiLabelSoftMargin: each yes and no.
    - Targets of 0 or 1 and one output a sample (or pixel, …), for BCE and BCEWithLogits: yes or no.

    Anything else, such as a regression, has no accuracy. Which row holds is a matter of the whole data set, never of a
    single batch.
    """

    def __init__(self, specification: TrainSpecification, ending: Ending) -> None:
        self._loss = specification.loss
        ignored = specification.loss_options.get("ignore_index", IGNORED)
        self._ignored = ignored if self._loss in PADDED else None
        self._half = HALF[ending]
        self._correct = self._counted = 0
        self._decided = self._decisions = 0
        self._one_hot = self._binary = True

    def add(self, output: Tensor, targets: Tensor) -> None:
        """Count a batch."""
        output = output.detach()
        if are_labels(output, targets):
            right = output.argmax(dim=1) == targets
            if self._ignored is not None:
                right = right[targets != self._ignored]
            self._count(right)
        elif output.shape == targets.shape and output.dim() > 1 and output.shape[1] > 1 and self._loss in DENSE:
            binary = bool(((targets == 0) | (targets == 1)).all())
            self._binary &= binary
            self._one_hot &= binary and bool((targets.sum(dim=1) == 1).all())
            if self._one_hot or self._loss in DISTRIBUTED:
                self._count(output.argmax(dim=1) == targets.argmax(dim=1))
            self._decide(output, targets)
        elif self._loss in DECISIVE and (
            output.shape == targets.shape or len(output) == output.numel() == targets.numel()
        ):
            self._binary &= bool(((targets == 0) | (targets == 1)).all())
            self._one_hot = False
            self._decide(output, targets.view_as(output))

    def _count(self, right: Tensor) -> None:
        self._correct += int(right.sum())
        self._counted += right.numel()

    def _decide(self, output: Tensor, targets: Tensor) -> None:
        self._decided += int(((output > self._half) == (targets > 0.5)).sum())
        self._decisions += targets.numel()

    @property
    def value(self) -> float | None:
        """The fraction that is right; None where nothing can be."""
        if self._counted and (self._one_hot or self._loss in DISTRIBUTED):
            return self._correct / self._counted
        if self._decisions and self._binary and self._loss in PROBABILISTIC | BINARY:
            return self._decided / self._decisions
        return None
