"""What a client's worker is asked to do in a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["TrainTask"]


@dataclass(frozen=True)
class TrainTask:
    """Train from one vector file to another.

    Attributes:
        start: The vector that training begins with.
        trained: Where the trained vector goes, or the update; may be the same file.
        round: The round's number, from 1: learning rate schedules go on from round to round.
        seed: Of shuffling and dropout, 63 bits.
        teachers: The vectors of the models to learn from, where the job distils.
        own: The client's own tensors, personal ones and integers, as its round before left them; None for those that
            the job began with.
        own_after: Where those that training leaves go, if the job has any; None for nowhere.
        update: Whether what is written is the update, trained less start, as `galaxy_fl.vectors.difference` makes it.
    """

    start: Path
    trained: Path
    round: int
    seed: int
    teachers: Sequence[Path] = ()
    own: Path | None = None
    own_after: Path | None = None
    update: bool = False

    def absolute(self) -> TrainTask:
        """Return the same task for a process that may be in another directory."""
        return replace(
            self,
            start=self.start.absolute(),
            trained=self.trained.absolute(),
            teachers=[teacher.absolute() for teacher in self.teachers],
            own=None if self.own is None else self.own.absolute(),
            own_after=None if self.own_after is None else self.own_after.absolute(),
        )
