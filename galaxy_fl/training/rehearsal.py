"""A first training step before anybody relies on it, on a model that is thrown away."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from galaxy_fl.data.batches import count
from galaxy_fl.exceptions import DataError, DivergedError
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.distillation import Lessons
from galaxy_fl.training.minibatches import leaves_one, some
from galaxy_fl.training.trainer import train

__all__ = ["rehearse"]

READ = 16
"""Samples that are read; a batch consists of them, again and again."""
LARGEST = 1024
"""Samples of a batch, where there may be more: that it works does not depend on so many."""


def rehearse(
    model: nn.Module,
    dataset: Dataset[Any],
    specification: TrainSpecification,
    device: str,
    ending: Ending,
    ask: Callable[[Dataset[Any]], Lessons | None] = lambda dataset: None,
) -> list[str]:
    """Train `model`, which is of no further use, for a step of each batch size that training on `dataset` will have.

    So whatever would fail with the first batches, or with an epoch's last, smaller one, fails here. All random states
    are left as they were. `ask` gives the lessons of a distillation.

    Returns what the client's operator should know of how it trains.

    Raises DataError, TrainingError as `train`, but for a divergence, which is a matter of the job's own weights.
    """
    samples, size = count(dataset), specification.batch_size or count(dataset)
    whole, rest = min(size, samples), samples % size if samples > size else 0
    merged = leaves_one(model, samples, size)
    length = min(whole, LARGEST) + min(rest, LARGEST)
    once = specification.model_copy(update={"batch_size": min(whole, LARGEST), "local_epochs": 1})
    with _random_states():
        inputs, targets = some(dataset, READ)
        repeated = torch.arange(length) % len(inputs)
        few = TensorDataset(inputs[repeated], targets[repeated])
        try:
            with suppress(DivergedError):
                train(model, few, once, 0, device, lessons=ask(few), ending=ending)
        except DataError as error:
            alone = whole == 1 or (rest == 1 and not merged)
            advice = "; there are batches of one sample: choose another batch_size, or more samples" if alone else ""
            raise DataError(f"a first training step on batches of {whole} samples fails: {error}{advice}") from error
    if merged:
        return [
            "the last batch of an epoch would be one sample, which batch normalisation can't be trained on: it joins "
            "the batch before"
        ]
    return []


@contextmanager
def _random_states() -> Iterator[None]:
    """Have what happens inside draw from torch's, numpy's and Python's generators, and leave no trace in them."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
