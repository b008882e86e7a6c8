"""How large and how dear an answer to a demand is at most; a challenge is the same.

The formulas by which the ledger takes or refuses a job's terms, twins of `OpeningVerifier._answer` and of each rule's
`gasFor`: bounds, never below what an answer takes. Rounds of a rule that is a sum open as many chunks as `fan_in`,
however many updates they have; those of other rules one of every update.
"""

from __future__ import annotations

from galaxy_fl.aggregation import RULES, is_sum
from galaxy_fl.aggregation.sum_tree import MOST_LEVELS, NODE_BYTES, node_count
from galaxy_fl.vectors.chunk_tree import depth

__all__ = ["MOST_BYTES", "MOST_GAS", "answer_bytes", "answer_gas", "fits", "most_updates", "rule_gas"]

MOST_BYTES = 120_000
"""Limit of an answer in bytes; nodes take transactions of 131,072."""
MOST_GAS = 15_000_000
"""Limit of an answer in gas: EIP-7825 ends a transaction at 2**24, and later rules may price calldata higher."""
_ENTRY_BYTES = 88


def _opened(rule: str, updates: int, fan_in: int) -> int:
    """How many updates, or partial sums, an answer opens."""
    return min(updates, fan_in) if is_sum(RULES[rule]) else updates


def answer_bytes(rule: str, updates: int, fan_in: int, chunk_parameters: int, depth: int) -> int:
    """The calldata of an answer that opens a chunk of a round of so many updates, at most."""
    opened = _opened(rule, updates, fan_in)
    small = 4 * chunk_parameters + 32 * depth
    models = 2 * (4 * RULES[rule].lanes * chunk_parameters + 32 * depth)
    flat = 1_000 + updates // 8 + models + opened * small + 90 * opened
    if opened == updates:
        return flat
    # Digests of groups and two groups. A node of level 1 shows blocks of up to `fan_in` entries, the first and the last
    # of them in part, with the other blocks of two segments and the other segments shut; a higher one opens sums.
    large = small + 4 * chunk_parameters
    digests = 32 * (node_count(updates, fan_in) // fan_in + 5)
    shown = 1_000 + updates // 8 + digests + 2 * NODE_BYTES * fan_in + large
    shut = 100 + 33 * min(updates, 128) + 35 * (updates // 64)
    lowest = shown + shut + _ENTRY_BYTES * (3 * fan_in - 2) + fan_in * small
    return max(flat, shown + models, lowest, shown + fan_in * large)


def rule_gas(rule: str, updates: int, chunk_parameters: int) -> int:
    """What the rule needs for a chunk, at most."""
    if rule == "relay":
        return 5_000 + 10 * chunk_parameters
    if rule == "weighted_mean":
        return 2_000 + 450 * chunk_parameters
    if rule == "fedavgm":
        return 3_000 + 1_200 * chunk_parameters
    if rule == "fedadam":
        return 4_000 + 2_400 * chunk_parameters
    levels = (updates - 1).bit_length()
    sort = levels * (levels + 1) // 2 * updates * 150
    return 5_000 + chunk_parameters // 8 * (8_500 + 1_000 * updates + 2 * sort)


def answer_gas(rule: str, updates: int, fan_in: int, chunk_parameters: int, depth: int) -> int:
    """What an answer costs, at most, whatever the values are.

    Where little is computed, as by a relay, the least that a transaction pays for its calldata (EIP-7623: 21,000 and
    40 a byte) may be more than that; it is 4,821,000 at most.
    """
    opened = _opened(rule, updates, fan_in)
    size = answer_bytes(rule, updates, fan_in, chunk_parameters, depth)
    summing = (opened + 1) * 250 * chunk_parameters if is_sum(RULES[rule]) else 0
    opening = (opened + 2) * (3_800 + 350 * depth)
    return 250_000 + 20 * size + opening + summing + rule_gas(rule, updates, chunk_parameters)


def fits(rule: str, updates: int, fan_in: int, chunk_parameters: int, depth: int) -> bool:
    """Whether the ledger takes a job with so many updates a round."""
    return (
        (not is_sum(RULES[rule]) or updates <= fan_in**MOST_LEVELS)
        and answer_bytes(rule, updates, fan_in, chunk_parameters, depth) <= MOST_BYTES
        and answer_gas(rule, updates, fan_in, chunk_parameters, depth) <= MOST_GAS
    )


def most_updates(rule: str, parameters: int, chunk_parameters: int, fan_in: int) -> int:
    """How many updates a round may have so that an answer has room for them; 0 where not even one has."""
    levels = depth(parameters, chunk_parameters)
    return next(
        (
            count
            for count in range(RULES[rule].max_updates, 0, -1)
            if fits(rule, count, fan_in, chunk_parameters, levels)
        ),
        0,
    )
