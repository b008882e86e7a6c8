"""Proving a commit wrong, in one transaction; and what a server is asked to prove right."""

from __future__ import annotations

from galaxy_chain.exceptions import LedgerRefusedError
from galaxy_chain.ledger.follower import BLOCKS_A_REQUEST
from galaxy_chain.ledger.history import Commit, JobHistory, OpenDemand, record_word
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.structs import ZERO_ADDRESS
from galaxy_chain.ledger.transactions import Receipt
from galaxy_chain.verification import Verifier

__all__ = ["challenge", "open_demands"]


def challenge(
    ledger: Ledger, verifier: Verifier, job: int, history: JobHistory, commit: Commit, chunk: int
) -> Receipt | None:
    """Challenges a commit by one of its wrong chunks. Half of its server's bond goes to the account of the ledger.

    Returns:
        The transaction, or None where somebody else was faster.

    Raises:
        LedgerRefusedError: the ledger finds the chunk right, or its window is over.
        ContentError: an opening can't be made.
    """
    openings = verifier.openings(history, commit, chunk)
    try:
        return ledger.transact("challenge", job, commit.record, chunk, openings)
    except LedgerRefusedError as error:
        if error.name == "UnknownRecord":
            return None
        raise


def open_demands(ledger: Ledger, job: int, commit: Commit) -> list[OpenDemand]:
    """The demands that wait for a commit's server, in order of their chunks, by the ledger's own word.

    Any number may wait at a time, one a chunk: whoever counted on one being alone could be kept from it by another.

    Raises:
        RpcError: the node fails.
    """
    record = commit.record
    if ledger.account(job, record.server).demands == 0:
        return []
    latest = ledger.rpc.block("latest").number
    chunks = {
        event.index
        for first in range(commit.block, latest + 1, BLOCKS_A_REQUEST)
        for event in ledger.events(first, min(latest, first + BLOCKS_A_REQUEST - 1), job=job, names=["ChunkDemanded"])
        if (event.attempt, event.round) == (record.attempt, record.round)
    }
    waiting = [(chunk, ledger.call("demandOf", job, record_word(record), chunk)) for chunk in sorted(chunks)]
    return [OpenDemand(d.demander, chunk, d.answer_by) for chunk, d in waiting if d.demander != ZERO_ADDRESS]
