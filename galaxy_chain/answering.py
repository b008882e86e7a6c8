"""Answering demands for what a server has committed, beside everything else that it does: its bond depends on it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from galaxy_chain.exceptions import LedgerRefusedError, RpcError
from galaxy_chain.ledger.follower import JobFollower
from galaxy_chain.ledger.history import Commit, JobHistory, OpenDemand
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.records import record_word
from galaxy_chain.ledger.transactions import Receipt
from galaxy_chain.proofs import Proofs
from galaxy_chain.verification import Verifier

__all__ = ["Answering"]

AT_ONCE = 16
"""Answers under way at a time: geth takes that many waiting transactions of one account in any case."""
PASSED = ("NotDemanded", "UnknownRecord", "WindowOver")
"""What the ledger refuses an answer with that comes after another process's, after a rollback, or too late."""
LONGEST_PAUSE = 60.0
"""Seconds between two looks while they fail."""

logger = logging.getLogger(__name__)


class Answering:
    """Answers what is demanded of one account's commits in a job.

    Args:
        ledger: With the account's transactions.
        verifier: Of the job.
        job: Its number.
        poll: Seconds between two looks of the thread.
        own: A folder of this server's own, for what the thread knows of the job's events and for chunk trees; None:
            the thread asks for all events again, and trees are in the system's folder for temporary files.
        name: Tells this server and job from others in the folder.
    """

    def __init__(self, ledger: Ledger, verifier: Verifier, job: int, poll: float, own: Path | None, name: str) -> None:
        assert ledger.transactions is not None
        self._ledger = ledger
        self._job = job
        self._address = ledger.transactions.signer.address
        self._poll = poll
        self._database = None if own is None else own / "events" / f"{name}-answers.sqlite"
        self._challenge_seconds = verifier.terms.challenge_seconds
        self._proofs = Proofs(verifier, own)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._said: set[str] = set()
        """What was logged of the demands that wait."""

    @property
    def running(self) -> bool:
        """Whether a thread looks after the demands."""
        return self._thread is not None

    def start(self) -> None:
        """Looks from now on in a thread of its own, which no error ends, until `stop`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"answers in job {self._job}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Has the thread end after what it is about; a transaction under way is not waited for."""
        self._stop.set()

    def look(self, history: JobHistory, time: int) -> int:
        """Answers all that is demanded by now: the dearest first, and many at once.

        Dearest first, because whoever demands more than can be answered in time shall at least have paid the most.

        Args:
            history: Of the job.
            time: The newest block's, in seconds; the machine's clock may be ahead, and must not give a demand up.

        Returns:
            How many answers are in. What keeps one from being given is logged, and keeps no other.

        Raises:
            RpcError: no node answers.
        """
        own = [commit for commit in history.commits.values() if commit.record.server == self._address]
        due = [
            (commit, demand)
            for commit in own
            for demand in history.open_demands(commit.record)
            if time < demand.answer_by
        ]
        due.sort(key=lambda found: (-found[1].deposits, found[1].answer_by))
        demanded = {id(commit) for commit, _ in due}
        self._proofs.keep([c for c in own if id(c) in demanded or time < c.record.time + self._challenge_seconds])
        answered, said = 0, self._said
        self._said = set()
        for batch in (due[first : first + AT_ONCE] for first in range(0, len(due), AT_ONCE)):
            waits = list[tuple[Commit, OpenDemand, Callable[[], Receipt]]]()
            for commit, demand in batch:
                try:
                    waits.append((commit, demand, self._begin(history, commit, demand)))
                except Exception as error:
                    self._note(commit, demand, error, said)
            for commit, demand, wait in waits:
                try:
                    wait()
                    answered += 1
                except Exception as error:
                    self._note(commit, demand, error, said)
        return answered

    def _begin(self, history: JobHistory, commit: Commit, demand: OpenDemand) -> Callable[[], Receipt]:
        openings = self._proofs.openings(history, commit, demand.index)
        # A chunk that was answered may be demanded again, and is answered again: by another time.
        once = f"{self._job} {record_word(commit.record).hex()} {demand.index} {demand.answer_by}"
        return self._ledger.begin("answer", self._job, commit.record, demand.index, openings, once=once)

    def _note(self, commit: Commit, demand: OpenDemand, error: Exception, said: set[str]) -> None:
        if isinstance(error, RpcError) and error.temporary:
            raise error  # no node: the next answer would wait as long for one
        if isinstance(error, LedgerRefusedError) and error.name in PASSED:
            return
        message = f"the demand for chunk {demand.index} of round {commit.record.round} can't be answered: {error!r}"
        if message not in said:
            logger.warning(message)
        self._said.add(message)

    def _run(self) -> None:
        follower: JobFollower | None = None
        pause, trouble = 0.0, ""
        while not self._stop.wait(pause):
            try:
                if follower is None:
                    follower = JobFollower(self._ledger, self._job, self._database)
                follower.poll()
                self.look(follower.history, follower.time)
                pause = self._poll
            except Exception as error:  # whatever it is: the bond is lost if nobody looks any more
                if repr(error) != trouble:
                    logger.warning("whether demands wait can't be seen now, and is looked at again: %s", error)
                trouble = repr(error)
                pause = min(LONGEST_PAUSE, max(2 * pause, self._poll))
        if follower is not None:
            follower.close()
