"""Training and evaluating one model on one client's data: the only training loop there is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from galaxy_fl.data import structure
from galaxy_fl.data.batches import count
from galaxy_fl.exceptions import DataError, DivergedError, TrainingError
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.privacy import ExamplePrivacy, Privacy
from galaxy_fl.jobs.specification import OWN_LOSS, TrainSpecification
from galaxy_fl.training.accuracy import Accuracy
from galaxy_fl.training.descent import Descent
from galaxy_fl.training.distillation import Lessons
from galaxy_fl.training.metrics import Metrics
from galaxy_fl.training.minibatches import EVALUATION_BATCH, in_order, leaves_one, shuffled
from galaxy_fl.training.objective import Outcome, build_objective, summary
from galaxy_fl.training.randomness import seed_torch
from galaxy_fl.training.results import Evaluation, TrainResult

__all__ = ["OnBatch", "Score", "Tally", "evaluate", "train"]

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
    shared: Collection[str] | None = None,
    privacy: Privacy | None = None,
) -> TrainResult:
    """Train `model` in place for `specification.local_epochs` passes over `dataset`.

    A sample is (float tensor, label or target), or whatever the model's training_step takes. `seed` decides the order
    of the samples and whatever else is random (dropout): on one CPU thread the same seed gives the same weights, to the
    bit. The caller's random state on the CPU is left alone. The optimizer is a new one; the learning rate's schedule
    goes on from where `round`, counted from 1, begins. With `lessons` the loss has the divergence from the teachers
    added, in the result, too. `ending` is what the model ends in. `shared` names the parameters that are averaged
    (None: all), which FedProx pulls. With `privacy` of the mode `example` it is
    `galaxy_fl.training.private.train_privately`, which no seed decides. A last batch of one sample joins the one before
    where the model has batch normalisation, which
    can't be trained on it.

    Raises DivergedError when a loss is NaN or infinite, DataError when the data do not fit the model or the
    loss, TrainingError when the specification names what torch does not have, or an optimizer that can't train it.
    """
    if isinstance(privacy, ExamplePrivacy):
        from galaxy_fl.training.private import train_privately  # with Opacus, which few jobs need

        return train_privately(model, dataset, specification, privacy, device, on_batch, round, ending, shared)
    started = time.perf_counter()
    model.to(device).train()
    objective = build_objective(model, specification, ending, device)
    descent = Descent(model, specification, round, shared)
    order = torch.Generator().manual_seed(seed)
    none_alone = leaves_one(model, count(dataset), specification.batch_size)
    together = specification.accumulate or 1
    steps = 0
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed, device)
        for epoch in range(1, specification.local_epochs + 1):
            tally = Tally(model, specification, ending, device)
            epoch_batches = shuffled(dataset, specification.batch_size, order, none_alone, together)
            for number, part in enumerate(epoch_batches, start=1):
                outcome = objective(structure.to(part.batch, device))
                loss = outcome.loss
                if lessons is not None and outcome.output is not None:
                    loss = loss + lessons.loss(outcome.output, part.pick)
                value = loss.item()
                if not math.isfinite(value):
                    raise DivergedError(
                        f"the loss became {value} in epoch {epoch}, batch {number}, with learning rate "
                        f"{specification.learning_rate:g}: lower the learning rate, or look for NaN and "
                        f"unscaled values in the data"
                    )
                descent.add(loss, part.share, part.first)
                if part.last:
                    descent.step()
                    steps += 1
                tally.add(outcome, value, len(part.pick))
                if on_batch is not None:
                    on_batch(epoch, number, value)
            descent.end_epoch()
    return TrainResult(
        samples=tally.samples,
        loss=tally.loss,
        accuracy=tally.accuracy,
        metrics=tally.metrics,
        seconds=time.perf_counter() - started,
        batches=steps,
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

    The accuracy is that of `galaxy_fl.training.accuracy`, or the model's own step's, or the mean of `score`, weighted
    by samples. The job's metrics are of all data at once, as torchmetrics computes them; what a model's own step says
    of a batch is averaged over the samples, or over what its `weight` counts, and what its `summarize` makes of the
    means is added. A model with a step of its own gets no larger batches than in training. `ending` is what the model
    ends in.

    Raises DivergedError when the loss is NaN or infinite, DataError when the data do not fit the model.
    """
    model.to(device).eval()
    objective = build_objective(model, specification, ending, device)
    tally = Tally(model, specification, ending, device)
    scores = 0.0
    own, size = specification.loss == OWN_LOSS, specification.batch_size
    for part in in_order(dataset, min(size, EVALUATION_BATCH) if own and size else EVALUATION_BATCH):
        outcome = objective(structure.to(part.batch, device))
        tally.add(outcome, outcome.loss.item(), len(part.pick))
        if score is not None:
            if outcome.output is None or outcome.target is None:
                raise DataError(
                    "there is an accuracy function, and the model's own step does not say what it would take: let "
                    "validation_step return a dict of 'loss', 'preds' and 'target', or leave the function out"
                )
            scores += score(outcome.output, outcome.target) * len(part.pick)
    if not math.isfinite(tally.loss):
        raise DivergedError(f"the loss of the evaluated model is {tally.loss}: it has diverged")
    accuracy = tally.accuracy if score is None else scores / tally.samples
    return Evaluation(samples=tally.samples, loss=tally.loss, accuracy=accuracy, metrics=tally.metrics)


class Tally:
    """Sums over batches."""

    def __init__(self, model: nn.Module, specification: TrainSpecification, ending: Ending, device: str) -> None:
        self.samples = 0
        self._model = model
        self._specification = specification
        self._weight = 0.0
        self._loss = 0.0
        self._accuracy = Accuracy(specification, ending)
        self._metrics = Metrics(specification.metrics, device)
        self._named = specification.metrics
        self._figures: dict[str, float] = {}

    def add(self, outcome: Outcome, loss: float, samples: int) -> None:
        if self.samples and outcome.figures.keys() != self._figures.keys():
            raise TrainingError(
                f"the model's own step gave the figures {', '.join(self._figures) or 'none'} of one batch, and "
                f"{', '.join(outcome.figures) or 'none'} of another: let it give the same of each"
            )
        if twice := sorted(outcome.figures.keys() & (self._named or {}).keys()):
            raise TrainingError(
                f"the model's own step gives a figure {twice[0]!r}, and the job has a metric of that name: rename the "
                "one, or leave out the other"
            )
        self.samples += samples
        weight = samples if outcome.weight is None else outcome.weight
        self._weight += weight
        self._loss += loss * weight
        for name, value in outcome.figures.items():
            self._figures[name] = self._figures.get(name, 0.0) + value * weight
        if outcome.output is not None and outcome.target is not None:
            self._accuracy.add(outcome.output, outcome.target)
        self._metrics.add(outcome.output, outcome.target)

    @property
    def loss(self) -> float:
        return self._loss / self._weight

    @property
    def accuracy(self) -> float | None:
        own = self._figures.get("accuracy")
        return self._accuracy.value if own is None else own / self._weight

    @property
    def metrics(self) -> dict[str, float | None]:
        means = {name: total / self._weight for name, total in self._figures.items() if name != "accuracy"}
        found = means | summary(self._model, self._specification, means | {"loss": self.loss})
        return {name: mean if math.isfinite(mean) else None for name, mean in found.items()} | self._metrics.values()
