"""What a participant sees of a job: its history up to a block, and that block's time."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from galaxy_chain.following.history import JobHistory
from galaxy_chain.following.window import Window
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.rpc.values import Block
from galaxy_fl.patience import Backoff

__all__ = ["JobView", "pauses_up_to"]

SHORTEST_PAUSE = 0.02
"""Between two looks at the chain, in seconds: of a job that runs on one machine, rounds are ten times as long."""
IDLE_SECONDS = 60.0
"""How long a chain may make no block until its time is estimated."""


def pauses_up_to(poll: float) -> Backoff:
    """Return the pauses between looks at the chain, of `poll` seconds at most, while nothing is seen.

    They grow by a twentieth each: what has come after so many seconds is seen a fortieth of them later.
    """
    return Backoff(max(poll / 50, min(poll, SHORTEST_PAUSE)), poll, 1.05)


class JobView(ABC):
    """A job up to the newest block seen. It stays as it is until the next `poll`.

    Args:
        ledger: Where the job is.
        job: Its number.
        clock: Seconds; as `time.monotonic`.
    """

    history: JobHistory

    def __init__(self, ledger: LedgerContract, job: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.ledger = ledger
        self.job = job
        self._clock = clock
        self._head: Block | None = None
        self._head_since = clock()

    @abstractmethod
    def poll(self) -> bool:
        """Take what is new, and return whether there was anything of this job.

        Raises:
            UnknownJobError: the job is not on the chain: its registration was never there, or was reorganised out.
            RpcError: the nodes fail or contradict themselves; the next poll continues where this one ended.
            AuditError: the events contradict each other.
        """

    def pause(self, seconds: float, wanted: Callable[[JobHistory], bool] | None = None) -> bool:
        """Wait that long, or less where others look at the chain meanwhile and the job stands elsewhere.

        Args:
            seconds: How long; more where many participants share the follower, and each look of one costs.
            wanted: Tells whether the history is what is waited for, beside any change of where the job stands.

        Returns:
            Whether another's look has brought the history meanwhile, news or not: whoever only waits need not look once
            more.
        """
        time.sleep(seconds)
        return False

    @abstractmethod
    def close(self) -> None:
        """Let go what is held. What is known stays readable here."""

    @property
    @abstractmethod
    def window(self) -> Window:
        """The newest blocks."""

    @property
    @abstractmethod
    def final(self) -> int:
        """The number of the newest block that is final; -1 for none."""

    @property
    def time(self) -> int:
        """The newest block's timestamp, in seconds."""
        head = self.window.head
        return 0 if head is None else head.time

    @property
    def chain_time(self) -> int:
        """The newest block's timestamp, in seconds. Where none has come for a minute, as on an idle development chain,
        what has passed since is added: by no means by the machine's idea of the date."""
        self._note_head()
        passed = self._clock() - self._head_since
        return self.time if passed < IDLE_SECONDS else self.time + int(passed)

    def _note_head(self) -> None:
        """Note since when the head is the newest."""
        head = self.window.head
        if head is not self._head:
            self._head, self._head_since = head, self._clock()

    def time_at(self, confirmations: int) -> int:
        """The timestamp, in seconds, of the newest block that has so many confirmations, itself counted; 0 for none.

        Raises:
            RpcError: the node fails.
        """
        number = self.number - confirmations + 1
        if number < 0:
            return 0
        block = self.window.at(number)
        return (self.ledger.rpc.block(number) if block is None else block).time

    @property
    def number(self) -> int:
        """The newest block's number; -1 for none."""
        head = self.window.head
        return -1 if head is None else head.number

    @property
    def next_time(self) -> int:
        """The earliest time that the next block can have, in seconds: an idle development chain's own stands still."""
        return max(self.time + 1, int(time.time()))
