"""Proving a commit wrong, in one transaction."""

from __future__ import annotations

from galaxy_chain.exceptions import LedgerRefusedError, TransactionFailedError
from galaxy_chain.ledger.history import Commit, JobHistory
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.transactions import Receipt
from galaxy_chain.verification import Verifier

__all__ = ["challenge"]


def challenge(
    ledger: Ledger, verifier: Verifier, job: int, history: JobHistory, commit: Commit, chunk: int
) -> Receipt | None:
    """Challenges a commit by one of its wrong chunks. Half of its server's bond goes to the account of the ledger.

    Returns:
        The transaction, or None where somebody else was faster, or the chain was reorganised meanwhile.

    Raises:
        LedgerRefusedError: the ledger finds the chunk right, or its window is over.
        ContentError: an opening can't be made.
    """
    openings = verifier.openings(history, commit, chunk)
    try:
        return ledger.transact("challenge", job, commit.record, chunk, openings)
    except TransactionFailedError:
        return None
    except LedgerRefusedError as error:
        if error.name == "UnknownRecord":
            return None
        raise
