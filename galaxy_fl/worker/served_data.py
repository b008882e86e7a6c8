"""Data that a user's own program has in memory, served to the worker that trains on them, batch by batch.

A worker is another process, and nothing is pickled: it asks for samples by their indices, and gets them stacked, as
safetensors. `fetched_data.py` is the worker's side. Until torch is needed this module does not import it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from galaxy_fl.exceptions import DataError, GalaxyError, TrainingError
from galaxy_fl.worker.messages import Fetch, Offer, Offered

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

__all__ = ["ServedData"]

# Data sets, and the generators that augmentation draws from, are made for one thread; jobs have one each.
_one_at_a_time = threading.Lock()


class ServedData:
    """A user's own data sets, in this process.

    Args:
        train: A torch Dataset with a length. A sample is (input, target), or (input, …, target), or whatever of
            tensors, numbers and texts the job's training_step takes. Where it augments at random it continues to do so.
            Its `collate_fn`, if it has one, makes the batches here. A TensorDataset is indexed, not stacked.
        test: Likewise, to evaluate models on; None for no evaluation.
        accuracy: Called with a model's output and the targets of a batch of `test`, both on the CPU, returns a finite
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
        from galaxy_fl.data.loaded import indexed, notes_of

        self._data = {"train": indexed(train), "test": None if test is None else indexed(test)}
        self._accuracy = accuracy
        self.notes = notes_of(train) + ([] if test is None or test is train else notes_of(test))
        """What the operator should know of the data."""
        offered = _offered(self._data["train"])
        assert offered is not None
        self.offer = Offer(train=offered, test=_offered(self._data["test"]), scores=accuracy is not None)

    def fetch(self, asked: Fetch) -> tuple[str, bytes]:
        """Return the form of the samples that a worker asks for, and their tensors as safetensors.

        Raises:
            DataError: the user's data set raised an exception, or returned something that is not a sample.
            TrainingError: there are no such samples, so the worker is not ours any more.
        """
        with _one_at_a_time:
            return self._fetch(asked)

    def score(self, tensors: bytes) -> float:
        """Return the user's own measure of the tensors `output` and `target`, which are safetensors.

        Raises:
            DataError: the user's function raised an exception, or did not return a finite number.
            TrainingError: there is no such function, or the tensors are not a batch.
        """
        with _one_at_a_time:
            return self._score(tensors)

    def _fetch(self, asked: Fetch) -> tuple[str, bytes]:
        from safetensors.torch import save

        from galaxy_fl.data import structure
        from galaxy_fl.data.batches import read, take

        dataset, offered = self._data[asked.split], getattr(self.offer, asked.split)
        samples = 0 if offered is None else offered.samples
        if dataset is None or max(asked.indices) >= samples:
            raise TrainingError(f"the worker asked for sample {max(asked.indices)} of {samples} to {asked.split} on")
        try:
            if asked.apart:
                form, tensors = structure.encode_each(read(dataset, asked.indices))
            else:
                form, tensors = structure.encode(take(dataset, asked.indices))
            return form, save(tensors)
        except GalaxyError:
            raise
        except Exception as error:
            raise DataError(
                f"the data set {type(dataset).__name__} raised {type(error).__name__}: {error}, for one of the samples "
                f"{', '.join(map(str, asked.indices[:5]))}{', …' if len(asked.indices) > 5 else ''}"
            ) from error

    def _score(self, content: bytes) -> float:
        from safetensors import SafetensorError
        from safetensors.torch import load

        if self._accuracy is None:
            raise TrainingError("the worker asked for an accuracy, and there is no function that measures it")
        try:
            tensors = load(content)
            output, target = tensors["output"], tensors["target"]
        except (SafetensorError, KeyError, ValueError) as error:
            raise TrainingError(
                f"the worker asked for the accuracy of something other than tensors: {error}"
            ) from error
        if not output.dim() or output.shape[:1] != target.shape[:1]:
            raise TrainingError(
                f"the worker asked for the accuracy of tensors of the shapes {tuple(output.shape)} and "
                f"{tuple(target.shape)}, which are not a batch"
            )
        try:
            score = float(self._accuracy(output, target))
        except Exception as error:
            raise DataError(f"the accuracy function raised {type(error).__name__}: {error}") from error
        if not math.isfinite(score):
            raise DataError(
                f"the accuracy function returned {score}, expected a finite number, such as the fraction right"
            )
        return score


def _offered(dataset: Dataset[Any] | None) -> Offered | None:
    from galaxy_fl.data.batches import count
    from galaxy_fl.data.loaded import own_collate, streams

    if dataset is None:
        return None
    return Offered(samples=count(dataset), streams=streams(dataset), collates=own_collate(dataset) is not None)
