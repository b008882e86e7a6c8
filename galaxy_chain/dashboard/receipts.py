"""What the transactions of attempts cost, and how their entries came in: asked of the node in the background.

A round may have a thousand transactions, so only those of rounds that somebody looks at are asked for, the last first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from galaxy_chain.dashboard.background import Background
from galaxy_chain.exceptions import RpcError
from galaxy_chain.lane.lanes import lane_of
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.rpc.values import quantity

__all__ = ["Receipts", "Sent"]

_log = logging.getLogger(__name__)

MOST_KNOWN = 200_000
"""Transactions that are remembered, some 300 bytes each."""
MOST_WAITING = 500
"""Rounds that wait to be looked up; the ones asked for longest ago are dropped."""
PAUSE = 3.0
"""Seconds after a node has failed."""

Place = tuple[bytes, int]
"""A transaction and its block: after a reorganisation it may cost something else."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How a transaction brought entries in, and who sent it."""

    lane: str
    by: str


class Receipts(Background):
    """Looks transactions up, in a thread of its own between `start` and `stop`.

    Args:
        ledger: To read.
        tell: Called with a job's number and a round once what was asked for of it is known.
    """

    def __init__(self, ledger: LedgerContract, tell: Callable[[int, int], None]) -> None:
        super().__init__("looks up transactions")
        self._ledger = ledger
        self._tell = tell
        self._gas: dict[Place, int] = {}
        self._sent: dict[Place, Sent] = {}
        self._waiting: dict[tuple[int, int, bool], tuple[Place, ...]] = {}

    def gas(self, place: Place) -> int | None:
        """What a transaction has used; None where that is not known yet."""
        return self._gas.get(place)

    def sent(self, place: Place) -> Sent | None:
        """How a transaction brought entries in; None where that is not known yet."""
        return self._sent.get(place)

    def want(self, job: int, round: int, places: Sequence[Place], lanes: bool = False) -> None:
        """Have transactions of a round looked up, where they are not known.

        Args:
            lanes: How they brought entries in, instead of what they cost.
        """
        known = self._sent if lanes else self._gas
        lacking = tuple(place for place in places if place not in known)
        if not lacking:
            return
        with self._changed:
            self._waiting.pop((job, round, lanes), None)
            self._waiting[job, round, lanes] = lacking
            while len(self._waiting) > MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                (job, round_, lanes), places = self._waiting.popitem()
            try:
                for place in places:
                    if self._closed:
                        return
                    self._look_up(place, lanes)
            except RpcError as error:  # it is asked for again by whoever looks again
                _log.info("round %d of job %d: %s", round_, job, error)
                time.sleep(0 if self._closed else PAUSE)
            else:
                self._tell(job, round_)

    def _look_up(self, place: Place, lanes: bool) -> None:
        hash, rpc = "0x" + place[0].hex(), self._ledger.rpc
        if lanes:
            if place not in self._sent:
                lane, by = lane_of(self._ledger, hash)
                self._keep(self._sent, place, Sent(lane, by))
        elif place not in self._gas:
            receipt = rpc.request("eth_getTransactionReceipt", hash)
            used = quantity(receipt.get("gasUsed")) if isinstance(receipt, dict) else None
            if used is None or used >= 2**63:
                raise RpcError(f"{rpc.name} does not give the receipt of {hash}")
            self._keep(self._gas, place, used)

    @staticmethod
    def _keep(known: dict[Place, Any], place: Place, value: Any) -> None:
        while len(known) >= MOST_KNOWN:
            del known[next(iter(known))]
        known[place] = value
