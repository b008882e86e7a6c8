"""Updates that are committed to and not revealed yet, in a folder of the client's own: a restart loses none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from galaxy_chain.store import ContentId
from galaxy_fl.vectors import Vector, write_vector

__all__ = ["Pending"]


class Pending:
    """The unrevealed updates of one client of one job.

    Args:
        folder: Where they are; None for a client that never has any.
        name: Tells this client and job from others in the folder.
    """

    def __init__(self, folder: Path | None, name: str) -> None:
        self._folder = folder
        self._name = name

    def keep(self, attempt: int, update: Vector) -> ContentId:
        """Keeps an update, durably, and gives the id that it will have when it is revealed."""
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{self._name}-{attempt}"
        new = path.with_suffix(".new")
        write_vector(new, update)
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(new, path)
        return ContentId.of(update.data)

    def take_other_than(self, attempt: int) -> Iterator[Path]:
        """The files of all attempts but one: those that may be revealed. Whoever has put one removes it."""
        if self._folder is not None:
            for path in sorted(self._folder.glob(f"{self._name}-*")):
                number = path.name.removeprefix(f"{self._name}-")
                if re.fullmatch(r"[0-9]{1,10}", number) and int(number) != attempt:
                    yield path
