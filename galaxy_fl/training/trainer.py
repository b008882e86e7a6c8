"""Training and evaluating one model on one client's data: the only training loop there is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from galaxy_fl.data.batches import count
from galaxy_fl.exceptions import DataError, DivergedError, TrainingError
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.accuracy import Accuracy
from galaxy_fl.training.distillation import Lessons
from galaxy_fl.training.losses import build_loss
from galaxy_fl.training.minibatches import EVALUATION_BATCH, in_order, leaves_one, output_of, shuffled
from galaxy_fl.training.optimizers import build_optimizer
from galaxy_fl.training.randomness import seed_torch
from galaxy_fl.training.results import Evaluation, TrainResult
from galaxy_fl.training.schedulers import Schedule

__all__ = ["OnBatch", "Score", "evaluate", "train"]

OnBatch = Callable[[int, int, float], None]
"""Called after each step with epoch and batch, both counted from 1, and the batch's loss."""

Score = Callable[[Tensor, Tensor], float]
"""The accuracy of a batch, from the model's output and the targets."""


def train(
    model: nn.Module,
    dataset: Dataset[Any],
    specification: TrainSpecification,
    seed: int,
    device: str = "cpu",
    on_batch: OnBatch | None = None,
    round: int = 1,
    lessons: Lessons | None = None,
    ending: Ending = "logits",
) -> TrainResult:
    """Train `model` in place for `specification.local_epochs` passes over `dataset`.

    A sample is (float tensor, label or target). `seed` decides the order of the samples and whatever else
    is random (dropout): on one CPU thread the same seed gives the same weights, to the bit. The caller's
    random state on the CPU is left alone. The optimizer is a new one; the learning rate's schedule goes on
    from where `round`, counted from 1, begins. With `lessons` the loss has the divergence from the teachers added,
    in the result, too. `ending` is what the model ends in. A last batch of one sample joins the one before where the
    model has batch normalisation, which can't be trained on it.

    Raises DivergedError when a loss is NaN or infinite, DataError when the data do not fit the model or the
    loss, TrainingError when the specification names what torch does not have, or an optimizer that can't train it.
    """
    started = time.perf_counter()
    loss_of = build_loss(specification, ending)
    model.to(device).train()
    optimizer = build_optimizer(model.parameters(), specification)
    schedule = Schedule(optimizer, specification, round)
    order = torch.Generator().manual_seed(seed)
    none_alone = leaves_one(model, count(dataset), specification.batch_size)
    batches = 0
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed, device)
        for epoch in range(1, specification.local_epochs + 1):
            tally = _Tally(specification, ending)
            epoch_batches = shuffled(dataset, specification.batch_size, order, none_alone)
            for batch, (pick, samples, targets) in enumerate(epoch_batches, start=1):
                samples, targets = samples.to(device), targets.to(device)
                output, loss = _apply(model, loss_of, samples, targets)
                if lessons is not None:
                    loss = loss + lessons.loss(output, pick)
                value = loss.item()
                if not math.isfinite(value):
                    raise DivergedError(
                        f"the loss became {value} in epoch {epoch}, batch {batch}, with learning rate "
                        f"{specification.learning_rate:g}: lower the learning rate, or look for NaN and "
                        f"unscaled values in the data"
                    )
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                try:
                    optimizer.step()
                except RuntimeError as error:  # such as of sparse gradients
                    raise TrainingError(
                        f"optimizer {specification.optimizer} can't train this model: {error}"
                    ) from error
                tally.add(output, targets, value)
                batches += 1
                if on_batch is not None:
                    on_batch(epoch, batch, value)
            schedule.step()
    return TrainResult(
        samples=tally.samples,
        loss=tally.loss,
        accuracy=tally.accuracy,
        seconds=time.perf_counter() - started,
        batches=batches,
    )


@torch.no_grad()
def evaluate(
    model: nn.Module,
    dataset: Dataset[Any],
    specification: TrainSpecification,
    device: str = "cpu",
    score: Score | None = None,
    ending: Ending = "logits",
) -> Evaluation:
    """Mean loss and accuracy of `model`, in evaluation mode, over `dataset`.

    The accuracy is that of `galaxy_fl.training.accuracy`, or the mean of `score`, weighted by samples. `ending` is what
    the model ends in.

    Raises DivergedError when the loss is NaN or infinite, DataError when the data do not fit the model.
    """
    loss_of = build_loss(specification, ending)
    model.to(device).eval()
    tally = _Tally(specification, ending)
    scores = 0.0
    for _, samples, targets in in_order(dataset, EVALUATION_BATCH):
        samples, targets = samples.to(device), targets.to(device)
        output, loss = _apply(model, loss_of, samples, targets)
        tally.add(output, targets, loss.item())
        if score is not None:
            scores += score(output, targets) * len(targets)
    if not math.isfinite(tally.loss):
        raise DivergedError(f"the loss of the evaluated model is {tally.loss}: it has diverged")
    accuracy = tally.accuracy if score is None else scores / tally.samples
    return Evaluation(samples=tally.samples, loss=tally.loss, accuracy=accuracy)


class _Tally:
    """Sums over batches."""

    def __init__(self, specification: TrainSpecification, ending: Ending) -> None:
        self.samples = 0
        self._loss = 0.0
        self._accuracy = Accuracy(specification, ending)

    def add(self, output: Tensor, targets: Tensor, loss: float) -> None:
        self.samples += len(targets)
        self._loss += loss * len(targets)
        self._accuracy.add(output, targets)

    @property
    def loss(self) -> float:
        return self._loss / self.samples

    @property
    def accuracy(self) -> float | None:
        return self._accuracy.value


def _apply(
    model: nn.Module, loss_of: Callable[[Tensor, Tensor], Tensor], samples: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """The model's output and its loss, with torch's complaints turned into what the user can act on."""
    output = output_of(model, samples)
    try:
        return output, loss_of(output, targets)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise DataError(
            f"targets of shape {tuple(targets.shape)} and type {targets.dtype} do not fit the model's output "
            f"of shape {tuple(output.shape)} in this loss: {error}"
        ) from error
