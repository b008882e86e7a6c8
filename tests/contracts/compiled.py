"""The contracts that only tests use, compiled once for all processes and runs, until a source or the compiler changes."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from typing import Any

from galaxy_fl.files import FileLock, replacing
from scripts.compile import ROOT, compile_contracts, compiler

__all__ = ["compiled"]

FOLDER = "tests/contracts/solidity"
KEPT = ROOT / ".pytest_cache" / "contracts"


@cache
def compiled() -> dict[str, dict[str, Any]]:
    """Artifacts by the names of the contracts.

    Raises:
        SystemExit: they have to be compiled, and there is no compiler; it says `npm install`.
    """
    contracts = {path.stem: f"{FOLDER}/{path.name}" for path in sorted((ROOT / FOLDER).glob("*.sol"))}
    kept = KEPT / f"{_digest()}.json"
    KEPT.mkdir(parents=True, exist_ok=True)
    with FileLock(KEPT / "lock"):
        if not kept.exists():
            made = compile_contracts(compiler(None), contracts)
            for old in KEPT.glob("*.json"):
                old.unlink()
            with replacing(kept) as new:
                new.write_text(json.dumps(made))
    artifacts: dict[str, dict[str, Any]] = json.loads(kept.read_text())
    return artifacts


def _digest() -> str:
    """Of all that the bytecode follows from."""
    files = [ROOT / "scripts" / "compile.py", ROOT / "package-lock.json"]
    files += [*(ROOT / "contracts").rglob("*.sol"), *(ROOT / FOLDER).glob("*.sol")]
    named = {file.relative_to(ROOT).as_posix(): sha256(file.read_bytes()).hexdigest() for file in files}
    return sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
