"""Data that a user's own program has in memory, served to the worker that trains on them, batch by batch.

A worker is another process, and nothing is pickled: it asks for samples by their indices, and gets them stacked, as
safetensors. `fetched_data.py` is the worker's side. Until torch is needed this module does not import it.

While a worker has a request to answer it may send, instead of the answer, a `Fetch` as JSON, or SCORE and the tensors
`output` and `target` as safetensors. It gets the tensors `samples` and `targets`, or a number as JSON; or nothing
(no bytes) where that failed here.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_fl.exceptions import DataError, GalaxyError, TrainingError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

__all__ = ["LARGEST_MESSAGE", "MOST_SAMPLES", "SCORE", "Fetch", "Offer", "ServedData"]

LARGEST_MESSAGE = 16 * 2**20
"""Bytes that a worker may say at a time."""
MOST_SAMPLES = 512
"""That it may ask for at a time: what it builds a larger batch of."""
SCORE = b"score"
FETCH = b'{"split"'

Strict = ConfigDict(frozen=True, extra="forbid", strict=True)

# Data sets, and the generators that augmentation draws from, are made for one thread; jobs have one each.
_one_at_a_time = threading.Lock()


class Fetch(BaseModel):
    """Asks for samples."""

    model_config = Strict

    split: Literal["train", "test"]
    indices: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=MOST_SAMPLES)]


class Offer(BaseModel):
    """What a worker is told of the data that it can ask for."""

    model_config = Strict

    train: Annotated[int, Field(ge=1)]
    """Samples."""
    test: Annotated[int, Field(ge=1)] | None
    scores: bool
    """Whether the user has a measure of accuracy of their own."""


class ServedData:
    """A user's own data sets, in this process.

    Args:
        train: A map-style torch Dataset: has a length, and gives (input, target) for an index, each a tensor or a
            number. Where it augments at random it goes on doing so. A TensorDataset is indexed, not stacked.
        test: Likewise, to evaluate models on; None where that is not asked for.
        accuracy: Called with a model's output and the targets of a batch of `test`, both on the CPU, gives a finite
            number; its mean over the samples is the evaluation's `accuracy`. None for the usual one.

    Raises:
        DataError: a data set is empty, or has no length.
    """

    def __init__(
        self,
        train: Dataset[Any],
        test: Dataset[Any] | None = None,
        accuracy: Callable[[Tensor, Tensor], float] | None = None,
    ) -> None:
        from galaxy_fl.data.batches import count

        self._data = {"train": train, "test": test}
        self._accuracy = accuracy
        self.offer = Offer(train=count(train), test=None if test is None else count(test), scores=accuracy is not None)

    @staticmethod
    def asked_by(message: bytes) -> bool:
        """Whether what a worker says is for `answer`, and not itself an answer."""
        return message.startswith((FETCH, SCORE))

    def answer(self, message: bytes) -> bytes:
        """What the worker gets for its message.

        Raises:
            DataError: the user's data set or accuracy function raised an exception, or gave what is no sample or no
                number.
            TrainingError: there is no sense in the message: whoever sent it is no worker of ours.
        """
        with _one_at_a_time:
            return self._score(message.removeprefix(SCORE)) if message.startswith(SCORE) else self._fetch(message)

    def _fetch(self, message: bytes) -> bytes:
        from safetensors.torch import save

        from galaxy_fl.data.batches import take

        try:
            asked = Fetch.model_validate_json(message)
        except ValidationError as error:
            raise TrainingError(f"the worker asked for data in no way that it may: {error}") from error
        dataset, samples = self._data[asked.split], getattr(self.offer, asked.split)
        if dataset is None or max(asked.indices) >= samples:
            raise TrainingError(
                f"the worker asked for sample {max(asked.indices)} of {samples or 0} to {asked.split} on"
            )
        try:
            inputs, targets = take(dataset, asked.indices)
        except GalaxyError:
            raise
        except Exception as error:
            raise DataError(
                f"the data set {type(dataset).__name__} raised {type(error).__name__}: {error}, for one of the samples "
                f"{', '.join(map(str, asked.indices[:5]))}{', …' if len(asked.indices) > 5 else ''}"
            ) from error
        return save({"samples": inputs.detach().contiguous(), "targets": targets.detach().contiguous()})

    def _score(self, message: bytes) -> bytes:
        from safetensors import SafetensorError
        from safetensors.torch import load

        if self._accuracy is None:
            raise TrainingError("the worker asked for an accuracy, and there is no function that measures it")
        try:
            tensors = load(message)
            output, target = tensors["output"], tensors["target"]
        except (SafetensorError, KeyError, ValueError) as error:
            raise TrainingError(f"the worker asked for the accuracy of what are no tensors: {error}") from error
        if not output.dim() or output.shape[:1] != target.shape[:1]:
            raise TrainingError(
                f"the worker asked for the accuracy of tensors of the shapes {tuple(output.shape)} and "
                f"{tuple(target.shape)}, which are no batch"
            )
        try:
            score = float(self._accuracy(output, target))
        except Exception as error:
            raise DataError(f"the accuracy function raised {type(error).__name__}: {error}") from error
        if not math.isfinite(score):
            raise DataError(f"the accuracy function gave {score}, expected a finite number, such as the fraction right")
        return repr(score).encode()
