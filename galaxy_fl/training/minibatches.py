"""A data set in batches, shuffled or in order, and a model's output for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from galaxy_fl.data.batches import Batch, Batches, count, take
from galaxy_fl.exceptions import DataError

__all__ = ["EVALUATION_BATCH", "MiniBatch", "in_order", "leaves_one", "output_of", "shuffled", "some"]

EVALUATION_BATCH = 512
"""Samples at a time, where nothing is learnt from them and the number changes no result."""


class MiniBatch(NamedTuple):
    """Some samples, of which one batch or several make a step of the optimizer.

    Attributes:
        pick: Their indices, int64 [n].
        batch: The samples there, and their targets.
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
    batch of one sample joins the one before. `together` batches make a step, an epoch's last ones maybe fewer.

    Raises DataError for an empty data set, and for samples that are not (input, target).
    """
    return _batches(dataset, torch.randperm(count(dataset), generator=order), size, none_alone, together)


def leaves_one(model: nn.Module, samples: int, size: int) -> bool:
    """Tell whether a last batch of one sample would be left that the model can't be trained on.

    That is where it has batch normalisation, which takes the variance of a batch.
    """
    normalizes = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    return normalizes and size > 1 and samples > size and samples % size == 1


def some(dataset: Dataset[Any], samples: int) -> tuple[Tensor, Tensor]:
    """The first samples, that many or as many as there are, and their targets.

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
    fetched = dataset.fetch(picks) if isinstance(dataset, Batches) else (take(dataset, pick) for pick in picks)
    for number, (pick, batch) in enumerate(zip(picks, fetched, strict=True)):
        place = number % together
        whole = sum(len(each) for each in picks[number - place : number - place + together])
        last = place == together - 1 or number == len(picks) - 1
        yield MiniBatch(pick, batch, len(pick) / whole, place == 0, last)


def output_of(model: nn.Module, samples: Tensor) -> Tensor:
    """The model's output for `samples`; of several, as torchvision's classifiers give in training, the main one.

    Raises DataError, with torch's complaint, when they do not fit each other.
    """
    try:
        output: Tensor = model(samples)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise DataError(
            f"samples of shape {tuple(samples.shape[1:])} and type {samples.dtype} do not fit the model: {error}"
        ) from error
    if isinstance(output, tuple):  # a named one
        output = getattr(output, "logits", output)
    if not isinstance(output, Tensor):
        raise DataError(f"the model gives a {type(output).__name__}, expected one tensor with an entry for each sample")
    return output
