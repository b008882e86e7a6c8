"""Proving a commit wrong, in one transaction; and what a server is asked to prove right."""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_chain.exceptions import LedgerRefusedError, TransactionFailedError
from galaxy_chain.ledger.history import Commit, JobHistory, record_word
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.structs import ZERO_ADDRESS
from galaxy_chain.ledger.transactions import Receipt
from galaxy_chain.verification import Verifier

__all__ = ["OpenDemand", "challenge", "open_demands"]


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


@dataclass(frozen=True)
class OpenDemand:
    """A demand that waits for a commit's server; `answer_by` in seconds."""

    demander: str
    index: int
    answer_by: int


def open_demands(ledger: Ledger, job: int, history: JobHistory, commit: Commit) -> list[OpenDemand]:
    """The demands that wait for a commit's server, in order of their chunks, by the ledger's own word.

    Any number may wait at a time, one a chunk: whoever counted on one being alone could be kept from it by another.

    Raises:
        RpcError: the node fails.
    """
    record = commit.record
    found = []
    for chunk in sorted(history.demanded.get((record.attempt, record.round), ())):
        demand = ledger.call("demandOf", job, record_word(record), chunk)
        if demand.demander != ZERO_ADDRESS:
            found.append(OpenDemand(demand.demander, chunk, demand.answer_by))
    return found
