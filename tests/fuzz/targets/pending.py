"""The folder of unrevealed updates, with files in it that others have left."""

from __future__ import annotations

import shutil

import numpy as np

from galaxy_chain.coordinators.pending import Pending
from galaxy_fl.content import LocalStore
from tests.fuzz.folder import folder
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

NAME = "0xAb-1-0xCd"
MODEL = bytes(32)


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    home = folder() / "pending"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    for number in range(3):
        name = reader.take(reader.integer() % 16).translate(None, b"\0/")
        (home / (f"{NAME}-".encode() + name if number else b"x" + name).decode(errors="surrogateescape")).touch()
    pending, store = Pending(home, NAME), LocalStore(folder() / "pending-store")
    content = pending.keep(1, MODEL, 7, np.arange(5, dtype=np.int32), store)
    pending.reveal(store, 8, content.digest)
    assert pending.wasted(1, MODEL, 8) == 0
    pending.reveal(store, 7, content.digest)
    assert store.path(content).stat().st_size == 20
    assert (pending.wasted(1, MODEL, 7), pending.wasted(1, MODEL, 8)) == (0, 1)
    pending.forget(7)
    assert pending.wasted(1, MODEL, 8) == 0
    return True
