"""What an aggregation rule is (protocol section 6), and the little that all rules share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from galaxy_fl.exceptions import AggregationError
from galaxy_fl.vectors.vector import INT32_MAX, INT32_MIN, VECTOR_DTYPE, Vector, as_vector

__all__ = [
    "MAX_WEIGHT",
    "WORD_BYTES",
    "Rule",
    "check_call",
    "clamp",
    "paired",
    "stacked",
]

MAX_WEIGHT = 2**24 - 1
WORD_BYTES = 32


class Rule(Protocol):
    """A pure function from a model and updates to the next model; each parameter stands for itself.

    So a rule may be called for a whole vector, for a block or for one chunk, and the results are the same
    to the bit; the contract of the same name in `contracts/rules/` recomputes a chunk.

    Attributes:
        name: snake case, as job documents have it.
        max_updates: as the contract's `maxUpdates()`.
    """

    name: str
    max_updates: int

    def aggregate(self, rule_word: bytes, model: Vector, updates: Iterable[Vector], weights: Sequence[int]) -> Vector:
        """Return the next model.

        Args:
            rule_word: the rule's own word in the job's terms, 32 bytes, big-endian.
            model: int32 array of shape (n,), of any n.
            updates: int32 arrays of shape (n,), in the order of `weights`. Each is used up before the next
                one is drawn, so that all may share one buffer.
            weights: number of samples behind each update, 1 to 2**24 - 1.

        Returns:
            int32 array of shape (n,).

        Raises:
            AggregationError: number of updates, a weight or `rule_word` out of range.
            VectorError: the model is not a vector, or an update has another type or length.
        """
        ...


def check_call(rule: Rule, rule_word: bytes, weights: Sequence[int]) -> None:
    """Check what can be checked before any update is read.

    Raises:
        AggregationError: number of updates, a weight or the length of `rule_word` out of range.
    """
    if len(rule_word) != WORD_BYTES:
        raise AggregationError(f"a rule's word has {WORD_BYTES} bytes, got {len(rule_word)}")
    if not 1 <= len(weights) <= rule.max_updates:
        raise AggregationError(
            f"{rule.name} got {len(weights)} updates, it takes 1 to {rule.max_updates}: "
            "set the job's max_clients accordingly"
        )
    for index, weight in enumerate(weights):
        if not 1 <= weight <= MAX_WEIGHT:
            raise AggregationError(f"weight {index} is {weight}, expected 1 to {MAX_WEIGHT}")


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
