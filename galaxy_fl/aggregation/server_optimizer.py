"""What rules have in common that move a model by more than the last mean: they keep moments beside it.

A parameter of the model has several int32, its lanes: what clients train, then the moments. The pseudo-gradient of
Reddi et al., "Adaptive Federated Optimization", ICLR 2021, is the mean of the updates, rounded as `WeightedMean` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeGuard

import numpy as np
import numpy.typing as npt

from galaxy_fl.aggregation.rule import (
    WORD_BYTES,
    Rule,
    RuleKind,
    check_call,
    check_weight,
    check_word,
    clamp,
    paired,
)
from galaxy_fl.exceptions import AggregationError
from galaxy_fl.vectors.kernels import kernels
from galaxy_fl.vectors.vector import INT32_MAX, INT32_MIN, SUM_DTYPE, VECTOR_DTYPE, Sums, Vector, as_sums, as_vector

__all__ = ["AVERAGED", "ONE", "Option", "ServerOptimizer", "first_moment", "has_moments", "rounded"]

ONE = 1_000_000
"""What fractions in a rule's word are counted in: millionths."""
AVERAGED = INT32_MIN
"""A first moment that says: this parameter is averaged, and nothing else. It stays for ever."""

Masks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Option:
    """A number that the author of a job chooses.

    Attributes:
        default: Its value where none is given.
        lowest, below: Its range, in units.
        unit: As a part of one: words have whole numbers of it.
    """

    default: float
    lowest: int
    below: int
    unit: int = ONE


class ServerOptimizer(ABC):
    """A rule that finishes a sum with moments.

    Attributes:
        name, kind, max_updates, lanes: As any rule's.
        options: What its word has, by name, from the low end; 4 bytes each.
        step_bits: The fraction bits that the parameters which it moves have to have; None where any will do.
    """

    name: str
    kind = RuleKind.SUM
    max_updates = 4096
    lanes: int
    options: ClassVar[Mapping[str, Option]]
    step_bits: ClassVar[int | None] = None

    def word(self, values: Mapping[str, float]) -> bytes:
        """Return the rule's word of options by name.

        Raises:
            AggregationError: one is out of range, or finer than the word has it.
        """
        word = 0
        for place, (name, option) in enumerate(self.options.items()):
            value, unit = values[name], option.unit
            count = round(value * unit) if abs(value) < 2**32 else 2**62
            if not option.lowest <= count < option.below:
                raise AggregationError(
                    f"{name} is {value}, and {self.name} takes {option.lowest / unit:g} to {(option.below - 1) / unit}"
                )
            if count / unit != value:
                raise AggregationError(
                    f"{name} is {value}, and {self.name} counts it in units of {1 / unit:g}: set it to {count / unit}"
                )
            word |= count << 32 * place
        return word.to_bytes(WORD_BYTES)

    def fields(self, rule_word: bytes) -> list[int]:
        """Return the numbers of a word.

        Raises:
            AggregationError: it has another length, or a number is out of range.
        """
        check_word(rule_word)
        word = int.from_bytes(rule_word)
        found = [word >> 32 * place & 0xFFFFFFFF for place in range(len(self.options))]
        fits = all(o.lowest <= value < o.below for o, value in zip(self.options.values(), found, strict=True))
        if not fits or word >> 32 * len(found):
            raise AggregationError(f"{rule_word.hex()} is no word of {self.name}: make it of its options")
        return found

    def aggregate(self, rule_word: bytes, model: Vector, updates: Iterable[Vector], weights: Sequence[int]) -> Vector:
        """See `Rule.aggregate`."""
        check_call(self, rule_word, weights)
        model = as_vector(model)
        total = np.zeros(len(model) // self.lanes, SUM_DTYPE)
        for update, weight in paired(total.astype(VECTOR_DTYPE), updates, weights):
            kernels().add_update(total, update, weight)
        return self.finish(rule_word, model, total, sum(weights))

    def finish(self, rule_word: bytes, model: Vector, sums: Sums, weight: int) -> Vector:
        """See `SumRule.finish`."""
        check_weight(weight)
        rows = self._rows(model, len(sums))
        delta = _means(as_sums(sums), weight)
        following = self.step(self.fields(rule_word), rows, delta)
        _average(rows, delta, following)
        return following.reshape(-1)

    def unexplained(
        self, rule_word: bytes, model: Vector, next: Vector, lowest: Sums, highest: Sums, weight: int
    ) -> Masks:
        """Tell of each parameter of a next model whether no sum in a range makes it of the model.

        Args:
            rule_word, model, weight: As of `finish`.
            next: int32 array of the model's shape.
            lowest, highest: int64 arrays of shape (n,): what the sum is at least, and at most.
        """
        rows, after = self._rows(model, len(lowest)), self._rows(next, len(lowest))
        low, high = (_means(as_sums(each), weight).astype(np.int64) for each in (lowest, highest))
        moved = self.disagrees(self.fields(rule_word), rows, after, low, high)
        begun, ends = rows[:, 0].astype(np.int64), after[:, 0]
        still = (after[:, 1:] == rows[:, 1:]).all(axis=1)
        mean = still & (clamp(begun + low) <= ends) & (ends <= clamp(begun + high))
        wrong: Masks = np.where(rows[:, 1] == AVERAGED, ~mean, moved)
        return wrong

    @abstractmethod
    def step(self, fields: list[int], rows: Vector, delta: Vector) -> Vector:
        """Return the next model by the mean of the updates, as rows; of averaged parameters anything.

        Args:
            fields: Of the word.
            rows: int32 array of shape (n, lanes).
            delta: int32 array of shape (n,).
        """

    @abstractmethod
    def disagrees(self, fields: list[int], rows: Vector, after: Vector, low: Sums, high: Sums) -> Masks:
        """Tell of each parameter whether no mean from `low` to `high` makes `after`; of averaged ones anything."""

    def _rows(self, model: Vector, parameters: int) -> Vector:
        return as_vector(model, self.lanes * parameters).reshape(-1, self.lanes)


def has_moments(rule: Rule) -> TypeGuard[ServerOptimizer]:
    """Tell whether a rule keeps moments beside the model."""
    return isinstance(rule, ServerOptimizer)


def first_moment(moment: Sums, beta: int, delta: Sums | Vector) -> Sums:
    """Return moment * beta + delta, the product rounded toward zero, within int32 without `AVERAGED`.

    So a moment to which nothing is added ends at zero.

    Args:
        moment: int64 array of int32 values.
        beta: In millionths.
        delta: Integers within int32.
    """
    kept = np.abs(moment * beta) // ONE
    return np.clip(np.where(moment < 0, -kept, kept) + delta, AVERAGED + 1, INT32_MAX)


def rounded(numerator: Sums, denominator: Sums | int) -> Sums:
    """Return the quotient, rounded half up; denominators are even and positive."""
    quotient: Sums = (numerator + denominator // 2) // denominator
    return quotient


def _means(sums: Sums, weight: int) -> Vector:
    found = np.zeros(len(sums), VECTOR_DTYPE)
    if weight and len(sums):
        kernels().move(np.zeros(len(sums), VECTOR_DTYPE), sums, weight, found)
    return found


def _average(rows: Vector, delta: Vector, following: Vector) -> None:
    """Put what averaging makes of those parameters that are averaged into the next model."""
    (where,) = np.nonzero(rows[:, 1] == AVERAGED)
    if len(where):
        following[where] = rows[where]
        following[where, 0] = clamp(rows[where, 0].astype(np.int64) + delta[where])
