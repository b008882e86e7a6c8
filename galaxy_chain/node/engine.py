"""The one thread in which the virtual machine runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from galaxy_chain.node.chain import Chain
from galaxy_chain.node.transactions import Transaction

__all__ = ["Engine"]

T = TypeVar("T")


class Engine:
    """Runs what changes the chain, one thing at a time, while the event loop goes on answering reads.

    Transactions that arrive while a block is being made go together into the next one. Each is answered once
    its block is there, so to its sender the node automines.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evm")
        self._waiting: list[tuple[Callable[[], Transaction], asyncio.Future[str]]] = []
        self._mining: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Runs `work` in the thread of the virtual machine, and raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def submit(self, source: Callable[[], Transaction]) -> str:
        """Sends the transaction that `source` makes; answers its hash, raises RPCError if it is refused."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((source, answer))
        if self._mining is None:
            self._mining = asyncio.create_task(self._mine())
        return await answer

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _mine(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                sources = [source for source, _ in batch]
                try:
                    outcomes = await self.run(partial(self._chain.submit, sources))
                except Exception as error:
                    outcomes = [error] * len(batch)
                for (_, answer), outcome in zip(batch, outcomes, strict=True):
                    if answer.done():
                        continue
                    if isinstance(outcome, Exception):
                        answer.set_exception(outcome)
                    else:
                        answer.set_result(outcome)
        finally:
            self._mining = None
