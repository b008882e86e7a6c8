"""Which rounds' contents a server keeps pinned, and so which it lets go."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from galaxy_fl.content.content_id import ContentId
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["Keep"]


@dataclass(frozen=True, slots=True)
class Keep:
    """How many of the last rounds stay, or None for all.

    Rounds that can still be challenged stay in any case: whoever lets them go can't answer, and loses its bond.
    """

    rounds: int | None = None

    @classmethod
    def parse(cls, text: str) -> Keep:
        """`all`, `last:N` with N ≥ 1, or `audited`: only what may still be audited with consequences, that is `last:1`.

        Raises:
            ConfigurationError: it is something else.
        """
        if text == "all":
            return cls()
        if text == "audited":
            return cls(1)
        if match := re.fullmatch(r"last:([1-9][0-9]{0,8})", text):
            return cls(int(match[1]))
        raise ConfigurationError(f"{text!r} can't be kept: expected all, last:N with N from 1 on, or audited")

    def let_go(self, rounds: Mapping[int, Collection[ContentId]], settled: int) -> frozenset[ContentId]:
        """What may be unpinned: what only rounds that need not stay have need of.

        `rounds`: by number, all that an audit of the round needs: the model before, the next model, the updates.
        `settled`: the last round whose commit can't be challenged any more, nor any before it; 0 for none.
        """
        if self.rounds is None or not rounds:
            return frozenset()
        last_to_go = min(settled, max(rounds) - self.rounds)
        kept = {content for number, contents in rounds.items() if number > last_to_go for content in contents}
        return frozenset(
            content for number, contents in rounds.items() if number <= last_to_go for content in contents
        ) - frozenset(kept)
