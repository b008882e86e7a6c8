"""A first training step before anybody relies on it, on a model that is thrown away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from galaxy_fl.data import structure
from galaxy_fl.data.batches import Held, Repeated, count, stacks
from galaxy_fl.exceptions import DataError, DivergedError
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.privacy import ExamplePrivacy, Privacy
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.distillation import Lessons
from galaxy_fl.training.minibatches import leaves_one, some
from galaxy_fl.training.randomness import random_states
from galaxy_fl.training.trainer import train

__all__ = ["READ", "Steps", "few_of", "rehearse"]

READ = 16
"""Samples that are read; a batch consists of them, again and again."""
LARGEST = 1024
"""Samples of a batch, where there may be more: that it works does not depend on so many."""


@dataclass(frozen=True)
class Steps:
    """The batches that training on some data will have.

    Attributes:
        samples: How many samples there are.
        whole: Those of a batch.
        rest: Those of an epoch's last batch; 0 where all are alike.
        merged: Whether that one joins the batch before, as batch normalisation can't be trained on one sample.
    """

    samples: int
    whole: int
    rest: int
    merged: bool

    @classmethod
    def of(cls, model: nn.Module, samples: int, specification: TrainSpecification) -> Steps:
        """Return those of a model and so many samples."""
        size = specification.batch_size or samples
        rest = samples % size if samples > size else 0
        return cls(samples, min(size, samples), rest, leaves_one(model, samples, size))

    @property
    def sizes(self) -> frozenset[tuple[int, bool]]:
        """What a rehearsal tries: sizes of batches, each with whether it is a merged one's."""
        rest = {(min(self.rest, LARGEST), self.merged)} if self.rest else set()
        return frozenset({(min(self.whole, LARGEST), False), *rest})

    @property
    def notes(self) -> list[str]:
        """What the client's operator should know of how it trains."""
        if not self.merged:
            return []
        return [
            "the last batch of an epoch would be one sample, which batch normalisation can't be trained on: it joins "
            "the batch before"
        ]


def few_of(dataset: Dataset[Any], samples: int) -> Dataset[Any]:
    """Return a data set of the first few samples, again and again.

    They are read once, unless a batch is what somebody's function makes of them.

    Raises DataError as `take`.
    """
    few = min(count(dataset), READ)
    if not stacks(dataset):
        return Repeated(dataset, few, samples)
    return Held(structure.pick(some(dataset, few), torch.arange(samples) % few), samples)


def rehearse(
    model: nn.Module,
    dataset: Dataset[Any],
    specification: TrainSpecification,
    device: str,
    ending: Ending,
    ask: Callable[[Dataset[Any]], Lessons | None] = lambda dataset: None,
    privacy: Privacy | None = None,
) -> list[str]:
    """Train `model`, which is of no further use, for a step of each batch size that training on `dataset` will have.

    So whatever would fail with the first batches, or with an epoch's last, smaller one, fails here. All random states
    are left as they were. `ask` gives the lessons of a distillation. With `privacy` of the mode `example` one step
    takes all of them, and the model has to compute each example apart.

    Returns what the client's operator should know of how it trains.

    Raises DataError, TrainingError as `train`, but for a divergence, which is a matter of the job's own weights.
    """
    steps = Steps.of(model, count(dataset), specification)
    whole, rest = steps.whole, steps.rest
    length = min(whole, LARGEST) + min(rest, LARGEST)
    private = isinstance(privacy, ExamplePrivacy)
    size = 0 if private else min(whole, LARGEST)
    once = specification.model_copy(update={"batch_size": size, "local_epochs": 1})
    with random_states():
        few = few_of(dataset, length)
        if private:
            from galaxy_fl.training.private import check_examples_apart, expect_indexed

            expect_indexed(dataset)
            check_examples_apart(model.to(device), few, specification, device, ending)
        try:
            with suppress(DivergedError):
                train(model, few, once, 0, device, lessons=ask(few), ending=ending, privacy=privacy)
        except DataError as error:
            alone = whole == 1 or (rest == 1 and not steps.merged)
            advice = "; there are batches of one sample: choose another batch_size, or more samples" if alone else ""
            raise DataError(f"a first training step on batches of {whole} samples fails: {error}{advice}") from error
    return steps.notes
