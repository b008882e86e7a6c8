"""Requests of many threads to one node, put together: while some are on their way, those that come meanwhile wait, and
go as one JSON-RPC batch.

A thread that is alone sends what it always sent. A hundred that send transactions at the same time share a few round
trips, of which each costs both sides more than what is asked in it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from galaxy_chain.rpc.errors import Trouble

__all__ = ["MOST", "MOST_FAILURES", "PAUSE_SECONDS", "Batches", "may_share"]

MOST = 50
"""Requests of a batch; nodes take a hundred and more."""
AT_ONCE = 2
"""Batches, or single requests, on their way to a node at a time."""
_QUICK = frozenset(
    {
        "eth_blockNumber", "eth_call", "eth_estimateGas", "eth_gasPrice", "eth_getBalance", "eth_getBlockByHash",
        "eth_getBlockByNumber", "eth_getCode", "eth_getTransactionByHash", "eth_getTransactionCount",
        "eth_getTransactionReceipt", "eth_maxPriorityFeePerGas", "eth_sendRawTransaction", "eth_signTransaction",
    }
)  # fmt: skip
"""Methods whose answers are small and come at once: nobody waits long for those of others."""
_OF_REQUEST = (-32600,)
"""The code of an error about what was sent, which was a batch."""
_OF_BATCH = (-32600, -32003, -32005)
"""Codes of errors that may be about the batch and not about a request in it: its answer is too large, or it is too much
at a time. Of a transaction the last two say that it is refused."""
PAUSE_SECONDS = 10.0
"""After a batch that failed none is sent for so long: a request that does so takes no other with it again, and a node
that breaks off with all batches is asked one by one."""
SLOW_SECONDS = 0.01
"""For a request of a batch: a node that takes longer gains nothing by one, and those who wait for all of it could have
gone on. It is left out for as long as after a failure."""
MOST_FAILURES = 3
"""Batches in a row that fail at a node that has never taken one, until none is sent it any more."""
_CHANGING = frozenset({"eth_sendRawTransaction"})
"""Methods that are asked in a batch only of a node that is known to take batches."""

Request = dict[str, Any]
Batch = Sequence[Request]
Exchange = Callable[[Batch], list[Any] | None]
"""Sends a batch; returns what came back, in any order, or None where that is no list: such a node takes none."""


def may_share(method: str) -> bool:
    """Whether a request may go with others."""
    return method in _QUICK


class _Asked:
    """A request of one thread."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answer: Any = None
        """What came back; None where it has to ask by itself."""
        self.error: BaseException | None = None
        self.leads = False
        """Whether its thread sends the next batch."""
        self._over = threading.Lock()
        self._over.acquire()

    def wait(self) -> None:
        """Wait until there is an answer, or this thread's turn has come."""
        self._over.acquire()

    def wake(self) -> None:
        """Let its thread continue."""
        self._over.release()


class Batches:
    """What the threads of this process ask one node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Asked] = deque()
        self._on_their_way = 0
        self._takes: bool | None = None
        """Whether the node takes batches, as far as is known."""
        self._failures = 0
        """Batches in a row that have failed."""
        self._paused_until = float("-inf")

    def ask(self, request: Request, alone: Callable[[], Any], exchange: Exchange) -> Any:
        """The answer to a request.

        Args:
            request: JSON-RPC, of a method that `may_share`, with an id that no other has.
            alone: Asks for it by itself.
            exchange: Sends a batch of two or more.

        Raises:
            Trouble: there is none.
        """
        if self._takes is False or self._pauses:
            return alone()
        asked = _Asked(request)
        with self._lock:
            self._waiting.append(asked)
            if self._on_their_way < AT_ONCE:
                self._on_their_way += 1
                asked.leads = True
        try:
            if not asked.leads:
                asked.wait()
            if asked.leads:
                return self._lead(asked, alone, exchange)
        except BaseException:  # an interrupt, too
            self._withdraw(asked)
            raise
        if asked.error is not None:
            raise asked.error
        return alone() if asked.answer is None else asked.answer

    @property
    def _pauses(self) -> bool:
        return time.monotonic() < self._paused_until

    def _lead(self, own: _Asked, alone: Callable[[], Any], exchange: Exchange) -> Any:
        """Send what waits, this thread's request with it."""
        with self._lock:
            batch = self._next(own)
        if len(batch) == 1:
            try:
                return alone()
            finally:
                self._pass_on(own)
        try:
            self._send(batch, exchange)
        finally:
            for asked in batch[1:]:
                asked.wake()
        self._pass_on(own)
        if own.error is not None:
            raise own.error
        return alone() if own.answer is None else own.answer

    def _next(self, own: _Asked) -> list[_Asked]:
        """What goes now; the rest stays where it is."""
        batch, rest = [own], deque[_Asked]()
        self._waiting.remove(own)
        alone = self._pauses or (self._takes is not True and own.request["method"] in _CHANGING)
        for asked in self._waiting:
            changing = self._takes is not True and asked.request["method"] in _CHANGING
            (rest if alone or changing or asked.leads or len(batch) == MOST else batch).append(asked)
        self._waiting = rest
        return batch

    def _send(self, batch: list[_Asked], exchange: Exchange) -> None:
        """Have each of a batch its answer, or an error; neither where the node takes no batches."""
        began = time.monotonic()
        try:
            came = exchange([asked.request for asked in batch])
        except Trouble as trouble:
            for asked in batch:
                asked.error = trouble
            self._failures += 1
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            if self._takes is None and self._failures >= MOST_FAILURES:
                self._takes = False
            return
        except BaseException:
            # What a node has not answered because this thread was interrupted, the others ask for by themselves.
            for asked in batch[1:]:
                if asked.request["method"] in _CHANGING:
                    asked.error = Trouble("the thread that has sent a transaction was interrupted", acted=True)
            raise
        self._failures = 0
        if (ended := time.monotonic()) - began > SLOW_SECONDS * len(batch):
            self._paused_until = ended + PAUSE_SECONDS
        answers = {each["id"]: each for each in came or () if isinstance(each, dict) and type(each.get("id")) is int}
        for asked in batch:
            answer = answers.get(asked.request["id"])
            changing = asked.request["method"] in _CHANGING
            of_batch = answer is not None and _may_be_of_batch(answer, _OF_REQUEST if changing else _OF_BATCH)
            asked.answer = None if of_batch else answer
            if asked.answer is None and changing:  # what has become of it is not known
                asked.error = Trouble("a batch has come back without an answer to a transaction", acted=True)
                self._paused_until = time.monotonic() + PAUSE_SECONDS  # it goes by itself now
        # One that answers none of them, or says of the list what is wrong with it, takes none either.
        self._takes = any(asked.answer is not None for asked in batch)

    def _pass_on(self, own: _Asked) -> None:
        """Have the thread that has waited longest send the next."""
        with self._lock:
            own.leads = False
            for asked in self._waiting:
                if not asked.leads:
                    asked.leads = True
                    asked.wake()
                    return
            self._on_their_way -= 1

    def _withdraw(self, own: _Asked) -> None:
        """Leave nobody waiting for a thread that has ended."""
        with self._lock:
            if own in self._waiting:
                self._waiting.remove(own)
        if own.leads:
            self._pass_on(own)


def _may_be_of_batch(answer: dict[str, Any], codes: Sequence[int]) -> bool:
    """Whether an error may be one of the batch, so that the request has to be sent by itself to know."""
    error = answer.get("error")
    return isinstance(error, dict) and error.get("code") in codes
