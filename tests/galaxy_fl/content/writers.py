"""Processes for the tests of a shared folder: `python -m tests.galaxy_fl.content.writers ROOT ACTION …`.

They say what they do on standard output and wait for a line on standard input where the test has its turn.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
from pathlib import Path

from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.exceptions import ContentError

from .unixfs_reference import fill

NOBODY = 65_534


def say(word: object) -> None:
    print(word, flush=True)


def wait() -> None:
    sys.stdin.readline()


def put_many(root: Path, first: int, last: int) -> None:
    """Puts the contents number `first` to `last`, again and again in this order, and reads each back."""
    say("ready")
    wait()
    store = LocalStore(root)
    for number in range(first, last):
        data = numbered(number)
        content = store.put(data)
        if store.get(content) != data:
            raise AssertionError(f"content {number} was read back wrong")
        if number % 3 == 0:
            store.pin(content)
    say("done")


def numbered(number: int) -> bytes:
    """Content number `number`, between 1 byte and 400 kB."""
    return b"%d:" % number + fill("count", number * 7919 % 400_000)


class Halting(io.RawIOBase):
    """Three MiB, of which the last is given only after the test has had its turn."""

    given = 0

    def read(self, size: int = -1) -> bytes:
        self.given += 1
        if self.given == 3:
            say("halfway")
            wait()
        return bytes(1 << 20) if self.given <= 3 else b""


def put_halting(root: Path) -> None:
    say(LocalStore(root).put(Halting()).cid)


def put_limited(root: Path, limit: int) -> None:
    """Puts three MiB where no file may have more than `limit` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    explain(root)


def put_as_nobody(root: Path) -> None:
    """Puts and reads without the rights of root, if the tests run as root."""
    ContentId.of(bytes(3 << 20))  # imports what is imported late: nobody may be unable to read root's Python
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    explain(root)


def explain(root: Path) -> None:
    """Says what putting three MiB leads to, and whether small content can still be read."""
    outcome: dict[str, str] = {}
    try:
        store = LocalStore(root)
        outcome["read"] = store.get(ContentId.of(b"small")).decode()
        outcome["put"] = store.put(bytes(3 << 20)).cid
    except ContentError as error:
        outcome["error"] = str(error)
    say(json.dumps(outcome))


if __name__ == "__main__":
    action, root, *numbers = sys.argv[1:]
    globals()[action](Path(root), *map(int, numbers))
