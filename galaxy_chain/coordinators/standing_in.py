"""When somebody else answers a demand for a committer that may be gone.

The committer has the first half of `answerSeconds` alone, and the deposit for an answer in it. Whoever else holds the
content answers in the third quarter, each after a wait of its own, so that not all pay for the same answer; the last
quarter is room for a transaction that takes long.
"""

from __future__ import annotations

import random

from galaxy_chain.following.history import OpenDemand

__all__ = ["StandingIn"]


class StandingIn:
    """Draws and remembers how long to wait with each answer.

    Args:
        answer_seconds: The job's.
    """

    def __init__(self, answer_seconds: int) -> None:
        self._answer_seconds = answer_seconds
        self._from: dict[tuple[bytes, int, int], int] = {}

    def answer_from(self, word: bytes, demand: OpenDemand) -> int:
        """The chain's time, in seconds, from which to answer a demand on the record with that word."""
        key = word, demand.number, demand.answer_by
        if key not in self._from:
            # The ledger takes half of the seconds rounded down: the second half begins there, for everybody alike.
            half = demand.answer_by - self._answer_seconds // 2
            self._from[key] = half + random.SystemRandom().randrange(max(1, self._answer_seconds // 4))
        return self._from[key]

    def is_due(self, word: bytes, demand: OpenDemand, time: int) -> bool:
        """Whether to answer at that time of the chain, if the demand is still open then."""
        return self.answer_from(word, demand) <= time < demand.answer_by
