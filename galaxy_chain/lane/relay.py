"""A relay: hands in what clients have signed, and pays for it.

What it sends can be sent by anybody, any number of times: the ledger takes each entry once. So all that a relay has to
take care of is its money.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_chain.exceptions import (
    InsufficientFundsError,
    KeyMissingError,
    LedgerRefusedError,
    RpcError,
    TransactionError,
)
from galaxy_chain.following.history import JobHistory
from galaxy_chain.lane.inbox import Inbox
from galaxy_chain.lane.messages import SignedJoin, SignedUpdate
from galaxy_chain.ledger.contract import ContractCall, LedgerContract
from galaxy_chain.ledger.structs import NEVER
from galaxy_chain.ledger.submissions import Entry, pack_block
from galaxy_chain.rpc.errors import RpcAnswerError
from galaxy_chain.shown import ether
from galaxy_chain.transactions.manager import LARGEST_GAS, Receipt
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.content.gathering import gather
from galaxy_fl.exceptions import ContentError, RoundMovedOnError
from galaxy_fl.files import make_folder, write_durably
from galaxy_fl.patience import Backoff

__all__ = ["MOST_ENTRIES", "Relay", "RelaySettings"]

LOG = logging.getLogger(__name__)

MOST_ENTRIES = 500
"""Entries of one call at most: 8 million gas, and 77 kB of the 128 that nodes take of a transaction."""
_ENTRY_GAS, _CALL_GAS = 25_000, 100_000
"""More than an entry and a call take, for how many entries fit into a block at most."""
_JOIN_MARGIN = 60
"""Seconds that a signature to join still has to be valid."""
_MOST_JOINS = 100
"""Joins of one call at most: 3.3 million gas."""
_JOIN_GAS = 70_000
"""More than a join takes, for how many fit into a block at most."""
_PAUSES = Backoff(1.0, 60.0)
"""After failures, and until content that was not there is looked for again."""


@dataclass(frozen=True)
class RelaySettings:
    """How a relay hands in, and what it is ready to pay."""

    batch: int = 100
    """Entries of one call. Larger ones save a little gas; smaller ones bring clients in sooner."""
    wait: float = 5.0
    """Seconds that an entry waits for a batch to fill. Raise it where clients come one by one, and gas is dear."""
    fee_cap: int | None = None
    """Wei for a unit of gas above which nothing is handed in; None for what the account's transactions may offer."""
    budget: int = 10**17
    """Wei that may be spent in a round, on entries and on clients that join."""


class _Spent(BaseModel):
    """What a relay has spent in the round that it relayed for last."""

    model_config = ConfigDict(strict=True, extra="forbid")

    round: int = Field(ge=0)
    wei: int = Field(ge=0)


class Relay:
    """Relays for one job.

    It has joined only clients that the owner admitted, or, in an open job, as many as a round takes. It hands in only
    entries whose content it has; where updates are revealed after the round has closed, those of clients whose last
    content it has had.

    Args:
        ledger: With the transactions of the account that pays.
        inbox: Where clients leave what they have signed.
        verifier: Of the job.
        reveals_late: Whether updates are revealed after the round has closed.
        job: Its number.
        settings: What it is ready to pay.
        memory: A file for what was spent; None where that ends with the process.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        ledger: LedgerContract,
        inbox: Inbox,
        verifier: Verifier,
        job: int,
        settings: RelaySettings,
        memory: Path | None,
        *,
        reveals_late: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._inbox = inbox
        self._verifier = verifier
        self._job = job
        self._settings = settings
        self._memory = memory
        self._reveals_late = reveals_late
        self._clock = clock
        self._spent = self._remembered()
        self._batch = min(settings.batch, MOST_ENTRIES)
        """Entries of the next call; fewer once a node has refused as many."""
        self._waiting: tuple[tuple[int, bytes], float] | None = None
        """The attempt, and since when an entry of it waits for the batch to fill."""
        self._had: set[tuple[str, bytes]] = set()
        """Clients and digests whose content was seen."""
        self._joins = _MOST_JOINS
        """Joins of the next call; fewer once a node has refused as many."""
        self._wrong: set[str] = set()
        """Signatures that the ledger has refused."""
        self._unfinished = True
        """Whether something may be under way that was begun by an earlier process, or was given up."""
        self._missed: dict[tuple[str, bytes], tuple[int, float]] = {}
        """Content that was not there: how often it was looked for, and when it is again."""
        self._failures = 0
        self._paused_until = 0.0
        self._said: set[str] = set()

    def look(self, history: JobHistory, now: int) -> bool:
        """Does what is due.

        Args:
            history: Of the job.
            now: The chain's time, in seconds.

        Returns:
            Whether something may be in: then the job has to be looked at again.
        """
        if history.finished or self._clock() < self._paused_until:
            return False
        try:
            self._inbox.tend(self._job)
            done = self._join(history, now) or self._hand_in(history, now)
        except RoundMovedOnError:
            return True
        except ContentError as error:
            self._pause("inbox", f"the relay can't use {self._inbox.where}, and tries again: {error}")
        except InsufficientFundsError as error:
            self._pause("funds", f"the relay is out of funds, and hands in nothing until its account has some: {error}")
        except (LedgerRefusedError, TransactionError, RpcError) as error:
            self._unfinished = True
            self._pause("trouble", f"the relay could not hand in, and tries again: {error}")
        else:
            if done:
                self._failures = 0
                self._said -= {"inbox", "funds", "trouble"}
            return done
        return False

    def _pause(self, kind: str, what: str) -> None:
        """Lets a while pass until the next try, and says why."""
        self._failures += 1
        self._paused_until = self._clock() + _PAUSES.after(self._failures)
        self._say(what, kind)

    # Clients that join

    def _join(self, history: JobHistory, now: int) -> bool:
        wanted = [join for join in self._inbox.joins(self._job) if self._may_join(history, join, now)]
        if history.terms.open:
            room = history.terms.max_clients - len(history.clients)
            if len(wanted) > max(room, 0):
                self._say(
                    f"{len(history.clients)} clients have joined, and a round takes {history.terms.max_clients}: "
                    "the relay has no more join; they may do so by a transaction of their own"
                )
                wanted = wanted[: max(room, 0)]
        if wanted and (size := self._fitting(self._joins, _JOIN_GAS)) > 0:
            return self._send_joins(history, wanted[:size])
        return False

    def _send_joins(self, history: JobHistory, joins: list[SignedJoin]) -> bool:
        """Has clients join in one call, without those whom the ledger refuses."""
        while joins:
            call = self._ledger.join_by_signatures(self._job, [join.join for join in joins])
            try:
                if (most := self._payable(history, call)) is None:
                    if len(joins) == 1:
                        return False
                    joins = joins[: len(joins) // 2]  # for as many as the budget lasts
                    continue
                once = f"{self._job} {joins[0].client} {joins[0].signature[:16]}"
                self._paid(history, most, call.begin(once))()
                return True
            except LedgerRefusedError as error:
                place = error.arguments.get("place")
                if error.name != "WrongJoin" or not isinstance(place, int) or place >= len(joins):
                    raise
                wrong = joins.pop(place)
                self._wrong.add(wrong.signature)
                self._say(f"{wrong.client} can't join: {error}")
            except RpcAnswerError:
                if len(joins) == 1:
                    raise
                self._joins = len(joins) // 2
                joins = joins[: self._joins]
        return False

    def _may_join(self, history: JobHistory, join: SignedJoin, now: int) -> bool:
        terms = history.terms
        return (
            join.client not in history.clients
            and join.client not in history.expelled
            and (terms.open or join.client in history.admitted)
            and join.samples <= terms.max_weight
            and join.deadline > now + _JOIN_MARGIN
            and join.signature not in self._wrong
        )

    # Entries

    def _hand_in(self, history: JobHistory, now: int) -> bool:
        room = history.terms.max_clients - len(history.entries)
        if history.origin != history.attempt or room <= 0 or now >= history.closes_at:
            return False
        once = f"{self._job} {history.attempt} {history.model.root.hex()}"
        if self._unfinished:
            # A batch of an earlier process may be on its way: another with the same entries would be paid in vain.
            call = self._ledger.submit_updates(self._job, history.attempt, history.model.root, b"", b"")
            under_way = call.finish(once)
            self._unfinished = False
            if under_way is not None:
                self._settle(history, 0, under_way)
                return True
        ready = self._ready(history)[:room]
        if not ready or not self._is_time(history, ready, room, now):
            return False
        if (size := self._fitting(self._batch, _ENTRY_GAS)) < 1:
            self._say("the blocks of this chain are too small for an entry")
            return False
        return self._send(history, ready[:size], once)

    def _ready(self, history: JobHistory) -> list[SignedUpdate]:
        """What can be handed in, in the order of the inbox."""
        model = history.model.root.hex()
        there = {entry.client for entry in history.entries}
        fitting = [
            update
            for update in self._inbox.updates(self._job, history.attempt)
            if update.model == model
            and update.client not in there
            and update.client not in history.expelled
            and update.weight <= history.clients.get(update.client, 0)
            and update.signature not in self._wrong
        ]
        if self._reveals_late:
            last = _last_entries(history)
            known = [(last.get(update.client), update) for update in fitting]
        else:
            known = [(update.entry, update) for update in fitting]
        wanted = {(entry.client, entry.update.content) for entry, _ in known if entry is not None}
        self._had &= wanted  # what is in, or of attempts long gone, is not remembered
        self._missed = {key: missed for key, missed in self._missed.items() if key in wanted}
        self._look_for([entry for entry, _ in known if entry is not None], history)
        return [update for entry, update in known if entry is None or (entry.client, entry.update.content) in self._had]

    def _look_for(self, entries: Sequence[Entry], history: JobHistory) -> None:
        """Notes whose content is there, verified."""
        now = self._clock()
        new = [
            entry
            for entry in entries
            if (key := (entry.client, entry.update.content)) not in self._had
            and now >= self._missed.get(key, (0, now))[1]
        ]
        if not new:
            return
        found, missing = gather(new, lambda entry: self._verifier.update(entry, f"the update of {entry.client}"), 0)
        self._had |= {(entry.client, entry.update.content) for entry in found}
        for entry, error in missing.items():
            key = entry.client, entry.update.content
            times = self._missed.get(key, (0, now))[0] + 1
            self._missed[key] = times, now + _PAUSES.after(times)
            what = "its last update was never revealed" if self._reveals_late else "its content is not there"
            if isinstance(error, KeyMissingError):
                what = f"what it has sealed can't be read here: {error}"
            self._say(f"round {history.round}: {entry.client} is not handed in, because {what}")

    def _is_time(self, history: JobHistory, ready: Sequence[SignedUpdate], room: int, now: int) -> bool:
        """Whether a batch is full, nobody is waited for, or the first has waited long enough."""
        attempt = history.attempt, history.model.root
        if self._waiting is None or self._waiting[0] != attempt:
            self._waiting = attempt, self._clock()
        others = len(history.clients) - len(history.expelled) - len(history.entries)
        if len(ready) >= min(self._batch, room, max(others, 1)):
            return True
        waits = self._settings.wait
        if history.closes_at != NEVER:
            waits = min(waits, max(0, history.closes_at - now) / 8)
        return self._clock() - self._waiting[1] >= waits

    def _fitting(self, most: int, each: int) -> int:
        """How many entries or joins a call may have, each of that much gas."""
        limit = self._ledger.rpc.request("eth_getBlockByNumber", "latest", False)
        try:
            gas = min(LARGEST_GAS, int(limit["gasLimit"], 16))
        except (KeyError, TypeError, ValueError) as error:
            raise RpcError(f"{self._ledger.rpc.name} gives a block without a gas limit") from error
        return min(most, (gas - _CALL_GAS) // each)

    def _send(self, history: JobHistory, updates: list[SignedUpdate], once: str) -> bool:
        """Sends a batch: without what the ledger finds wrong in it, and with half of it where a node does not take it
        as a whole."""
        while updates:
            call = self._ledger.submit_updates(
                self._job,
                history.attempt,
                history.model.root,
                pack_block([update.entry for update in updates]),
                b"".join(bytes.fromhex(update.signature) for update in updates),
            )
            try:
                if (most := self._payable(history, call)) is None:
                    return False
                self._unfinished = True
                self._paid(history, most, call.begin(once))()
                self._unfinished = False
                self._waiting = None
                return True
            except LedgerRefusedError as error:
                place = error.arguments.get("place")
                if error.name != "WrongEntry" or not isinstance(place, int) or place >= len(updates):
                    raise
                wrong = updates.pop(place)
                self._wrong.add(wrong.signature)
                self._say(f"the entry of {wrong.client} is left out: {error}")
            except RpcAnswerError:
                if len(updates) == 1:
                    raise
                self._batch = len(updates) // 2
                updates = updates[: self._batch]
        return False

    # Money

    def _payable(self, history: JobHistory, call: ContractCall) -> int | None:
        """The most that a call costs; None where that is more than this relay is ready to pay."""
        assert self._ledger.transactions is not None
        cap, price = self._settings.fee_cap, self._ledger.transactions.price()
        if cap is not None and price > cap:
            self._say(f"gas is dearer than the relay pays ({cap / 10**9:g} gwei): it waits for cheaper times")
            return None
        most = call.most()
        spent = self._spent.wei if self._spent.round == history.round else 0
        if spent + most > self._settings.budget:
            self._say(
                f"round {history.round}: the relay has spent {ether(spent)} of its {ether(self._settings.budget)} a "
                f"round, and what is next may cost {ether(most)}: it hands in nothing more; clients that can pay send "
                "their own transactions"
            )
            return None
        return most

    def _paid(self, history: JobHistory, most: int, wait: Callable[[], Receipt]) -> Callable[[], Receipt]:
        """What waits for a transaction that has begun, its cost counted: the most until it is known."""
        self._settle(history, most, None)

        def wait_and_count() -> Receipt:
            receipt = wait()
            self._settle(history, -most, receipt)
            return receipt

        return wait_and_count

    def _settle(self, history: JobHistory, change: int, receipt: Receipt | None) -> None:
        before = self._spent.wei if self._spent.round == history.round else 0
        wei = before + change + (0 if receipt is None else receipt.fee)
        self._spent = _Spent(round=history.round, wei=max(0, wei))
        if self._memory is not None:
            make_folder(self._memory.parent)
            write_durably(self._memory, self._spent.model_dump_json())

    def _remembered(self) -> _Spent:
        try:
            if self._memory is not None:
                return _Spent.model_validate_json(self._memory.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValidationError) as error:
            LOG.warning("job %d: %s can't be read: the relay counts from zero (%s)", self._job, self._memory, error)
        return _Spent(round=0, wei=0)

    def _say(self, what: str, kind: str = "") -> None:
        """Says something, once, or once of a kind."""
        if (kind or what) not in self._said:
            self._said.add(kind or what)
            LOG.warning("job %d: %s", self._job, what)


def _last_entries(history: JobHistory) -> dict[str, Entry]:
    """The last entry of each client in an attempt that has ended: what it should have revealed by now."""
    found: dict[str, Entry] = {}
    ended = [
        *((commit.attempt, commit.entries) for commit in (*history.commits.values(), *history.void.values())),
        *((reopening.attempt, reopening.entries) for reopening in history.reopened),
    ]
    for _, entries in sorted(ended, key=lambda each: each[0]):
        found |= {entry.client: entry for entry in entries}
    return found
