"""Proving a commit wrong, and demanding what is withheld of one: announced first, so that nobody can copy it."""

from __future__ import annotations

from collections.abc import Callable

from galaxy_chain.exceptions import ErrorName, LedgerRefusedError, TransactionFailedError
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.announcing import announce_finding, once_it_counts, wait_for_later
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.openings import Openings
from galaxy_chain.transactions.manager import Receipt
from galaxy_chain.verify.proofs import Proofs
from galaxy_chain.verify.verifier import Verifier

__all__ = ["challenge", "demand", "demand_price"]

_OVERTAKEN: frozenset[ErrorName] = frozenset({"UnknownRecord", "AlreadyDemanded"})
"""Refusals that mean that somebody else was faster, or that the chain was reorganised meanwhile."""


def challenge(
    ledger: LedgerContract,
    verifier: Verifier,
    job: int,
    history: JobHistory,
    commit: Commit,
    node: int,
    chunk: int,
    before: Callable[[Openings], None] = lambda openings: None,
    paid: Callable[[Receipt], None] = lambda receipt: None,
) -> Receipt | None:
    """Announces and then challenges a wrong chunk of a commit. The ledger's account gets a quarter of the bond.

    Args:
        ledger, verifier, job, history, commit: Which commit of which job.
        node, chunk: How it is seen to be wrong.
        before: Called with what is to be shown, before it is announced; what it raises keeps it from being sent.
        paid: Takes the announcement's transaction.

    Returns:
        The transaction, or None where somebody else was faster, or the chain was reorganised meanwhile.

    Raises:
        LedgerRefusedError: the ledger finds the chunk right, or its window is over.
        ContentError: an opening can't be made.
    """
    openings = Proofs(verifier).openings(history, commit, node, chunk)
    before(openings)
    salt = announce_finding(ledger, commit.word, node, chunk, paid)
    return _unless_overtaken(
        lambda: once_it_counts(
            lambda: ledger.challenge(job, commit.record, node, chunk, salt, openings.pack()).transact()
        )
    )


def demand_price(history: JobHistory, commit: Commit) -> int:
    """What the next demand on the commit costs, in wei: each that waits for its committer makes it dearer."""
    return (1 + history.account(commit.record.server).demands) * history.terms.demand_deposit


def demand(
    ledger: LedgerContract,
    job: int,
    history: JobHistory,
    commit: Commit,
    node: int,
    chunk: int,
    paid: Callable[[Receipt], None] = lambda receipt: None,
) -> Receipt | None:
    """Announces and then demands a chunk of a node of a commit, at the price that the history knows.

    The demand is in a block of a later time than its announcement, which therefore counts: where nobody answers, a
    quarter of the bond goes to the ledger's account.

    Args:
        ledger, job, history, commit, node, chunk: Which chunk of which node of which commit of which job.
        paid: Takes the announcement's transaction.

    Returns:
        The transaction, or None where the chunk is demanded already, or the record is void or settled.

    Raises:
        LedgerRefusedError: the window is over; or the price has risen, because others demand of the same committer.
    """
    price = demand_price(history, commit)
    announced: list[Receipt] = []
    salt = announce_finding(ledger, commit.word, node, chunk, announced.append)
    paid(announced[-1])
    wait_for_later(ledger, announced[-1])
    # Its salt is new, so a program that died meanwhile can't continue with its demand. It waits for that one's end,
    # and is then refused, instead of paying twice.
    once = f"{job} {commit.word.hex()} {node} {chunk}"
    return _unless_overtaken(lambda: ledger.demand(job, commit.record, node, chunk, salt, value=price).transact(once))


def _unless_overtaken(act: Callable[[], Receipt]) -> Receipt | None:
    try:
        return act()
    except TransactionFailedError:
        return None
    except LedgerRefusedError as error:
        if error.name in _OVERTAKEN:
            return None
        raise
