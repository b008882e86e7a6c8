"""Updates that are committed to and not revealed yet, in a folder of the client's own: a restart loses none.

Each has a file of its own, by its content: a reorganisation may bring the number of an attempt again, on another model,
and then take that back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from galaxy_chain.seal.store import SealedStore
from galaxy_fl.content import ContentId, Store
from galaxy_fl.faults import fault_point
from galaxy_fl.files import NEW_PREFIX, make_folder, replacing, sync
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

    def keep(self, round: int, model: bytes, attempt: int, update: Vector, store: Store) -> ContentId:
        """Keeps an update to the model with that root, durably, and returns the id that it will have in the store. One
        that is sealed is kept so: by the time that it is revealed the job may have another key."""
        assert self._folder is not None
        make_folder(self._folder, 0o700)
        stem = f"{self._name}-{round}-{model.hex()[:16]}-{attempt}"
        if isinstance(store, SealedStore):
            with TemporaryDirectory(prefix=NEW_PREFIX, dir=self._folder) as scratch:
                content = store.seal_to(update.data, sealed := Path(scratch) / "sealed")
                with replacing(self._folder / f"{stem}-{content.digest.hex()}", mode=0o600) as new:
                    os.replace(sealed, new)
            return content
        content = ContentId.of(update.data)
        with replacing(self._folder / f"{stem}-{content.digest.hex()}", mode=0o600) as new:
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
                (store.outer if isinstance(store, SealedStore) else store).put(public)
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
