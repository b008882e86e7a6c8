"""The inbox beside the content of a folder: a file for each signature.

    inbox/<chain>-<ledger>/<job>/<attempt>/<client>-<digest>.json     an update
    inbox/<chain>-<ledger>/<job>/joins/<client>-<digest>.json         a client that joins
    inbox/<chain>-<ledger>/<job>/relay                                changed whenever a relay looks

Whoever may write to the folder may write anything, and delete it: so files are bounded and checked when they are read,
and a client looks whether it is in.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from eth_utils.address import to_checksum_address
from pydantic import ValidationError

from galaxy_chain.lane.messages import LARGEST_MESSAGE, SignedJoin, SignedUpdate
from galaxy_chain.ledger.signing import Domain, SignatureError
from galaxy_fl.exceptions import ContentError
from galaxy_fl.files import explained, make_folder, write_durably

__all__ = ["ALIVE_SECONDS", "FolderInbox"]

Message = TypeVar("Message", SignedUpdate, SignedJoin)

ALIVE_SECONDS = 60.0
"""For how long a relay that has looked counts as there."""
MOST_OF_ONE = 8
"""Files of one client that are read at a time: it needs one, and who puts more there in its name costs time alone."""
KEPT_ATTEMPTS = 3
"""Older ones are removed. A reorganisation that goes back further has clients hand in again."""
_NAME = re.compile(r"(0x[0-9a-f]{40})-[0-9a-f]{16}\.json")


class FolderInbox:
    """The inbox of one ledger in a store's folder.

    Args:
        root: Of the store.
        domain: For which signatures have to be.
    """

    def __init__(self, root: Path, domain: Domain) -> None:
        self._root = root / "inbox" / f"{domain.chain_id}-{domain.ledger.lower()}"
        self._domain = domain
        self._read: dict[tuple[str, int], SignedUpdate | SignedJoin | None] = {}
        """What was read, by path and time, so that no signature is checked twice; None for what is not one."""

    @property
    def where(self) -> str:
        """The folder."""
        return f"the inbox {self._root}"

    def hand_in(self, job: int, attempt: int, update: SignedUpdate) -> None:
        """Writes the file, unless it is there."""
        update.check(self._domain, job, attempt)
        self._write(self._root / str(job) / str(attempt), update)
        self._tidy(job, attempt)

    def updates(self, job: int, attempt: int) -> Sequence[SignedUpdate]:
        """As every inbox."""
        folder = self._root / str(job) / str(attempt)
        return self._found(folder, SignedUpdate, lambda update: update.check(self._domain, job, attempt))

    def ask_to_join(self, job: int, join: SignedJoin) -> None:
        """Writes the file, in the place of earlier ones of the client."""
        join.check(self._domain, job)
        folder = self._root / str(job) / "joins"
        written = self._write(folder, join)
        for path in folder.glob(f"{join.client.lower()}-*"):
            if path != written:
                path.unlink(missing_ok=True)

    def joins(self, job: int) -> Sequence[SignedJoin]:
        """As every inbox."""
        return self._found(self._root / str(job) / "joins", SignedJoin, lambda join: join.check(self._domain, job))

    def tend(self, job: int) -> None:
        """Changes the time of a file."""
        with explained(f"write to {self.where}"):
            make_folder(self._root / str(job))
            (self._root / str(job) / "relay").touch()

    def relayed(self, job: int) -> bool:
        """Whether that time is new."""
        try:
            changed = (self._root / str(job) / "relay").stat().st_mtime
        except OSError:
            return False
        return abs(time.time() - changed) < ALIVE_SECONDS

    def _write(self, folder: Path, message: SignedUpdate | SignedJoin) -> Path:
        data = message.model_dump_json().encode()
        path = folder / f"{message.client.lower()}-{hashlib.sha256(data).hexdigest()[:16]}.json"
        with explained(f"write to {self.where}"):
            make_folder(folder)
            if not path.exists() or path.read_bytes() != data:
                write_durably(path, data)
        return path

    def _found(self, folder: Path, kind: type[Message], check: Callable[[Message], None]) -> list[Message]:
        found: dict[str, Message] = {}
        looked: dict[str, int] = {}
        for name, changed in sorted(self._files(folder)):
            match = _NAME.fullmatch(name)
            if match is None or match[1] in found:
                continue
            path = folder / name
            key = str(path), changed
            if key not in self._read:
                if looked.get(match[1], 0) >= MOST_OF_ONE:
                    continue  # at the next look
                looked[match[1]] = looked.get(match[1], 0) + 1
                self._read[key] = self._parsed(path, kind, check, to_checksum_address(match[1]))
            if isinstance(message := self._read[key], kind):
                found[match[1]] = message
        return list(found.values())

    def _files(self, folder: Path) -> list[tuple[str, int]]:
        """Names and when each was changed."""
        found = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # replaced or removed meanwhile
                        if entry.is_file(follow_symlinks=False):
                            found.append((entry.name, entry.stat(follow_symlinks=False).st_mtime_ns))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ContentError(f"{self.where} can't be read: {error.strerror}") from error
        return found

    def _parsed(self, path: Path, kind: type[Message], check: Callable[[Message], None], client: str) -> Message | None:
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST_MESSAGE + 1)
            if len(data) > LARGEST_MESSAGE:
                return None
            message = kind.model_validate_json(data)
            check(message)
        except (OSError, ValidationError, SignatureError):
            return None
        return message if message.client == client else None

    def _tidy(self, job: int, attempt: int) -> None:
        """Removes what is of attempts long gone."""
        with suppress(OSError):
            for entry in os.scandir(self._root / str(job)):
                if entry.name.isdecimal() and int(entry.name) <= attempt - KEPT_ATTEMPTS:
                    shutil.rmtree(entry.path, ignore_errors=True)
        if len(self._read) > 100_000:
            self._read.clear()
