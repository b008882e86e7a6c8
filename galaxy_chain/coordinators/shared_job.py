"""A job as the clients of one process see it: one follower, one document, one memory of what is right.

Each client verifies the branch of its own update all the same; but what one of them has verified counts for all,
because all are one operator's, who has nothing to hide from itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING

from galaxy_chain.coordinators.together import Together
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import JobHistory
from galaxy_chain.following.shared import SharedFollower
from galaxy_chain.following.view import JobView, pauses_up_to
from galaxy_chain.jobs.check import check_job
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.seal.store import contents_of
from galaxy_chain.verify.checks import Checks
from galaxy_chain.verify.memory import Memory
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.content import Store

if TYPE_CHECKING:
    from galaxy_chain.coordinators.answering import Answering

__all__ = ["SharedJob", "lend"]


class SharedJob:
    """What all clients of one process have in common in one job.

    Args:
        ledger: Where the job is.
        store: Where its contents are.
        job: Its number.
        own: The operator's folder, for what is known of the job's events and of nodes that are right; None to ask for
            all of them again with each start.
        name: Tells the file of the events from those of other processes that share the folder.
        poll: The longest pause between two looks at the chain, in seconds.
        hosted: How many clients the process has, as far as is known: as many are expected to join.

    Raises:
        UnknownJobError: there is no such job.
        JobMismatchError, JobDocumentError, ContentError: the job can't be taken part in.
    """

    def __init__(
        self,
        ledger: LedgerContract,
        store: Store,
        job: int,
        own: Path | None = None,
        name: str = "clients",
        poll: float = 1.0,
        hosted: int = 1,
    ) -> None:
        database = None if own is None else own / "events" / f"{ledger.address}-{job}-{name}.sqlite"
        self.follower = SharedFollower(JobFollower(ledger, job, database), pauses_up_to(poll))
        try:
            terms = self.follower.history.terms
            self.document = check_job(ledger, store, job, terms)
            self.follower.reveals_late = self.document.reveal == "after-close"
            contents = contents_of(store, self.document, job, own, lambda: self.follower.history)
        except BaseException:
            self.follower.close()
            raise
        self.verifier = Verifier(contents, terms, self.document)
        self.checks = Checks(self.verifier, None if own is None else own / "nodes")
        self.early = self.checks.early()
        self.clients: set[str] = set()
        """The addresses of those who share it, or did: what they have earned is claimed together."""
        self.accepted: Memory[Hashable, None] = Memory(most=100)
        """What terms were accepted as: whose role, within which limits, and whether they had entered before."""
        self.ledgers: dict[str, LedgerContract] = {}
        """The ledger with the transactions of each of these: whoever answers for others may need one who can pay."""
        self.together = Together(job, lambda: max(hosted, len(self.clients)))
        self._users = 0
        self._key: Hashable = None
        """What it is lent under; None where whoever made it closes it."""
        self._tending = threading.Lock()
        self._answering: Answering | None = None
        self._lock = threading.Lock()

    def view(self) -> JobView:
        """What one client sees."""
        return self.follower.view()

    # What one of them does for all

    def tend(self, history: JobHistory, look: Callable[[], bool]) -> bool:
        """Whether `look` has done something, as the only one at a time: what is due once is not sent by all.

        Args:
            history: What the client sees. Where that is not the newest any more, it has to look at the chain first.
            look: Does what is due.
        """
        if not self._tending.acquire(blocking=False):
            return False
        try:
            if history is not self.follower.history or not look():
                return False
            self.follower.look()
            return True
        finally:
            self._tending.release()

    def answer(self, answering: Answering) -> None:
        """Have a client that takes part answer demands in its thread, unless another of them does."""
        with self._lock:
            if self._answering is not None:
                return
            self._answering = answering
        answering.start()

    def answer_no_more(self, answering: Answering) -> None:
        """End a client's answering; the next that looks at the job continues."""
        answering.stop()
        with self._lock:
            if self._answering is answering:
                self._answering = None

    def leave(self) -> None:
        """One of its clients has ended; with the last of those that it was lent to it is closed."""
        if self._key is None:
            return
        with _lending:
            self._users -= 1
            if self._users:
                return
            del _lent[self._key]
            self.close()

    def close(self) -> None:
        """Verify nothing more, and let the follower go."""
        self.early.stop()
        self.follower.close()


_lending = threading.Lock()
_lent: dict[Hashable, SharedJob] = {}


def lend(key: Hashable, make: Callable[[], SharedJob]) -> SharedJob:
    """Return the one that this process has under a key, or a new one; whoever has it calls `leave` at the end.

    Args:
        key: What tells it from others: the ledger, the job, the nodes, the store and the folder.
        make: Makes it.

    Raises:
        GalaxyError: as `SharedJob`.
    """
    with _lending:
        shared = _lent.get(key)
        if shared is None:
            shared = _lent[key] = make()
            shared._key = key
        shared._users += 1
        return shared
