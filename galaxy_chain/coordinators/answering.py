"""Answering demands beside everything else: a server for what it has committed, because its bond depends on it; others
for commits whose server may be gone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from galaxy_chain.coordinators.standing_in import StandingIn
from galaxy_chain.exceptions import ErrorName, InsufficientFundsError, LedgerRefusedError, RpcError
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import Commit, JobHistory, OpenDemand
from galaxy_chain.following.view import JobView
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.transactions.manager import Receipt
from galaxy_chain.verify.proofs import Proofs
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.exceptions import ContentError

__all__ = ["Answering"]

AT_ONCE = 16
"""Answers under way at a time: geth takes that many waiting transactions of one account in any case."""
PASSED: tuple[ErrorName, ...] = ("NotDemanded", "UnknownRecord", "WindowOver")
"""What the ledger refuses an answer with that comes after somebody else's, after a rollback, or too late."""
WRONG: tuple[ErrorName, ...] = ("CommitIsWrong", "WrongOpening")
"""What it refuses an answer with for a commit that can't be answered for."""
SLOWEST_POLL = 60.0
"""Seconds between two looks of one who answers for others."""
LONGEST_PAUSE = 60.0
"""Seconds between two looks while they fail."""
LAST_LOOK = 5.0
"""Seconds that a thread has to end what it is about."""

logger = logging.getLogger(__name__)


class Answering:
    """Answers what is demanded of one account's commits in a job; for others, what is demanded of right commits whose
    content is available.

    Its own are answered at once; `standing_in.py` says when others' are.

    Args:
        ledger: With the account's transactions.
        verifier: Of the job.
        job: Its number.
        poll: Seconds between two looks of the thread.
        own: A folder of this server's own, for what the thread knows of the job's events and for chunk trees; None:
            the thread asks for all events again, and trees are in the system's folder for temporary files.
        name: Tells this account and job from others in the folder.
        others: Answer for other accounts' commits, too.
        deputies: The job's ledger with the transactions of accounts of the same operator, by their addresses: any of
            them answers for others where this account can't pay.
        view: Returns what the thread sees the job by, where others of this process follow it, too; None: it has a
            follower of its own.
    """

    def __init__(
        self,
        ledger: LedgerContract,
        verifier: Verifier,
        job: int,
        poll: float,
        own: Path | None,
        name: str,
        *,
        others: bool = False,
        deputies: Mapping[str, LedgerContract] = {},
        view: Callable[[], JobView] | None = None,
    ) -> None:
        assert ledger.transactions is not None
        self._ledger = ledger
        self._job = job
        self._address = ledger.transactions.signer.address
        answer_seconds = verifier.terms.answer_seconds
        self._poll = max(poll, min(SLOWEST_POLL, answer_seconds / 16)) if others else poll
        self._others = others
        self._deputies = deputies
        self._poor: dict[str, InsufficientFundsError] = {}
        """The accounts that could not pay since the last look began."""
        self._standing_in = StandingIn(answer_seconds)
        database = None if own is None else own / "events" / f"{name}-answers.sqlite"
        self._view = view or (lambda: JobFollower(ledger, job, database))
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
        """Has the thread end after what it is about; a transaction under way is not waited for longer than a moment.

        A thread that uses SQLite while the interpreter ends can end the process with a segmentation fault.
        """
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(LAST_LOOK)

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
        answered_for = [
            commit for commit in history.challengeable() if self._others or commit.record.server == self._address
        ]
        due = list(self._due(history, answered_for, time))
        due.sort(key=lambda found: (-found[1].deposits, found[1].answer_by))
        demanded = {id(commit) for commit, _ in due}
        self._proofs.keep(
            [
                commit
                for commit in answered_for
                if id(commit) in demanded
                or (commit.record.server == self._address and time < commit.record.time + self._challenge_seconds)
            ]
        )
        answered, said = 0, self._said
        self._said = set()
        self._poor.clear()
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

    def _due(self, history: JobHistory, commits: list[Commit], time: int) -> Iterator[tuple[Commit, OpenDemand]]:
        """The demands on commits that it is this account's turn to answer."""
        for commit in commits:
            for demand in history.open_demands(commit.word):
                own = commit.record.server == self._address
                if time < demand.answer_by and (own or self._standing_in.is_due(commit.word, demand, time)):
                    yield commit, demand

    def _begin(self, history: JobHistory, commit: Commit, demand: OpenDemand) -> Callable[[], Receipt]:
        openings = self._proofs.openings(history, commit, demand.node, demand.index).pack()
        # A chunk that was answered may be demanded again, and is answered again.
        once = f"{self._job} {commit.word.hex()} {demand.node} {demand.index} {demand.answer_by} {demand.number}"
        deputies = {} if commit.record.server == self._address else dict(self._deputies)
        payers = {self._address: self._ledger} | deputies
        return self._paid_by(
            payers,
            lambda ledger: ledger.answer(self._job, commit.record, demand.node, demand.index, openings).begin(once),
        )

    def _paid_by(
        self, payers: Mapping[str, LedgerContract], begin: Callable[[LedgerContract], Callable[[], Receipt]]
    ) -> Callable[[], Receipt]:
        """Has the first account begin that can pay; whether it can may show only when it is waited for."""
        left = iter(payers.items())
        address = ""

        def begun() -> Callable[[], Receipt]:
            nonlocal address
            for address, ledger in left:
                if address not in self._poor:
                    try:
                        return begin(ledger)
                    except InsufficientFundsError as error:
                        self._poor[address] = error
            raise next(self._poor[address] for address in payers if address in self._poor)

        wait = begun()

        def paid() -> Receipt:
            nonlocal wait
            while True:
                try:
                    return wait()
                except InsufficientFundsError as error:
                    self._poor[address] = error
                wait = begun()

        return paid

    def _note(self, commit: Commit, demand: OpenDemand, error: Exception, said: set[str]) -> None:
        if isinstance(error, RpcError) and error.temporary:
            raise error  # no node: the next answer would wait as long for one
        if isinstance(error, LedgerRefusedError) and error.name in PASSED:
            return
        if commit.record.server != self._address and (
            isinstance(error, ContentError) or (isinstance(error, LedgerRefusedError) and error.name in WRONG)
        ):
            return  # what is unavailable here, or is wrong, others see to
        of = f"node {demand.node} of round" if demand.node else "round"
        message = f"the demand for chunk {demand.index} of {of} {commit.record.round} can't be answered: {error!r}"
        if message not in said:
            logger.warning(message)
        self._said.add(message)

    def _run(self) -> None:
        follower: JobView | None = None
        pause, trouble = 0.0, ""
        while not self._stop.wait(pause):
            try:
                if follower is None:
                    follower = self._view()
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
