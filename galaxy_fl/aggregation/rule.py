"""What an aggregation rule is (protocol section 6), and the little that all rules share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from galaxy_fl.exceptions import AggregationError
from galaxy_fl.vectors.vector import INT32_MAX, INT32_MIN, VECTOR_DTYPE, Sums, Vector, as_vector

__all__ = [
    "MAX_TOTAL_WEIGHT",
    "MAX_WEIGHT",
    "WORD_BYTES",
    "Rule",
    "RuleKind",
    "SumRule",
    "check_call",
    "check_weight",
    "check_word",
    "clamp",
    "is_sum",
    "paired",
    "stacked",
    "sum_bounds",
]

MAX_WEIGHT = 2**24 - 1
MAX_TOTAL_WEIGHT = 2**32 - 1
"""What all weights of a round may add up to: sums of so many int32 stay within int64."""
WORD_BYTES = 32


class RuleKind(IntEnum):
    """What a rule is, numbered as in `IAggregationRule.sol`."""

    CHUNK = 0
    """It needs every update at once."""
    KEEPS_MODEL = 1
    """It does, and the next model is always the model."""
    SUM = 2
    """It is a `SumRule`."""


class Rule(Protocol):
    """A pure function from a model and updates to the next model; each parameter stands for itself.

    So a rule may be called for a whole vector, for a block or for one chunk, and the results are the same
    to the bit; the contract of the same name in `contracts/rules/` recomputes a chunk.

    Attributes:
        name: snake case, as job documents have it.
        kind: what the rule is.
        max_updates: the most that it takes; on a ledger fewer may fit an answer.
        lanes: how many int32 a parameter of the model has, one after the other: what clients train, then what the
            rule remembers of earlier rounds. A parameter of an update or of a sum is one number for all rules.
    """

    name: str
    kind: RuleKind
    max_updates: int
    lanes: int

    def aggregate(self, rule_word: bytes, model: Vector, updates: Iterable[Vector], weights: Sequence[int]) -> Vector:
        """Return the next model.

        Args:
            rule_word: the rule's own word in the job's terms, 32 bytes, big-endian.
            model: int32 array of shape (lanes * n,), of any n.
            updates: int32 arrays of shape (n,), in the order of `weights`. Each is used up before the next
                one is drawn, so that all may share one buffer.
            weights: number of samples behind each update, 1 to 2**24 - 1, below 2**32 in all.

        Returns:
            int32 array of the model's shape.

        Raises:
            AggregationError: number of updates, a weight or `rule_word` out of range.
            VectorError: the model is not a vector, or an update has another type or length.
        """
        ...


class SumRule(Rule, Protocol):
    """A rule that needs the weighted sum of the updates alone, whose partial sums many can check."""

    def finish(self, rule_word: bytes, model: Vector, sums: Sums, weight: int) -> Vector:
        """Return the next model by the sum of weight * update. Total: somebody may have committed to any sum.

        Args:
            rule_word: the rule's own word in the job's terms, 32 bytes, big-endian.
            model: int32 array of shape (lanes * n,), of any n.
            sums: int64 array of shape (n,), which is left alone.
            weight: the sum of the weights, 0 to 2**32 - 1.

        Returns:
            int32 array of the model's shape.

        Raises:
            AggregationError: `weight` or the length of `rule_word` out of range.
            VectorError: the model is not a vector, or the sum has another type or length.
        """
        ...


def is_sum(rule: Rule) -> TypeGuard[SumRule]:
    """Tell whether a rule finishes a sum."""
    return rule.kind is RuleKind.SUM


def sum_bounds(weight: int) -> tuple[int, int]:
    """Return the lowest and the highest that int32 values, with weights that add up to `weight`, can sum to."""
    return weight * INT32_MIN, weight * INT32_MAX


def check_word(rule_word: bytes) -> None:
    """Check a rule's word.

    Raises:
        AggregationError: it has another length.
    """
    if len(rule_word) != WORD_BYTES:
        raise AggregationError(f"a rule's word has {WORD_BYTES} bytes, got {len(rule_word)}")


def check_weight(weight: int) -> None:
    """Check the weight of a sum.

    Raises:
        AggregationError: it is out of range.
    """
    if not 0 <= weight <= MAX_TOTAL_WEIGHT:
        raise AggregationError(f"weights add up to {weight}, expected 0 to {MAX_TOTAL_WEIGHT}: sums have 64 bits")


def check_call(rule: Rule, rule_word: bytes, weights: Sequence[int]) -> None:
    """Check what can be checked before any update is read.

    Raises:
        AggregationError: number of updates, a weight or the length of `rule_word` out of range.
    """
    check_word(rule_word)
    if not 1 <= len(weights) <= rule.max_updates:
        raise AggregationError(
            f"{rule.name} got {len(weights)} updates, it takes 1 to {rule.max_updates}: "
            "set the job's max_clients accordingly"
        )
    for index, weight in enumerate(weights):
        if not 1 <= weight <= MAX_WEIGHT:
            raise AggregationError(f"weight {index} is {weight}, expected 1 to {MAX_WEIGHT}")
    check_weight(sum(weights))


def paired(model: Vector, updates: Iterable[Vector], weights: Sequence[int]) -> Iterator[tuple[Vector, int]]:
    """Draw each update with its weight, one at a time.

    Raises:
        AggregationError: there are not as many updates as weights.
        VectorError: the model is not a vector, or an update has another type or length.
    """
    parameters = len(as_vector(model))
    drawn = 0
    for update in updates:
        if drawn < len(weights):
            yield as_vector(update, parameters), weights[drawn]
        drawn += 1
    if drawn != len(weights):
        raise AggregationError(f"there are {drawn} updates and {len(weights)} weights, expected one each")


def stacked(model: Vector, updates: Iterable[Vector], weights: Sequence[int]) -> npt.NDArray[np.int32]:
    """Copy all updates into one int32 array of shape (len(weights), len(model)).

    Raises:
        AggregationError, VectorError: as `paired`.
    """
    rows = np.empty((len(weights), len(model)), VECTOR_DTYPE)
    for index, (update, _) in enumerate(paired(model, updates, weights)):
        rows[index] = update
    return rows


def clamp(values: npt.NDArray[np.int64]) -> Vector:
    """Saturate int64 values at the ends of int32; overwrites `values`."""
    np.clip(values, INT32_MIN, INT32_MAX, out=values)
    return values.astype(VECTOR_DTYPE)
