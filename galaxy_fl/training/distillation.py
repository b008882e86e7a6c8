"""Learning from other clients' models: the divergence of a model from its teachers, added to its own loss.

The loss of a batch is

    own loss + alpha * Σ_j KL(q_j ‖ p)

with p the model's probabilities and q_j those of teacher j, at temperature 1 (Zhang, Xiang, Hospedales, Lu: "Deep
Mutual Learning", CVPR 2018, where the clients' models of the previous round are the peers; PFL's distillation is
this). As KL(q ‖ p) = Σ q log q - Σ q log p, all that training needs of the teachers is Σ_j q_j and Σ_j Σ q_j log q_j
of each sample: they are asked once, before training, and however many there are, one of them is in memory, with one
number for each sample and class.

Where a data set gives a sample another look each time it is read (random crops and flips), all teachers are asked about
one look, and the student then learns on others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from galaxy_fl.data import structure
from galaxy_fl.data.batches import count
from galaxy_fl.exceptions import DataError, DivergedError
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.training.losses import log_probabilities
from galaxy_fl.training.minibatches import EVALUATION_BATCH, in_order, output_of, split

__all__ = ["Lessons", "Reduction"]

Reduction = Literal["batchmean", "mean"]

LEAST = math.log(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True)
class Lessons:
    """What the teachers say of each sample of a data set.

    Attributes:
        alpha: Weight of the divergence, at least 0.
        reduction: `batchmean` divides the divergence by the samples of a batch, which is what it is; `mean` by the
            classes too, as torch's kl_div and PFL do by default.
        probabilities: Σ_j q_j, float32 [samples, classes, …].
        negative_entropy: Σ_j Σ q_j log q_j over the classes (and whatever comes after them), float32 [samples].
        ending: What the model ends in.
    """

    alpha: float
    reduction: Reduction
    probabilities: Tensor
    negative_entropy: Tensor
    ending: Ending = "logits"

    @classmethod
    @torch.no_grad()
    def ask(
        cls,
        model: nn.Module,
        teachers: Sequence[Callable[[], Mapping[str, Tensor]]],
        dataset: Dataset[Any],
        alpha: float,
        reduction: Reduction,
        device: str = "cpu",
        ending: Ending = "logits",
    ) -> Lessons | None:
        """Ask each teacher about all of `dataset`, in evaluation mode; None where there is no teacher.

        `teachers` give state_dicts of `model` (integer buffers may be missing). Each is called for every batch, as
        loading weights is cheap beside using them on one, and reading samples may not be. `model` is left with the
        weights of one of them.

        Raises DataError when the model has no classes to be unsure about, or the data do not fit it, DivergedError
        when a teacher's output is NaN.
        """
        if not teachers:
            return None
        probabilities: Tensor | None = None
        model.to(device).eval()
        for part in in_order(dataset, EVALUATION_BATCH):
            pick = part.pick
            inputs, _ = split(structure.to(part.batch, device))
            for number, state in enumerate(teachers, 1):
                model.load_state_dict(state(), strict=False)
                logarithms = _logarithms(output_of(model, *inputs), number, ending)
                if probabilities is None:
                    probabilities = torch.zeros(count(dataset), *logarithms.shape[1:])
                    negative_entropy = torch.zeros(len(probabilities))
                said = logarithms.exp()
                probabilities[pick] += said.cpu()
                negative_entropy[pick] += (said * logarithms).flatten(1).sum(dim=1).cpu()
        assert probabilities is not None  # an empty data set has no batches, and was refused
        return cls(alpha, reduction, probabilities, negative_entropy, ending)

    def loss(self, output: Tensor, pick: Tensor) -> Tensor:
        """The term of a batch: of the model's `output` for the samples of the indices `pick`."""
        said = self.probabilities[pick].to(output.device)
        cross = (said * _normalized(output, self.ending)).sum()
        divergence = self.negative_entropy[pick].to(output.device).sum() - cross
        return self.alpha * divergence / (len(output) if self.reduction == "batchmean" else output.numel())


def _normalized(output: Tensor, ending: Ending) -> Tensor:
    """Log-probabilities whose exponentials sum to 1 over the classes, also where a sigmoid gives each on its own."""
    return torch.log_softmax(log_probabilities(output, ending), dim=1)


def _logarithms(output: Tensor, teacher: int, ending: Ending) -> Tensor:
    """A teacher's log-probabilities, float32 on the CPU, none of them so small that its exponential is 0."""
    if output.dim() < 2 or output.shape[1] < 2:
        raise DataError(
            f"the model's output has the shape {tuple(output.shape)}: to learn from other models takes one of "
            "[samples, classes] with at least two classes"
        )
    logarithms = _normalized(output.float(), ending).clamp_min(LEAST).cpu()
    if bool(logarithms.isnan().any()):
        raise DivergedError(f"teacher {teacher} of this round gives NaN: its client's training has diverged")
    return logarithms
