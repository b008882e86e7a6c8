"""Records of commits: the word that the ledger keeps of one, and what it is worth to whom."""

from __future__ import annotations

from galaxy_chain.ledger.excluded import excluded_numbers
from galaxy_chain.ledger.structs import Record
from galaxy_chain.ledger.words import word
from galaxy_fl.keccak import keccak

__all__ = ["client_amount", "record_word", "round_reward", "server_amount"]

BASIS_POINTS = 10_000
_FIELDS = 14
"""Words of a record before its bit map."""


def record_word(record: Record) -> bytes:
    """The word that the ledger keeps of a commit: keccak256 of the ABI-encoded record, 32 bytes."""
    excluded = record.excluded
    return keccak(
        b"".join(
            (
                word(32), word(record.attempt), word(record.round), word(record.updates), record.head,
                record.previous_root, record.next.root, record.next.content, word(32 * _FIELDS), record.nodes_hash,
                word(record.reward), word(record.allotted_before), word(record.share), word(record.server),
                word(record.time), word(len(excluded)), excluded, bytes(-len(excluded) % 32),
            )
        )
    )  # fmt: skip


def round_reward(pool: int, allotted: int, rounds: int, round: int) -> int:
    """What a commit of that round is worth, in wei: an equal part of what is left of the pool.

    Args:
        pool: What was paid in so far, in wei.
        allotted: What the standing records are worth, in wei.
        rounds: The job's rounds as registered, whether it was cancelled or not.
        round: The round that is committed, from 1.
    """
    return (pool - allotted) // (rounds - round + 1)


def server_amount(record: Record) -> int:
    """What the committer earns with the record's settlement, in wei."""
    return record.reward * record.share // BASIS_POINTS


def client_amount(record: Record) -> int:
    """What each included entry earns once the record is settled, in wei; the rounding dust stays in the ledger."""
    included = record.updates - len(excluded_numbers(record.excluded, record.updates))
    return (record.reward - server_amount(record)) // included
