"""The data of a worker's parent, as a data set in the worker: the other side of `served_data.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Literal, assert_never

import torch
from safetensors.torch import load, save
from torch import Tensor

from galaxy_fl.data import structure
from galaxy_fl.data.batches import Batch, Batches
from galaxy_fl.exceptions import DataError
from galaxy_fl.worker.messages import (
    LARGEST_MESSAGE,
    MOST_SAMPLES,
    Fetch,
    Offered,
    Question,
    Refused,
    Samples,
    Score,
    Scored,
    parse_reply,
    to_bytes,
)

__all__ = ["FetchedData", "Parent"]

WINDOW = 4 * 2**20
"""Bytes of samples that are fetched at a time, where batches are smaller."""


class Parent:
    """The process that the worker asks while it works on an answer; at most one question is open at a time.

    With two open, both sides could be sending what the other does not read.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open = False
        self._reply: tuple[str, bytes] | float | None = None

    def ask(self, question: Question, tensors: bytes | None = None) -> None:
        """Send a question, once the one before is answered; a reply that nobody took is forgotten."""
        self.settle()
        self._connection.send_bytes(to_bytes(question))
        if tensors is not None:
            self._connection.send_bytes(tensors)
        self._open = True

    def samples(self) -> Any:
        """Return the batch, or the list of samples, of the last question.

        Raises:
            DataError: there are none; the parent knows why.
        """
        reply = self._take()
        assert isinstance(reply, tuple)
        form, tensors = reply
        return structure.decode(form, load(tensors))

    def receive(self) -> None:
        """Wait until no question is open, and keep the reply."""
        if not self._open:
            return
        match reply := parse_reply(self._connection.recv_bytes()):
            case Samples():
                self._reply = reply.form, self._connection.recv_bytes()
            case Scored():
                self._reply = reply.score
            case Refused():
                self._reply = None
            case _:
                assert_never(reply)
        self._open = False

    def _take(self) -> tuple[str, bytes] | float:
        self.receive()
        reply, self._reply = self._reply, None
        if reply is None:
            raise DataError("the samples or scores that were asked for are unavailable")
        return reply

    def settle(self) -> None:
        """Forget the question that is open, if there is one, with its reply."""
        self.receive()
        self._reply = None

    def score(self, output: Tensor, targets: Tensor) -> float:
        """The user's own measure of accuracy: its mean over the samples of a batch, [N, …] each.

        Raises:
            DataError: the user's function does not return one, or a single sample's output is too large to send.
        """
        self.receive()
        next_batch, total = self._reply, 0.0
        each = max(1, (output.nbytes + targets.nbytes) // len(output))
        if each > LARGEST_MESSAGE // 2:
            raise DataError(f"the output for one sample has {each} bytes, too many to measure the accuracy of")
        size = LARGEST_MESSAGE // 2 // each
        for some, of in zip(torch.split(output, size), torch.split(targets, size), strict=True):
            self.ask(Score(), save({"output": some.contiguous(), "target": of.contiguous()}))
            score = self._take()
            assert isinstance(score, float)
            total += score * len(some)
        self._reply = next_batch
        return total / len(output)


class FetchedData(Batches):
    """The parent's train or test data. While some samples are worked on, the next are on their way.

    Args:
        parent: The parent.
        split: Which of its data.
        offered: What it said of them.
        collate: The model's function that makes batches, if it has one and the parent's data have none of their own.
    """

    def __init__(
        self,
        parent: Parent,
        split: Literal["train", "test"],
        offered: Offered,
        collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        self._parent = parent
        self._split = split
        self._offered = offered
        self._collate = None if offered.collates else collate
        self.streams = offered.streams
        self.stacks = not offered.collates and collate is None

    def __len__(self) -> int:
        return self._offered.samples

    def fetch(self, picks: Sequence[Tensor]) -> Iterator[Batch]:
        """Yield the batches. Samples come a window at a time, and what the parent makes itself a batch at a time."""
        if self._offered.collates:
            yield from self._whole(picks)
            return
        windows = self._windows(torch.cat(list(picks)), first=len(picks[0]))
        window, held, used = None, 0, 0
        for pick in picks:
            missing, parts = len(pick), list[Any]()
            while missing:
                if used == held:
                    (window, held), used = next(windows), 0
                taken = min(missing, held - used)
                parts.append(self._rows(window, used, used + taken))
                used += taken
                missing -= taken
            if self._collate is not None:
                yield self._collate([sample for part in parts for sample in part])
            else:
                # Copied, even if it is one part, so that it lies in memory as a batch of the worker's own data does.
                yield structure.join(parts)

    def _rows(self, window: Any, start: int, stop: int) -> Any:
        return window[start:stop] if self._collate is not None else structure.rows(window, start, stop)

    def _windows(self, indices: Tensor, first: int) -> Iterator[tuple[Any, int]]:
        """All of `indices`, as many at a time as are worth an exchange with the parent; each with their number."""
        size = min(first, MOST_SAMPLES)
        self._ask(indices[:size])
        while len(indices):
            window, held = self._parent.samples(), min(size, len(indices))
            indices = indices[size:]
            size = min(max(1, WINDOW // (structure.nbytes(window) // held or 1)), MOST_SAMPLES)
            if len(indices):
                self._ask(indices[:size])
            yield window, held

    def _whole(self, picks: Sequence[Tensor]) -> Iterator[Batch]:
        if (largest := max(len(pick) for pick in picks)) > MOST_SAMPLES:
            raise DataError(
                f"a batch of {largest} samples can't be made by the data set's own collate_fn, which is given at most "
                f"{MOST_SAMPLES}: choose a smaller batch_size"
            )
        self._ask(picks[0])
        for following in (*picks[1:], None):
            batch = self._parent.samples()
            if following is not None:
                self._ask(following)
            yield batch

    def _ask(self, indices: Tensor) -> None:
        self._parent.ask(Fetch(split=self._split, indices=indices.tolist(), apart=self._collate is not None))
