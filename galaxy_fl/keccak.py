"""Keccak-256, by safe-pysha3 unless the environment variable ETH_HASH_BACKEND says otherwise.

The libraries of Ethereum choose what hashes at the first hash of a process. Left alone they choose pycryptodome, which
takes six times as long for a short input, and lets go of the interpreter's lock four times: then hundreds of threads
that hash spend more on whose turn it is than on hashing.
"""

from __future__ import annotations

import os

from eth_utils.crypto import keccak

__all__ = ["keccak"]

_VARIABLE = "ETH_HASH_BACKEND"


def _choose() -> None:
    if _VARIABLE in os.environ:
        return
    os.environ[_VARIABLE] = "pysha3"
    try:
        keccak(b"")
    finally:
        del os.environ[_VARIABLE]  # programs that this one starts may have other packages


_choose()
