"""Announcements: the digest that somebody shows first, so that what it shows later can't be copied."""

from __future__ import annotations

from eth_utils.crypto import keccak

from galaxy_chain.ledger.words import word

__all__ = ["ANNOUNCEMENT_SECONDS", "commit_digest", "counts", "finding_digest"]

ANNOUNCEMENT_SECONDS = 3_600
"""How long an announcement counts."""


def finding_digest(sender: str, salt: bytes, record: bytes, index: int) -> bytes:
    """Announces that a chunk of a commit is wrong or withheld.

    Args:
        sender: Who will challenge or demand.
        salt: 32 random bytes.
        record: The record's word.
        index: The chunk.
    """
    return keccak(word(sender) + salt + record + word(index))


def commit_digest(sender: str, salt: bytes, head: bytes, root: bytes) -> bytes:
    """Announces the commit of somebody else than the named server.

    Args:
        sender: Who will commit.
        salt: 32 random bytes.
        head: The head that is aggregated.
        root: The root of the next model.
    """
    return keccak(word(sender) + salt + head + root)


def counts(announced: int, time: int) -> bool:
    """Whether an announcement counts in a block of that time; `announced` is 0 where there is none."""
    return announced < time <= announced + ANNOUNCEMENT_SECONDS
