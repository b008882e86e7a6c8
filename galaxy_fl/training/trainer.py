"""Training and evaluating one model on one client's data: the only training loop there is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from galaxy_fl.exceptions import DataError, DivergedError
from galaxy_fl.training.losses import build_loss
from galaxy_fl.training.optimizers import build_optimizer
from galaxy_fl.training.results import Evaluation, TrainResult
from galaxy_fl.training.specification import TrainSpecification

__all__ = ["OnBatch", "evaluate", "train"]

OnBatch = Callable[[int, int, float], None]
"""Called after each step with epoch and batch, both counted from 1, and the batch's loss."""

EVALUATION_BATCH = 512


def train(
    model: nn.Module,
    dataset: Dataset[Any],
    specification: TrainSpecification,
    seed: int,
    device: str = "cpu",
    on_batch: OnBatch | None = None,
) -> TrainResult:
    """Train `model` in place for `specification.local_epochs` passes over `dataset`.

    A sample is (float tensor, label or target). `seed` decides the order of the samples and whatever else
    is random (dropout): on one CPU thread the same seed gives the same weights, to the bit. The caller's
    random state is left alone. A TensorDataset is batched by indexing, which for small samples is several
    times faster than a data loader.

    Raises DivergedError when a loss is NaN or infinite, DataError when the data do not fit the model or the
    loss, TrainingError when the specification names what torch does not have.
    """
    started = time.perf_counter()
    loss_of = build_loss(specification)
    model.to(device).train()
    optimizer = build_optimizer(model.parameters(), specification)
    order = torch.Generator().manual_seed(seed)
    batches = 0
    with torch.random.fork_rng(devices=[] if device == "cpu" else None):
        torch.manual_seed(seed)
        for epoch in range(1, specification.local_epochs + 1):
            tally = _Tally()
            epoch_batches = _batches(dataset, specification.batch_size, order)
            for batch, (samples, targets) in enumerate(epoch_batches, start=1):
                samples, targets = samples.to(device), targets.to(device)
                output, loss = _apply(model, loss_of, samples, targets)
                value = loss.item()
                if not math.isfinite(value):
                    raise DivergedError(
                        f"the loss became {value} in epoch {epoch}, batch {batch}, with learning rate "
                        f"{specification.learning_rate:g}: lower the learning rate, or look for NaN and "
                        f"unscaled values in the data"
                    )
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                tally.add(output, targets, value)
                batches += 1
                if on_batch is not None:
                    on_batch(epoch, batch, value)
    return TrainResult(
        samples=tally.samples,
        loss=tally.loss,
        accuracy=tally.accuracy,
        seconds=time.perf_counter() - started,
        batches=batches,
    )


@torch.no_grad()
def evaluate(
    model: nn.Module, dataset: Dataset[Any], specification: TrainSpecification, device: str = "cpu"
) -> Evaluation:
    """Mean loss and accuracy of `model`, in evaluation mode, over `dataset`.

    Raises DivergedError when the loss is NaN or infinite, DataError when the data do not fit the model.
    """
    loss_of = build_loss(specification)
    model.to(device).eval()
    tally = _Tally()
    for samples, targets in _batches(dataset, EVALUATION_BATCH, None):
        samples, targets = samples.to(device), targets.to(device)
        output, loss = _apply(model, loss_of, samples, targets)
        tally.add(output, targets, loss.item())
    if not math.isfinite(tally.loss):
        raise DivergedError(f"the loss of the evaluated model is {tally.loss}: it has diverged")
    return Evaluation(samples=tally.samples, loss=tally.loss, accuracy=tally.accuracy)


class _Tally:
    """Sums over batches."""

    def __init__(self) -> None:
        self.samples = 0
        self._loss = 0.0
        self._labels = 0
        self._correct = 0

    def add(self, output: Tensor, targets: Tensor, loss: float) -> None:
        self.samples += len(targets)
        self._loss += loss * len(targets)
        if not targets.is_floating_point() and output.dim() == targets.dim() + 1 and output.shape[1] > 1:
            self._correct += int((output.detach().argmax(dim=1) == targets).sum())
            self._labels += targets.numel()

    @property
    def loss(self) -> float:
        return self._loss / self.samples

    @property
    def accuracy(self) -> float | None:
        return self._correct / self._labels if self._labels else None


def _batches(dataset: Dataset[Any], size: int, order: torch.Generator | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of (samples, targets), shuffled by `order` if there is one."""
    count = len(dataset)  # type: ignore[arg-type]  # torch's Dataset declares no __len__
    if count == 0:
        raise DataError("the data set is empty: a client needs at least one sample")
    if isinstance(dataset, TensorDataset):
        if len(dataset.tensors) != 2:
            raise DataError(f"a sample has {len(dataset.tensors)} tensors, expected two: input and target")
        samples, targets = dataset.tensors
        picks = torch.arange(count) if order is None else torch.randperm(count, generator=order)
        for pick in torch.split(picks, size):
            yield samples[pick], targets[pick]
    else:
        yield from DataLoader(dataset, batch_size=size, shuffle=order is not None, generator=order)


def _apply(
    model: nn.Module, loss_of: Callable[[Tensor, Tensor], Tensor], samples: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """The model's output and its loss, with torch's complaints turned into what the user can act on."""
    try:
        output: Tensor = model(samples)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise DataError(
            f"samples of shape {tuple(samples.shape[1:])} and type {samples.dtype} do not fit the model: {error}"
        ) from error
    try:
        return output, loss_of(output, targets)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise DataError(
            f"targets of shape {tuple(targets.shape)} and type {targets.dtype} do not fit the model's output "
            f"of shape {tuple(output.shape)} in this loss: {error}"
        ) from error
