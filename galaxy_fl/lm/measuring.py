"""The perplexity of a language model."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from galaxy_fl.data.batches import Collated
from galaxy_fl.jobs.specification import OWN_LOSS, TrainSpecification
from galaxy_fl.lm.model import CausalLM
from galaxy_fl.training.trainer import evaluate

__all__ = ["perplexity"]


def perplexity(model: CausalLM, data: Dataset[Any], batch_size: int = 8, device: str = "cpu") -> float:
    """Return e to the mean loss over all predicted tokens of a data set: 1 for a model that knows the texts by heart.

    It is that of the loss in a job's events and reports, too, which is a mean over tokens.

    Args:
        model: The model, which is left in evaluation mode.
        data: A data set such as `Texts`.
        batch_size: Samples at a time; it changes the memory that it takes, and at most the last digits.
        device: Torch device.

    Raises:
        DataError, DivergedError: the data do not fit the model, or its loss is not finite.
    """
    specification = TrainSpecification(loss=OWN_LOSS, batch_size=batch_size)
    loss = evaluate(model, Collated(data, model.collate), specification, device).loss
    return model.summarize({"loss": loss})["perplexity"]
