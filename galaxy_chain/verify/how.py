"""How much of a commit somebody recomputes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from galaxy_fl.exceptions import ConfigurationError

__all__ = ["BRANCH", "Verify"]


@dataclass(frozen=True)
class Verify:
    """How much of a commit to recompute: all of it (`chunks` None), so many random chunks, or nothing (0).

    Random chunks spare the chunk trees of the updates, and so take their content at its id's word, not at its
    commitment's. Take them where many clients verify one server: a lie in a share s of the chunks is found by n clients
    of k chunks each with probability 1 - (1 - s)**(n * k).

    Attributes:
        branch: Of a round with partial sums only those that stand for one's own update and for others that are drawn at
            random; of one without all. Then `chunks` is None.
    """

    chunks: int | None = None
    branch: bool = False

    def covers(self, other: Verify) -> bool:
        """Whether it is at least as thorough."""
        if self.branch:
            return other.branch or other.chunks == 0
        return self.chunks is None or (not other.branch and other.chunks is not None and self.chunks >= other.chunks)

    @classmethod
    def parse(cls, text: str) -> Verify:
        """From `branch`, `full`, `sample:K` or `off`.

        Raises:
            ConfigurationError: it is none of these.
        """
        if text == "branch":
            return cls(branch=True)
        if text in ("full", "off"):
            return cls(None if text == "full" else 0)
        match = re.fullmatch(r"sample:([1-9]\d{0,5})", text)
        if match is None:
            raise ConfigurationError(
                f"{text!r} is not a way to verify: expected branch, full, sample:K (K chunks) or off"
            )
        return cls(int(match[1]))

    def __str__(self) -> str:
        if self.branch:
            return "branch"
        return "full" if self.chunks is None else f"sample:{self.chunks}" if self.chunks else "off"


BRANCH = Verify(branch=True)
"""What clients do unless they are told otherwise."""
