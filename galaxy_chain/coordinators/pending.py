"""Updates that are committed to and not revealed yet, in a folder of the client's own: a restart loses none.

Each has a file of its own, by its content: a reorganisation may bring the number of an attempt again, on another model,
and then take that back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from galaxy_fl.content import ContentId, Store
from galaxy_fl.faults import fault_point
from galaxy_fl.files import make_folder, replacing, sync
from galaxy_fl.vectors import Vector, write_vector

__all__ = ["Pending"]

PUBLIC = ".public"
"""Ends the name of an update that was revealed, or may have been: of a program that died meanwhile nobody knows."""

NAME = re.compile(
    r"(?P<round>[0-9]{1,10})-(?P<model>[0-9a-f]{16})-(?P<attempt>[0-9]{1,10})-(?P<digest>[0-9a-f]{64})(?P<public>\.public)?"
)


class Pending:
    """The unrevealed updates of one client of one job, and which others were revealed.

    Args:
        folder: Where they are; None for a client that never has any.
        name: Tells this client and job from others in the folder.
    """

    def __init__(self, folder: Path | None, name: str) -> None:
        self._folder = folder
        self._name = name

    def keep(self, round: int, model: bytes, attempt: int, update: Vector) -> ContentId:
        """Keeps an update to the model with that root, durably, and returns the id that it will have."""
        assert self._folder is not None
        make_folder(self._folder, 0o700)
        content = ContentId.of(update.data)
        path = self._folder / f"{self._name}-{round}-{model.hex()[:16]}-{attempt}-{content.digest.hex()}"
        with replacing(path, mode=0o600) as new:
            write_vector(new, update)
        return content

    def reveal(self, store: Store, attempt: int, digest: bytes) -> None:
        """Puts an attempt's update of that content into the store, if it is here and was not yet."""
        for path, of in self._found():
            if (of["attempt"], of["digest"]) != (str(attempt), digest.hex()):
                continue
            public = path
            if not of["public"]:
                public = path.with_name(path.name + PUBLIC)
                os.replace(path, public)  # first: whatever happens, nobody takes for secret what may be known
                sync(public.parent)
            if public.stat().st_size:
                store.put(public)
                fault_point("after-reveal")
                os.truncate(public, 0)

    def wasted(self, round: int, model: bytes, attempt: int) -> int:
        """In how many other attempts of the round, on the same model, this client's update was revealed."""
        wanted = str(round), model.hex()[:16]
        public = {of["attempt"] for _, of in self._found() if of["public"] and (of["round"], of["model"]) == wanted}
        return len(public - {str(attempt)})

    def forget(self, attempt: int) -> None:
        """Deletes what is of attempts up to that one."""
        for path, of in self._found():
            if int(of["attempt"]) <= attempt:
                path.unlink(missing_ok=True)

    def _found(self) -> Iterator[tuple[Path, re.Match[str]]]:
        """This client's files, and what their names say."""
        if self._folder is not None:
            for path in sorted(self._folder.glob(f"{self._name}-*")):
                if of := NAME.fullmatch(path.name.removeprefix(f"{self._name}-")):
                    yield path, of
