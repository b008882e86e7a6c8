"""The committed artifacts are what the sources compile to, and fit onto a chain."""

from __future__ import annotations

import json

import pytest

from scripts.compile import ARTIFACTS, DEPLOYED, ROOT, compile_contracts, compiler, text_of


@pytest.mark.extended  # scripts/check does it: the compiler takes a minute
def test_the_artifacts_are_what_the_sources_compile_to() -> None:
    compiled = {f"{name}.json": text_of(made) for name, made in compile_contracts(compiler(None)).items()}
    committed = {path.name: path.read_text() for path in ARTIFACTS.glob("*.json")}
    stale = [name for name in {*compiled, *committed} if compiled.get(name) != committed.get(name)]
    assert not stale, "run scripts/compile.py"


def test_every_contract_fits_the_size_limit() -> None:
    """EIP-170."""
    for name in DEPLOYED:
        runtime = json.loads((ARTIFACTS / f"{name}.json").read_text())["runtime"]
        assert len(runtime) // 2 - 1 <= 24_576, name


def test_the_ledger_stays_readable() -> None:
    assert len((ROOT / "contracts" / "GalaxyLedger.sol").read_text().splitlines()) <= 600
