"""How large and how dear an answer to a demand is at most; a challenge is the same.

The formulas by which the ledger takes or refuses a job's terms, twins of `OpeningVerifier._answer` and of each rule's
`gasFor`: bounds, never below what an answer takes.
"""

from __future__ import annotations

from galaxy_fl.aggregation import RULES
from galaxy_fl.vectors.chunk_tree import depth

__all__ = ["MOST_BYTES", "MOST_GAS", "answer_bytes", "answer_gas", "fits", "most_updates", "rule_gas"]

MOST_BYTES = 120_000
"""Limit of an answer in bytes; nodes take transactions of 131,072."""
MOST_GAS = 15_000_000
"""Limit of an answer in gas: EIP-7825 ends a transaction at 2**24, and later rules may price calldata higher."""


def answer_bytes(updates: int, chunk_parameters: int, depth: int) -> int:
    """The calldata of an answer that opens a chunk of so many updates, at most."""
    opening = 4 * chunk_parameters + 32 * depth
    return 1_000 + updates // 8 + (updates + 2) * opening + 90 * updates


def rule_gas(rule: str, updates: int, chunk_parameters: int) -> int:
    """What the rule needs for a chunk, at most."""
    if rule == "relay":
        return 5_000 + 10 * chunk_parameters
    if rule == "weighted_mean":
        return 4_000 + 450 * chunk_parameters + updates * (1_000 + 160 * chunk_parameters)
    levels = (updates - 1).bit_length()
    sort = levels * (levels + 1) // 2 * updates * 150
    return 5_000 + chunk_parameters // 8 * (8_500 + 1_000 * updates + 2 * sort)


def answer_gas(rule: str, updates: int, chunk_parameters: int, depth: int) -> int:
    """What an answer costs, at most, whatever the values are.

    Where little is computed, as by a relay, the least that a transaction pays for its calldata (EIP-7623: 21,000 and
    40 a byte) may be more than that; it is 4,821,000 at most.
    """
    size = answer_bytes(updates, chunk_parameters, depth)
    return 250_000 + 20 * size + (updates + 2) * (3_500 + 350 * depth) + rule_gas(rule, updates, chunk_parameters)


def fits(rule: str, updates: int, chunk_parameters: int, depth: int) -> bool:
    """Whether the ledger takes a job with so many updates a round."""
    return (
        answer_bytes(updates, chunk_parameters, depth) <= MOST_BYTES
        and answer_gas(rule, updates, chunk_parameters, depth) <= MOST_GAS
    )


def most_updates(rule: str, parameters: int, chunk_parameters: int) -> int:
    """How many updates a round may have so that an answer has room for them; 0 where not even one has."""
    levels = depth(parameters, chunk_parameters)
    return next(
        (count for count in range(RULES[rule].max_updates, 0, -1) if fits(rule, count, chunk_parameters, levels)), 0
    )
