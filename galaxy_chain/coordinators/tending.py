"""What keeps a job going, or ends it, whoever is silent: settling, superseding, finalizing, cancelling."""

from __future__ import annotations

import logging
import random
from contextlib import suppress

from galaxy_chain.coordinators.abandoned import is_abandoned
from galaxy_chain.exceptions import InsufficientFundsError, LedgerRefusedError, TransactionFailedError
from galaxy_chain.following import turns
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.contract import ContractCall, LedgerContract
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.exceptions import ContentError, RoundMovedOnError

__all__ = ["Tending"]

LOG = logging.getLogger(__name__)


class Tending:
    """Tends one job for one account.

    Servers do what is due; clients, a while later, what no server has done: they settle, and cancel a job that its
    servers have abandoned.

    Args:
        ledger: With the account's transactions.
        verifier: Of the job.
        job: Its number.
        address: The account's.
        serves: Whether it is a server's, which is paid for committing, and commits rather than cancels.
    """

    def __init__(self, ledger: LedgerContract, verifier: Verifier, job: int, address: str, *, serves: bool) -> None:
        self._ledger = ledger
        self._verifier = verifier
        self._job = job
        self._address = address
        self._serves = serves
        turn = verifier.terms.aggregate_seconds
        # Clients and watchtowers shall not all send the same in one block.
        self._delay = turn if serves else 2 * turn + random.SystemRandom().randrange(2 * turn)
        self._available: set[bytes] = set()
        """The words of records that nobody built upon in time although their models can be had."""
        self._refused: set[str] = set()
        """Refusals that were logged."""
        self.keyless_since: int | None = None
        """Since when this account waits for a key of a job that is sealed, in seconds of the chain; None where it has
        all."""

    def look(self, history: JobHistory, now: int, *, bonded: bool) -> bool:
        """Does what is due.

        Args:
            history: Of the job.
            now: The chain's time, in seconds.
            bonded: Whether this account has entered the job: otherwise it only settles.

        Returns:
            Whether anything was done: then the job has to be looked at again.

        Raises:
            RpcError, TransactionError: a transaction could not be sent.
            InsufficientFundsError: a server can't pay; a client is told so, and leaves it to others.
        """
        done = self._settle(history, now)
        done = self._end_void_demands(history) or done
        done = self._finalize(history, now) or self._cancel(history, now) or done
        return (bonded and not done and (self._supersede(history, now) or self._reopen(history, now))) or done

    def _settle(self, history: JobHistory, now: int) -> bool:
        """Settles the rounds before and up to this server's own; those of others where they don't do it in time."""
        due = turns.settleable(history, now)
        through = max((commit.record.round for commit in due if self._is_to_settle(history, commit, now)), default=0)
        done = False
        for commit in due:
            if commit.record.round > through or not self._about(commit, self._ledger.settle(self._job, commit.record)):
                break
            done = True
        return done

    def _is_to_settle(self, history: JobHistory, commit: Commit, now: int) -> bool:
        if commit.record.server == self._address or (self._serves and turns.commits_refused(history)):
            return True
        begins = turns.settle_from(history, commit.record.round)
        return begins is not None and now >= begins + self._delay

    def _end_void_demands(self, history: JobHistory) -> bool:
        """Ends the demands on this server's void records, which nobody can answer and which keep its bond locked."""
        done = False
        for word, waiting in list(history.demands.items()):
            commit = history.void.get(word)
            if commit is None or word in history.superseded or commit.record.server != self._address:
                continue
            for (node, index), demand in list(waiting.items()):
                call = self._ledger.expire(self._job, commit.record, node, index)
                done = self._about(commit, call, of=f" {node} {index} {demand.answer_by} {demand.number}") or done
        return done

    def _finalize(self, history: JobHistory, now: int) -> bool:
        """Closes the books where this server's bond is locked until then: a commit of it was superseded."""
        begins = turns.finalize_from(history)
        account = history.account(self._address)
        if not account.late or account.bond == 0 or begins is None or now < begins:
            return False
        return self._sent(self._ledger.finalize_job(self._job), once=f"{self._job}")

    def _cancel(self, history: JobHistory, now: int) -> bool:
        """Has the job end with its current round, where its servers are gone."""
        if self._serves:
            return False
        if not is_abandoned(self._verifier, history, self._address, now - self._delay, self.keyless_since):
            return False
        LOG.warning("job %d is cancelled, because nobody brings round %d to its end", self._job, history.round)
        return self._sent(self._ledger.cancel_job(self._job), once=f"{self._job}")

    def _supersede(self, history: JobHistory, now: int) -> bool:
        """Supersedes the newest commit where nobody builds upon it because its model, or a node, can't be had."""
        begins = turns.supersede_from(history, self._address)
        if begins is None or not begins <= now < begins + history.terms.idle_seconds:
            return False
        commit = history.commits[history.round - 1]
        if self._is_available(history, commit):
            return False
        return self._about(commit, self._ledger.supersede(self._job, commit.record))

    def _is_available(self, history: JobHistory, commit: Commit) -> bool:
        """Whether a commit's model and nodes can be had or recomputed, so that its clients are merely slow. Then this
        server's store provides the model from now on."""
        if commit.word in self._available:
            return True
        if (error := self._verifier.withheld(history, commit)) is not None:
            LOG.warning("round %d is superseded, because nobody builds upon it: %s", commit.record.round, error)
            return False
        content = self._verifier.model_id(commit.record.next.content)
        with suppress(ContentError):  # of a store that fails it is not known
            if self._verifier.store.has(content):
                self._verifier.store.pin(content)
                self._available.add(commit.word)
        return True

    def _reopen(self, history: JobHistory, now: int) -> bool:
        """Has the round collected again where this account may not commit what a superseding has closed."""
        if turns.commit_from(history, self._address) is not None:
            return False
        begins = turns.reopen_from(history, self._address)
        if begins is None or now < begins:
            return False
        call = self._ledger.reopen_round(self._job, history.attempt, history.head)
        return self._sent(call, once=f"{self._job} {history.attempt}")

    def _about(self, commit: Commit, call: ContractCall, of: str = "") -> bool:
        return self._sent(call, once=f"{self._job} {commit.word.hex()}{of}")

    def _sent(self, call: ContractCall, once: str) -> bool:
        """Whether it is done: somebody else may be faster, and the chain's clock behind."""
        try:
            call.transact(once)
        except (RoundMovedOnError, TransactionFailedError):
            return False
        except (LedgerRefusedError, InsufficientFundsError) as error:
            if isinstance(error, InsufficientFundsError) and self._serves:
                raise
            if str(error) not in self._refused:
                self._refused.add(str(error))
                LOG.warning("job %d: %s", self._job, error)
            return False
        return True
