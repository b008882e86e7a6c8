"""Relay: the server only synchronises; clients learn from each other's models by distillation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from galaxy_fl.aggregation.rule import RuleKind, check_call
from galaxy_fl.vectors.vector import Vector, as_vector

__all__ = ["Relay"]


class Relay:
    """The next model is the model. Updates are the trained vectors themselves, for the other clients.

    They are not drawn from `updates`, so aggregating reads none of them. `rule_word` is not used.
    """

    name = "relay"
    kind = RuleKind.KEEPS_MODEL
    max_updates = 256
    lanes = 1

    def aggregate(self, rule_word: bytes, model: Vector, updates: Iterable[Vector], weights: Sequence[int]) -> Vector:
        """See `Rule.aggregate`."""
        check_call(self, rule_word, weights)
        return as_vector(model).copy()
