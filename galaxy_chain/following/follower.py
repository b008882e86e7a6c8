"""Follows the logs of one job on the chain: applies what is new, takes back what a reorganisation replaced, and says
what is final.

Backfill and live are one code path. Blocks near the head are linked one by one by their hashes, and each log has to be
of one of them; ranges further below are only as good as the node, and checked by what the events say of each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from galaxy_chain.exceptions import AuditError, UnknownJobError
from galaxy_chain.following.cursor import Cursor, Log
from galaxy_chain.following.history import JobHistory
from galaxy_chain.following.job_logs import JobLogs
from galaxy_chain.following.view import JobView
from galaxy_chain.following.window import Window
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.events import LedgerEvent
from galaxy_chain.rpc.errors import UnreliableAnswerError
from galaxy_chain.rpc.rotation import BACKOFF
from galaxy_chain.rpc.values import Block
from galaxy_fl.faults import fault_point
from galaxy_fl.patience import Clock, Waiting

__all__ = ["Applied", "Chain", "Change", "Final", "Follower", "JobFollower", "Reverted"]

BEHIND_SECONDS = 30.0
"""How long a node may give an older head than before until that is taken for what the chain has become."""
CONFIRMATIONS = 64
"""Blocks on top that make a block final where the node knows no `finalized`."""


@dataclass(frozen=True)
class Applied:
    """A log is in the chain."""

    log: Log


@dataclass(frozen=True)
class Reverted:
    """A log that was applied is in the chain no more.

    Attributes:
        final: Whether it had counted as final: then the chain broke its promise, or the confirmations were too few.
    """

    log: Log
    final: bool


@dataclass(frozen=True)
class Final:
    """A log that was applied will not be taken back: what money may count on."""

    log: Log


Change = Applied | Reverted | Final


class Chain(Protocol):
    """What a follower asks of the nodes; each raises UnreliableAnswerError where an answer can't be."""

    def latest(self) -> Block:
        """The newest block."""

    def of(self, identity: str) -> Block:
        """The block of that hash."""

    def at(self, number: int) -> Block:
        """The chain's block of that number."""

    def finalized(self) -> Block | None:
        """The newest final block, where the node knows it."""

    def logs(self, first: int, last: int) -> tuple[int, list[Log]]:
        """The logs from `first` on in order, and up to which block they are complete: `last`, or one before it."""

    def may_have_logs(self, block: Block) -> bool:
        """Whether the block's bloom filter leaves that open."""

    def prove_none(self, block: Block) -> None:
        """Makes sure that a block that may have logs has none."""


class Follower:
    """No log is missed and none applied twice, whatever crashes, lies or is reorganised.

    Args:
        chain: The nodes.
        cursor: What is known already.
        first: The number of the first block of interest.
        confirmations: How many blocks on top make a block final; None for the chain's own `finalized`, and 64 blocks
            where the node knows none.
        take: Called with what is applied and reverted, within the transaction that writes it down: what it raises
            undoes that.
        clock: Seconds; as `time.monotonic`.
    """

    def __init__(
        self,
        chain: Chain,
        cursor: Cursor,
        first: int,
        confirmations: int | None,
        take: Callable[[Sequence[Change]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.window = cursor.window
        self.final = cursor.final
        self.behind = False
        """Whether the node gave an older head than before when it was asked last."""
        self.changes: list[Change] = []
        """What was written down, in order, since somebody emptied the list."""
        self._chain = chain
        self._cursor = cursor
        self._first = first
        self._confirmations = confirmations
        self._take = take
        self._clock = clock
        self._behind_since: float | None = None
        self._found: dict[str, Block] = {}

    def look(self) -> None:
        """Takes what is new.

        Raises:
            UnreliableAnswerError: the nodes contradict themselves, or the chain was reorganised meanwhile: look again.
            RpcError: the nodes fail.
        """
        latest = self._chain.latest()
        self.behind = self.window.is_ahead_of(latest)
        if self.behind:
            now = self._clock()
            self._behind_since = now if self._behind_since is None else self._behind_since
            if now - self._behind_since < BEHIND_SECONDS:
                return
            if self.window.at(latest.number) is not None:
                self._move(latest.number, (), [])
            elif latest.number < self._first:
                self.start_over()
        self._behind_since = None
        if latest.number < self._first or (self.window.head and latest.identity == self.window.head.identity):
            return
        branch = self.window.branch_to(latest, self._first, self._of, self._chain.at, self._older)
        ancestor = branch.ancestor
        lowest = branch.blocks[0]
        while ancestor + 1 < lowest.number:
            last, logs = self._chain.logs(ancestor + 1, lowest.number - 1)
            end = self._chain.at(last)
            self._check_hashes(logs, [end])
            if last + 1 == lowest.number and end.identity != lowest.parent:
                raise UnreliableAnswerError(
                    f"block {last} is {end.identity}, but the parent of the next {lowest.parent}"
                )
            self._move(ancestor, (end,), logs)
            ancestor = last
        self._move(ancestor, branch.blocks, self._linked_logs(ancestor + 1, branch.blocks))
        self._found.clear()
        self._settle(latest)

    def start_over(self) -> None:
        """Takes everything back: the next look begins with the first block."""
        self._move(self._first - 1, (), [])

    def _of(self, identity: str) -> Block:
        """The block of that hash. Remembered until a look succeeds: where nodes know it now and now not, each try gets
        further than the one before."""
        if identity not in self._found:
            self._found[identity] = self._chain.of(identity)
        return self._found[identity]

    def _older(self) -> list[tuple[int, str]]:
        """The blocks with logs below the window."""
        bottom = self.window.blocks[0].number if self.window.blocks else 0
        return [block for block in self._cursor.blocks_with_logs() if block[0] < bottom]

    def _linked_logs(self, first: int, blocks: Sequence[Block]) -> list[Log]:
        """The logs of a branch's blocks, from those very blocks, and complete as far as their bloom filters tell."""
        found: list[Log] = []
        while first <= blocks[-1].number:
            last, logs = self._chain.logs(first, blocks[-1].number)
            found += logs
            first = last + 1
        self._check_hashes(found, blocks)
        filled = {log.block for log in found}
        for block in blocks:
            if block.number not in filled and self._chain.may_have_logs(block):
                self._chain.prove_none(block)
        return found

    def _check_hashes(self, logs: Sequence[Log], blocks: Sequence[Block]) -> None:
        known = {block.number: block.identity for block in blocks}
        for log in logs:
            if log.identity != known.get(log.block, log.identity):
                raise UnreliableAnswerError(
                    f"a log is said to be in block {log.block} of the hash {log.identity}, but that block is "
                    f"{known[log.block]}"
                )

    def _move(self, ancestor: int, blocks: Sequence[Block], logs: Sequence[Log]) -> None:
        """Takes back all above the ancestor and applies the logs of the blocks, in one transaction."""
        window = self.window.moved(ancestor, blocks)
        final = min(self.final, ancestor)
        with self._cursor.step():
            gone: list[Change] = [
                Reverted(log, log.block <= self.final) for log in reversed(self._cursor.logs(above=ancestor))
            ]
            if gone:
                self._cursor.take_back(ancestor)
            self._cursor.add(logs)
            self._cursor.move(self.window, window)
            if final != self.final:
                self._cursor.set_final(final)
            changes = [*gone, *map(Applied, logs)]
            if changes:
                self._take(changes)
            fault_point("before-cursor")
        fault_point("after-cursor")
        self.window, self.final = window, final
        self.changes += changes

    def _settle(self, head: Block) -> None:
        """Says what has become final; asks the node only where something may."""
        if not self._cursor.has_logs(above=self.final):
            return
        if self._confirmations is not None:
            final = head.number - self._confirmations
        elif (tagged := self._chain.finalized()) is None:
            final = head.number - CONFIRMATIONS
        else:
            final = tagged.number
            ours = self.window.at(final)
            if final > head.number or (ours is not None and ours.identity != tagged.identity):
                return  # the chain has moved meanwhile: the next look will see
        if final > self.final:
            settled = [Final(log) for log in self._cursor.logs(above=self.final, to=final)]
            with self._cursor.step():
                self._cursor.set_final(final)
            self.final = final
            self.changes += settled


class JobFollower(JobView):
    """A job's history up to the newest block seen.

    Args:
        ledger: Where the job is.
        job: Its number.
        database: A file for what is known of the job, of this process alone: with it, the next start continues
            where this one ended. None to keep it in memory.
        confirmations: How many blocks on top make a block final. Without it the chain's own `finalized` counts, and 64
            blocks where the node knows none. Set it for a chain whose nodes finalize at once, or never.
        clock: Seconds; as `time.monotonic`.

    Raises:
        UnknownJobError: the ledger has no such job.
        ConfigurationError: the file can't be used.
        RpcError, AuditError: as `poll`.
    """

    def __init__(
        self,
        ledger: LedgerContract,
        job: int,
        database: Path | None = None,
        *,
        confirmations: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(ledger, job, clock)
        self.news: tuple[Change, ...] = ()
        """What the last poll changed, in order. A change that was written down, but not handed out before a crash, is
        in no news: whoever counts money compares with `history` and `final` when it starts."""
        self._torn = False
        """Whether the history may have taken what was not written down."""
        ledger.job_of(job)
        subject = f"job {job} of {ledger.address} on chain {ledger.chain_id} from block {ledger.first_block}"
        self._cursor = Cursor(database, subject)
        self._follower = Follower(
            JobLogs(ledger.rpc, ledger.address, job), self._cursor, ledger.first_block, confirmations, self._take, clock
        )
        try:
            try:
                self._rebuild()
            except (AuditError, UnreliableAnswerError):  # not from a follower like this one
                self._follower.start_over()
            self.poll()
        except BaseException:
            self.close()
            raise

    @property
    def window(self) -> Window:
        """The newest blocks."""
        return self._follower.window

    @property
    def final(self) -> int:
        """The number of the newest block that is final; -1 for none."""
        return self._follower.final

    def close(self) -> None:
        """Lets the file go, for the next one that follows with it. What is known stays readable here."""
        self._cursor.close()

    def events(self) -> list[LedgerEvent]:
        """All of the job's events that are known, in order. Not after `close`."""
        return [_event(log) for log in self._cursor.logs()]

    def poll(self) -> bool:
        """Takes what is new; whether there was anything of this job.

        Raises:
            UnknownJobError: the job is not on the chain: its registration was never there, or was reorganised out.
            RpcError: the nodes fail or contradict themselves; the next poll continues where this one ended.
            AuditError: the events contradict each other.
        """
        rpc = self.ledger.rpc
        waiting = Waiting(rpc.patience, BACKOFF, Clock(rpc.clock, rpc.sleep, rpc.random))
        behind = contradictions = 0
        while True:
            try:
                self._look()
            except UnreliableAnswerError:
                rpc.fail_over()
                if not waiting.pause():
                    raise
            except AuditError:
                # Another node may know better, and far below the head a reorganisation may have gone unseen.
                contradictions += 1
                if contradictions > 1:
                    raise
                rpc.fail_over()
                self._follower.start_over()
            else:
                behind += self._follower.behind
                if not self._follower.behind or behind >= len(rpc.urls):
                    break
                rpc.fail_over()
        self._note_head()
        self.news = tuple(self._follower.changes)
        self._follower.changes.clear()
        if self.history.owner is None:
            raise UnknownJobError(
                f"job {self.job} has no events from block {self.ledger.first_block} on: the ledger's first block is "
                "wrong, the node keeps no old logs, or a reorganisation has taken the job's registration away"
            )
        return any(not isinstance(change, Final) for change in self.news)

    def _look(self) -> None:
        try:
            self._follower.look()
        except BaseException:
            if self._torn:
                self._rebuild()
            raise
        finally:
            self._torn = False

    def _take(self, changes: Sequence[Change]) -> None:
        self._torn = True
        if any(isinstance(change, Reverted) for change in changes):
            self._rebuild()
        else:
            for change in changes:
                self._apply(change.log)

    def _rebuild(self) -> None:
        """The history of what is known, without asking any node."""
        self.history = JobHistory(self.ledger.chain_id, self.ledger.address, self.job)
        for log in self._cursor.logs():
            self._apply(log)

    def _apply(self, log: Log) -> None:
        self.history.apply(_event(log))


def _event(log: Log) -> LedgerEvent:
    try:
        event = ledger_abi().event(log.entry)
    except ValueError as error:
        raise UnreliableAnswerError(str(error)) from error
    if event is None:
        raise UnreliableAnswerError(f"a log is not an event of a ledger: {log.entry}")
    return event
