"""One job's logs as nodes give them, distrusted: what can't be is not taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from eth_bloom.bloom import BloomFilter

from galaxy_chain.following.cursor import Log
from galaxy_chain.rpc.errors import RpcAnswerError, TooMuchError, UnreliableAnswerError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.rpc.values import Block, number

__all__ = ["JobLogs", "Span"]

LARGEST_SPAN = 2_000


class Span:
    """How many blocks to ask for at once: half as many when refused, a quarter more after each answer."""

    def __init__(self) -> None:
        self.blocks = LARGEST_SPAN

    def refused(self, asked: int) -> bool:
        """Whether fewer can be asked for than just now."""
        self.blocks = max(1, asked // 2)
        return asked > 1

    def answered(self) -> None:
        """The last range was not a problem."""
        self.blocks = min(LARGEST_SPAN, self.blocks + self.blocks // 4 + 1)


class JobLogs:
    """The chain and a job's logs on it, as the nodes of an Rpc give them.

    Args:
        rpc: The nodes.
        address: Of the ledger.
        job: The job's number.
    """

    def __init__(self, rpc: Rpc, address: str, job: int) -> None:
        self.rpc = rpc
        self._address = address.lower()
        self._job = f"0x{job:064x}"
        self._span = Span()

    def latest(self) -> Block:
        """The newest block."""
        with self._reading():
            return self.rpc.block("latest")

    def of(self, identity: str) -> Block:
        """The block of that hash."""
        with self._reading():
            return self.rpc.block_of(identity)

    def at(self, number: int) -> Block:
        """The chain's block of that number."""
        with self._reading():
            return self.rpc.block(number)

    def finalized(self) -> Block | None:
        """The newest block that the chain's consensus will not take back; None where the node knows none."""
        try:
            return self.rpc.block("finalized")
        except (RpcAnswerError, UnreliableAnswerError):
            return None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Plain reads are refused only by a node that is out of step: another one, or a later one, will answer."""
        try:
            yield
        except (RpcAnswerError, TooMuchError) as error:
            raise UnreliableAnswerError(f"{self.rpc.name}: {error}") from error

    def logs(self, first: int, last: int) -> tuple[int, list[Log]]:
        """The job's logs from block `first` on, in order, and the last block up to which they are complete.

        That is `last`, or one before it where the node does not give as many at once.

        Raises:
            UnreliableAnswerError: the node gives something else than was asked for, or refuses even one block.
            RpcError: it fails.
        """
        while True:
            end = min(last, first + self._span.blocks - 1)
            where = {"fromBlock": hex(first), "toBlock": hex(end)}
            try:
                with self._reading():
                    answer = self.rpc.request(
                        "eth_getLogs", {"address": self._address, "topics": [None, self._job], **where}
                    )
            except UnreliableAnswerError:
                # Every provider has its own words for a range that is too large: a smaller one tells.
                if not self._span.refused(end - first + 1):
                    raise
            else:
                self._span.answered()
                return end, self._checked(answer, first, end)

    def _checked(self, answer: Any, first: int, last: int) -> list[Log]:
        if not isinstance(answer, list):
            raise UnreliableAnswerError(f"{self.rpc.name} answers eth_getLogs with {answer!r:.200}, not with a list")
        logs = [self._log(entry) for entry in answer]
        for log in logs:
            if not first <= log.block <= last:
                raise UnreliableAnswerError(
                    f"{self.rpc.name} was asked for the blocks {first} to {last}, and gives a log of block {log.block}"
                )
            if log.entry["address"] != self._address or log.entry["topics"][1:2] != [self._job]:
                raise UnreliableAnswerError(
                    f"{self.rpc.name} was asked for logs of {self._address} about job {int(self._job, 16)}, and gives "
                    f"one of {log.entry['address']} with the topics {log.entry['topics']!r:.300}"
                )
        logs.sort(key=lambda log: (log.block, log.place))
        for one, next_one in pairwise(logs):
            if one.block == next_one.block and (one.identity != next_one.identity or one.place == next_one.place):
                raise UnreliableAnswerError(
                    f"{self.rpc.name} gives two logs at place {next_one.place} of block {one.block}, or two such blocks"
                )
        return logs

    def _log(self, entry: Any) -> Log:
        try:
            if entry.get("removed"):
                raise ValueError("it was removed by a reorganisation")
            kept = {
                "address": entry["address"].lower(),
                "topics": [topic.lower() for topic in entry["topics"]],
                "data": entry["data"],
                "blockNumber": entry["blockNumber"],
                "blockHash": entry["blockHash"].lower(),
                "transactionHash": entry["transactionHash"].lower(),
                "logIndex": entry["logIndex"],
            }
            return Log(number(kept["blockNumber"]), kept["blockHash"], number(kept["logIndex"]), kept)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnreliableAnswerError(
                f"{self.rpc.name} gives a malformed log entry ({error!r}): {entry!r:.300}"
            ) from error

    def may_have_logs(self, block: Block) -> bool:
        """Whether the block's bloom filter leaves open that the job has logs in it; there may be none all the same."""
        bloom = BloomFilter(block.bloom)
        return bytes.fromhex(self._address[2:]) in bloom and bytes.fromhex(self._job[2:]) in bloom

    def prove_none(self, block: Block) -> None:
        """Makes sure that the job has no logs in a block: all of the block's logs have to make up its bloom filter.

        Raises:
            UnreliableAnswerError: there are some, or the node keeps logs back.
        """
        with self._reading():
            entries = self.rpc.request("eth_getLogs", {"blockHash": block.identity})
        try:
            made = BloomFilter()
            for entry in entries:
                made.add(bytes.fromhex(entry["address"][2:]))
                made.extend(bytes.fromhex(topic[2:]) for topic in entry["topics"])
            ours = [e for e in entries if e["address"].lower() == self._address and e["topics"][1:2] == [self._job]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnreliableAnswerError(f"{self.rpc.name} gives malformed logs of block {block.number}") from error
        if ours or block.bloom & ~int(made):
            raise UnreliableAnswerError(
                f"{self.rpc.name} gives no logs of job {int(self._job, 16)} in block {block.number} "
                f"({block.identity}), but the block's bloom filter says that there are: name another node with --rpc "
                "or GALAXY_RPC"
            )
