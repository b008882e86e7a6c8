"""Announcements: the digest that somebody shows first, so that what it shows later can't be copied."""

from __future__ import annotations

from galaxy_chain.ledger.words import word
from galaxy_fl.keccak import keccak

__all__ = ["commit_digest", "finding_digest"]


def finding_digest(sender: str, salt: bytes, record: bytes, node: int, index: int) -> bytes:
    """Announces that a chunk of a node of a commit is wrong or withheld.

    Args:
        sender: Who will challenge or demand.
        salt: 32 random bytes.
        record: The record's word.
        node: The node; 0 for the next model.
        index: The chunk.
    """
    return keccak(word(sender) + salt + record + word(node) + word(index))


def commit_digest(sender: str, salt: bytes, head: bytes, root: bytes) -> bytes:
    """Announces the commit of somebody else than the named server.

    Args:
        sender: Who will commit.
        salt: 32 random bytes.
        head: The head that is aggregated.
        root: The root of the next model.
    """
    return keccak(word(sender) + salt + head + root)
