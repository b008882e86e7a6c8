"""Announcing what is shown later, so that nobody can copy it, and acting as soon as the announcement counts."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

from galaxy_chain.exceptions import LedgerRefusedError
from galaxy_chain.ledger.announcements import commit_digest, finding_digest
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.transactions.manager import Receipt
from galaxy_fl.patience import Backoff, Waiting, poll, retry

__all__ = ["NEXT_BLOCK_SECONDS", "announce_commit", "announce_finding", "once_it_counts", "wait_for_later"]

LATER_SECONDS = 1.0
"""After so many a next block can't share the announcement's time any more, which counts in whole seconds."""
NEXT_BLOCK_SECONDS = 120.0
"""How long to wait for the block from which on an announcement counts: a chain without blocks never gets there."""
_PAUSE = 0.5

Answer = TypeVar("Answer")


def announce_finding(
    ledger: LedgerContract,
    word: bytes,
    node: int,
    index: int,
    paid: Callable[[Receipt], None] = lambda receipt: None,
) -> bytes:
    """Announces that a chunk of a node of the record with that word is wrong or withheld, and returns the salt that
    shows it.

    Args:
        ledger, word, node, index: Where and what.
        paid: Takes the transaction.

    Raises:
        GalaxyError: the transaction does not get in.
    """
    return _announce(ledger, lambda sender, salt: finding_digest(sender, salt, word, node, index), paid)


def announce_commit(ledger: LedgerContract, head: bytes, root: bytes) -> bytes:
    """Announces the commit of another than the named server, and returns the salt that shows it, once it counts in the
    next block: the ledger takes a commit whose announcement does not count, without a share.

    Raises:
        GalaxyError: the transaction does not get in.
    """
    receipts: list[Receipt] = []
    salt = _announce(ledger, lambda sender, salt: commit_digest(sender, salt, head, root), receipts.append)
    wait_for_later(ledger, receipts[-1])
    return salt


def wait_for_later(ledger: LedgerContract, announced: Receipt) -> None:
    """Waits until the next block has another time than the announcement's: where blocks come faster than seconds, or
    when somebody asks for them, two may share one."""
    before, pause = ledger.rpc.block(announced.block).time, LATER_SECONDS / 20
    poll(lambda: ledger.rpc.block("latest").time, lambda now: now > before, Backoff(pause, pause), LATER_SECONDS)


def _announce(ledger: LedgerContract, digest: Callable[[str, bytes], bytes], paid: Callable[[Receipt], None]) -> bytes:
    assert ledger.transactions is not None, "a ledger that only reads was asked to write"
    salt = secrets.token_bytes(32)
    paid(ledger.announce(digest(ledger.transactions.signer.address, salt)).transact())
    return salt


def once_it_counts(act: Callable[[], Answer], patience: float = NEXT_BLOCK_SECONDS) -> Answer:
    """Acts, again and again until the announcement counts: nodes try a transaction out in the latest block's time.

    Args:
        act: Raises LedgerRefusedError with the name NotAnnounced while it is too early.
        patience: Seconds after which that is the end.
    """
    waiting = Waiting(patience, Backoff(_PAUSE, _PAUSE))
    return retry(act, LedgerRefusedError, waiting, lambda error: error.name == "NotAnnounced")
