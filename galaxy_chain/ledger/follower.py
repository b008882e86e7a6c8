"""Follows the events of one job on the chain, and starts over where the chain was reorganised."""

from __future__ import annotations

import time

from galaxy_chain.exceptions import AuditError, UnknownJobError
from galaxy_chain.ledger.history import JobHistory
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.rpc import Block

__all__ = ["JobFollower"]

BLOCKS_A_REQUEST = 2_000


class JobFollower:
    """A job's history up to the newest block seen.

    Backfill and live are one code path: `poll` takes whatever blocks are new. Where the block of the last poll is no
    longer the chain's, the history is rebuilt from the ledger's first block.

    Args:
        ledger: Where the job is.
        job: Its number.

    Raises:
        UnknownJobError: the ledger has no such job.
    """

    def __init__(self, ledger: Ledger, job: int) -> None:
        self.ledger = ledger
        self.job = job
        self.time = 0
        """The newest block's timestamp, in seconds."""
        self._restart()
        ledger.job(job)
        self.poll()
        if self.history.owner is None:
            raise UnknownJobError(
                f"job {job} has no events from block {ledger.first_block} on: the ledger's first block is wrong, "
                "or the node keeps no old logs"
            )

    @property
    def next_time(self) -> int:
        """The earliest time that the next block can have, in seconds: an idle development chain's own stands still."""
        return max(self.time + 1, int(time.time()))

    def _restart(self) -> None:
        self.history = JobHistory(self.ledger.chain_id, self.ledger.address, self.job)
        self._number = self.ledger.first_block - 1
        self._hash: str | None = None

    def _leads_to(self, latest: Block) -> bool:
        """Whether the block of the last poll is still on the chain that ends with `latest`."""
        if self._hash in (None, latest.parent):  # the parent, nearly always: spares a request
            return True
        return self._number <= latest.number and self.ledger.rpc.block(self._number).identity == self._hash

    def poll(self) -> bool:
        """Takes what is new; whether there was anything of this job.

        Raises:
            RpcError: the node fails; the next poll goes on where this one began.
            AuditError: the events contradict each other.
        """
        rpc = self.ledger.rpc
        latest = rpc.block("latest")
        if latest.identity == self._hash:
            return False
        changed = False
        if not self._leads_to(latest):
            self._restart()
            changed = True
        while self._number < latest.number:
            last = min(latest.number, self._number + BLOCKS_A_REQUEST)
            events = self.ledger.events(self._number + 1, last, job=self.job)
            try:
                for event in events:
                    self.history.apply(event)
            except AuditError:
                if rpc.block(latest.number).identity == latest.identity:
                    raise
                # The chain was reorganised between two requests: what was taken is of two branches.
                self._restart()
                self.poll()
                return True
            changed = changed or bool(events)
            self._number, self._hash = last, (latest if last == latest.number else rpc.block(last)).identity
        self._hash, self.time = latest.identity, latest.time
        return changed
