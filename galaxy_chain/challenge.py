"""Proving a commit wrong, in one transaction."""

from __future__ import annotations

from collections.abc import Callable

from galaxy_chain.exceptions import LedgerRefusedError, TransactionFailedError
from galaxy_chain.ledger.history import Commit, JobHistory
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.structs import Openings
from galaxy_chain.ledger.transactions import Receipt
from galaxy_chain.verification import Verifier

__all__ = ["challenge"]


def challenge(
    ledger: Ledger,
    verifier: Verifier,
    job: int,
    history: JobHistory,
    commit: Commit,
    chunk: int,
    before: Callable[[Openings], None] = lambda openings: None,
) -> Receipt | None:
    """Challenges a commit by one of its wrong chunks. Half of its server's bond goes to the account of the ledger.

    Args:
        ledger, verifier, job, history, commit, chunk: Which commit of which job, and how it is seen to be wrong.
        before: Called with what is to be shown, before it is sent; what it raises keeps it from being sent.

    Returns:
        The transaction, or None where somebody else was faster, or the chain was reorganised meanwhile.

    Raises:
        LedgerRefusedError: the ledger finds the chunk right, or its window is over.
        ContentError: an opening can't be made.
    """
    openings = verifier.openings(history, commit, chunk)
    try:
        before(openings)
        return ledger.transact("challenge", job, commit.record, chunk, openings)
    except TransactionFailedError:
        return None
    except LedgerRefusedError as error:
        if error.name == "UnknownRecord":
            return None
        raise
