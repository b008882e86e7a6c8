"""Who hashes by Keccak-256."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from galaxy_fl.keccak import keccak

WHO = (
    "import os, sys; before = dict(os.environ); from galaxy_fl.keccak import keccak; "
    "assert dict(os.environ) == before; keccak(b'more'); "
    "print(*('Crypto.Hash.keccak' in sys.modules, 'sha3' in sys.modules))"
)


def test_it_is_keccak_and_not_the_sha3_of_the_standard() -> None:
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


@pytest.mark.parametrize(
    ("wanted", "found"), [(None, "False True"), ("pysha3", "False True"), ("pycryptodome", "True False")]
)
def test_the_quick_one_hashes_unless_the_environment_names_another(wanted: str | None, found: str) -> None:
    others = {name: value for name, value in os.environ.items() if name != "ETH_HASH_BACKEND"}
    environment = others if wanted is None else {**others, "ETH_HASH_BACKEND": wanted}
    ran = subprocess.run([sys.executable, "-c", WHO], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == found
