"""A data set in batches, shuffled or in order, and a model's output for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from galaxy_fl.data.batches import Batch, batches, count
from galaxy_fl.data.loaded import indexed, streams
from galaxy_fl.exceptions import DataError

__all__ = ["EVALUATION_BATCH", "MiniBatch", "in_order", "leaves_one", "output_of", "shuffled", "some", "split"]

EVALUATION_BATCH = 512
"""Samples at a time, where nothing is learnt from them and the number changes no result."""


class MiniBatch(NamedTuple):
    """Some samples, of which one batch or several make a step of the optimizer.

    Attributes:
        pick: Their indices, int64 [n].
        batch: The samples there, as `galaxy_fl.data.batches.take` puts them together.
        share: Their part of all samples of their step.
        first, last: Whether a step begins with them, or ends.
    """

    pick: Tensor
    batch: Batch
    share: float = 1.0
    first: bool = True
    last: bool = True


def shuffled(
    dataset: Dataset[Any], size: int, order: torch.Generator, none_alone: bool = False, together: int = 1
) -> Iterator[MiniBatch]:
    """All samples once, `size` at a time (0: all at once), in an order drawn from `order` alone.

    So the same seed gives the same batches, whatever kind of data set the samples are in. With `none_alone` a last
    batch of one sample joins the one before. `together` batches make a step, an epoch's last ones maybe fewer. A stream
    keeps its own order.

    Raises DataError for an empty data set, and for samples that no batch can be made of.
    """
    samples, dataset = count(dataset), indexed(dataset)
    indices = torch.arange(samples) if streams(dataset) else torch.randperm(samples, generator=order)
    return _batches(dataset, indices, size, none_alone, together)


def leaves_one(model: nn.Module, samples: int, size: int) -> bool:
    """Tell whether a last batch of one sample would be left that the model can't be trained on.

    That is where it has batch normalisation, which takes the variance of a batch.
    """
    normalizes = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    return normalizes and size > 1 and samples > size and samples % size == 1


def some(dataset: Dataset[Any], samples: int) -> Batch:
    """A batch of the first samples, that many or as many as there are.

    Raises DataError as `shuffled`.
    """
    return next(_batches(dataset, torch.arange(min(count(dataset), samples)), 0)).batch


def in_order(dataset: Dataset[Any], size: int) -> Iterator[MiniBatch]:
    """All samples once, `size` at a time, as they come.

    Raises DataError as `shuffled`.
    """
    return _batches(dataset, torch.arange(count(dataset)), size)


def _batches(
    dataset: Dataset[Any], indices: Tensor, size: int, none_alone: bool = False, together: int = 1
) -> Iterator[MiniBatch]:
    picks = list(torch.split(indices, size or len(indices)))
    if none_alone and len(picks) > 1 and len(picks[-1]) == 1:
        picks[-2:] = [torch.cat(picks[-2:])]
    for number, (pick, batch) in enumerate(zip(picks, batches(indexed(dataset), picks), strict=True)):
        place = number % together
        whole = sum(len(each) for each in picks[number - place : number - place + together])
        last = place == together - 1 or number == len(picks) - 1
        yield MiniBatch(pick, batch, len(pick) / whole, place == 0, last)


def split(batch: Batch) -> tuple[tuple[Any, ...], Tensor]:
    """The inputs of a batch, which a model is called with, and the targets.

    Raises DataError where a sample is not (input, target) or (input, …, target).
    """
    if type(batch) is tuple and len(batch) >= 2 and isinstance(batch[-1], Tensor):
        return batch[:-1], batch[-1]
    raise DataError(
        f"a sample is {_kind(batch)}, expected (input, target), each a tensor or a number, or (input, …, target): of "
        "other samples the model computes the loss itself, in a method training_step(self, batch)"
    )


def _kind(batch: object) -> str:
    if type(batch) in (tuple, list):
        return f"({', '.join(type(part).__name__ for part in batch)})"  # type: ignore[attr-defined]
    if isinstance(batch, dict):
        return f"a dict of {', '.join(map(str, batch))}"
    return f"a {type(batch).__name__}"


def output_of(model: nn.Module, *inputs: Any) -> Tensor:
    """The model's output for `inputs`; of several, as torchvision's classifiers give in training, the main one.

    Raises DataError, with torch's complaint, when they do not fit each other.
    """
    try:
        output: Tensor = model(*inputs)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        told = " and ".join(
            f"shape {tuple(each.shape[1:])} and type {each.dtype}" if isinstance(each, Tensor) else _kind(each)
            for each in inputs
        )
        raise DataError(f"samples of {told} do not fit the model: {error}") from error
    if isinstance(output, tuple):  # a named one
        output = getattr(output, "logits", output)
    if not isinstance(output, Tensor):
        raise DataError(f"the model gives a {type(output).__name__}, expected one tensor with an entry for each sample")
    return output
