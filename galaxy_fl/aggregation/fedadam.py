"""FedAdam: Adam at the server."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from galaxy_fl.aggregation.rule import clamp
from galaxy_fl.aggregation.server_optimizer import (
    AVERAGED,
    ONE,
    Masks,
    Option,
    ServerOptimizer,
    first_moment,
    rounded,
)
from galaxy_fl.exceptions import AggregationError
from galaxy_fl.vectors.vector import INT32_MAX, VECTOR_DTYPE, Sums, Vector

__all__ = ["FedAdam", "square_roots"]

STEP_BITS = 24
FINER = 256
"""Rates are counted in that part of a step."""
NANO = 1_000_000_000
LARGEST = 2**62
"""The largest second moment: the square of an int32."""


class FedAdam(ServerOptimizer):
    """m = beta1 * m + (1 - beta1) * mean; v = beta2 * v + (1 - beta2) * mean ** 2; w = w + rate * m / (sqrt(v) + tau).

    From Reddi et al., "Adaptive Federated Optimization", ICLR 2021. As there nothing corrects the bias of the first
    rounds; unlike there v begins with zero. A parameter is w, then M = m / (1 - beta1), which loses less to rounding,
    and then v, in units of 2**-48, as the low and the high half of a number of 62 bits. Steps are in the model's own
    units, so what it moves has 24 fraction bits.
    """

    name = "fedadam"
    lanes = 4
    options = MappingProxyType(
        {
            "learning_rate": Option(0.01, 1, 2**32),
            "beta1": Option(0.9, 0, ONE),
            "beta2": Option(0.99, 0, ONE),
            "tau": Option(0.001, 30, 2**32, NANO),
        }
    )
    step_bits = STEP_BITS

    def word(self, values: Mapping[str, float]) -> bytes:
        """See `ServerOptimizer.word`."""
        word = super().word(values)
        self.fields(word)
        return word

    def fields(self, rule_word: bytes) -> list[int]:
        """See `ServerOptimizer.fields`.

        Returns:
            beta1, and 1 - beta2, in millionths; rate * (1 - beta1) in 1/256 steps; and tau in steps.
        """
        learning_rate, beta1, beta2, tau = super().fields(rule_word)
        product = learning_rate * (ONE - beta1)
        rate = _nearest(product * 2**STEP_BITS * FINER, ONE * ONE)
        steps = _nearest(tau * 2**STEP_BITS, NANO)
        if not 0 < rate < 2**31:
            raise AggregationError(
                f"learning_rate * (1 - beta1) is {product / ONE / ONE:g}, and fedadam takes more than 2**-33 and less "
                "than 0.5: lower learning_rate, or raise beta1"
                if rate
                else f"learning_rate * (1 - beta1) is {product / ONE / ONE:g}, too small to move anything: raise "
                "learning_rate"
            )
        return [beta1, ONE - beta2, rate, steps]

    def step(self, fields: list[int], rows: Vector, delta: Vector) -> Vector:
        """See `ServerOptimizer.step`."""
        beta1, share, rate, tau = fields
        following = np.empty_like(rows)
        moment = first_moment(rows[:, 1].astype(np.int64), beta1, delta)
        second = _second_moment(_second(rows), share, np.square(delta.astype(np.int64)))
        following[:, 0] = _moved(rate, tau, rows, moment, second)
        following[:, 1] = moment
        following[:, 2:] = second.astype("<i8").view(VECTOR_DTYPE).reshape(-1, 2)
        return following

    def disagrees(self, fields: list[int], rows: Vector, after: Vector, low: Sums, high: Sums) -> Masks:
        """See `ServerOptimizer.disagrees`.

        Unless it is saturated a first moment says which mean it comes from, and so what the second moment is.
        """
        beta1, share, rate, tau = fields
        kept = first_moment(rows[:, 1].astype(np.int64), beta1, np.zeros(len(rows), np.int64))
        moment, second = after[:, 1].astype(np.int64), _second(after, LARGEST + 1)
        mean = moment - kept
        least = np.maximum(low, np.where(moment == AVERAGED + 1, low, mean))
        most = np.minimum(high, np.where(moment == INT32_MAX, high, mean))
        largest = np.square(np.maximum(np.abs(least), np.abs(most)))
        smallest = np.where((least <= 0) & (most >= 0), 0, np.square(np.minimum(np.abs(least), np.abs(most))))
        before = _second(rows)
        wrong = (moment == AVERAGED) | (least > most)
        wrong |= second < _second_moment(before, share, smallest)
        wrong |= second > _second_moment(before, share, largest)
        wrong |= after[:, 0] != _moved(rate, tau, rows, moment, np.minimum(second, LARGEST))
        found: Masks = wrong
        return found


def square_roots(values: Sums) -> Sums:
    """Return the integer square roots, rounded down, of int64 values from 0 to 2**62.

    Exact: a double has 53 bits, so the square root of a value's double is less than 1 from the value's own root; what
    is one too many or one too few is put right.
    """
    roots: Sums = np.sqrt(values.astype(np.float64)).astype(np.int64)
    roots -= np.square(roots) > values
    roots += np.square(roots + 1) <= values
    return roots


def _second(rows: Vector, largest: int = LARGEST) -> Sums:
    """Return the second moments of a model, those beyond `largest` as that."""
    whole = np.ascontiguousarray(rows[:, 2:]).view("<u8")[:, 0]
    second: Sums = np.minimum(whole, np.uint64(largest)).astype(np.int64)
    return second


def _second_moment(second: Sums, share: int, square: Sums) -> Sums:
    """Return second + floor(share / ONE * (square - second)), without leaving 64 bits."""
    whole, rest = np.divmod(square - second, ONE)
    moved: Sums = second + share * whole + share * rest // ONE
    return moved


def _moved(rate: int, tau: int, rows: Vector, moment: Sums, second: Sums) -> Vector:
    """Return w by the moments after the step."""
    return clamp(rows[:, 0] + rounded(rate * moment, (square_roots(second) + tau) * FINER))


def _nearest(numerator: int, denominator: int) -> int:
    return (numerator + denominator // 2) // denominator
