"""The folder of unrevealed updates, with files in it that others have left."""

from __future__ import annotations

import shutil

from galaxy_chain.pending import Pending
from tests.fuzz.folder import folder
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

NAME = "0xAb-1-0xCd"


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    home = folder() / "pending"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    for number in range(3):
        attempt = reader.take(reader.integer() % 16).translate(None, b"\0/")
        (home / (f"{NAME}-".encode() + attempt if number else b"x" + attempt).decode(errors="surrogateescape")).touch()
    (home / f"{NAME}-7").touch()
    (home / f"{NAME}-8").touch()
    found = [path.name for path in Pending(home, NAME).take_other_than(7)]
    assert f"{NAME}-8" in found
    assert f"{NAME}-7" not in found
    assert all(name.removeprefix(f"{NAME}-").isdecimal() for name in found)
    return True
