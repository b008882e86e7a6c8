"""A ledger with a mistake does not pass: the liveness machine or a test of the game finds each."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.contracts import ledger, test_game, test_liveness
from tests.contracts.ledger import Chain
from tests.contracts.mutations import MUTATIONS, mutant

pytestmark = pytest.mark.extended


@pytest.fixture
def chain_with(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Chain:
    """A chain on which the ledger has the mistake that the test names."""
    mistaken, real = mutant(MUTATIONS[request.param]), ledger.artifact

    def artifact(name: str) -> dict[str, Any]:
        return mistaken if name == "GalaxyLedger" else real(name)

    monkeypatch.setattr(ledger, "artifact", artifact)
    chain = Chain(accounts=12)
    monkeypatch.setattr(test_liveness, "_chain", lambda: chain)
    return chain


@pytest.mark.parametrize("chain_with", list(MUTATIONS), indirect=True)
def test_a_mistake_is_found(chain_with: Chain, tmp_path: Path) -> None:
    found = by_tests_of_the_game(chain_with) or by_tests_of_nodes_and_signatures(tmp_path) or by_the_machine()
    found = found or by_those_who_come_first()
    assert found
    print(found)


def by_the_machine() -> str:
    """What the liveness machine finds, in its default walks."""
    try:
        settings = test_liveness.profile(test_liveness.RUNS, test_liveness.STEPS, True)
        run_state_machine_as_test(test_liveness.Liveness, settings=settings)
    except AssertionError as finding:
        return f"the machine: {str(finding).splitlines()[0] if str(finding) else 'an invariant'}"
    return ""


def by_tests_of_the_game(chain: Chain) -> str:
    """The first test of the game that fails."""
    for name, test in inspect.getmembers(test_game, inspect.isfunction):
        if not name.startswith("test_") or list(inspect.signature(test).parameters) != ["chain"]:
            continue
        snapshot = chain.tester.take_snapshot()
        try:
            test(chain)
        except (AssertionError, pytest.fail.Exception):
            return name
        finally:
            chain.tester.revert_to_snapshot(snapshot)
    return ""


def by_tests_of_nodes_and_signatures(folder: Path) -> str:
    """The first of them that fails, in a process of its own, for they share chains among them."""
    mutant = folder / "GalaxyLedger.json"
    mutant.write_text(json.dumps(ledger.artifact("GalaxyLedger")))
    files = ["tests/contracts/test_nodes.py", "tests/contracts/test_signed.py"]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "-p", "tests.contracts.mutated", *files]
    # It compares code with the artifacts.
    command += ["--deselect", f"{files[1]}::test_the_intake_called_by_itself_takes_nothing"]
    run = subprocess.run(
        command, cwd=ledger.ROOT, env=os.environ | {"GALAXY_MUTANT": str(mutant)}, capture_output=True, text=True
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0] if failed else ""


def by_those_who_come_first() -> str:
    """What shows where the dishonest go on while the honest bring the job to its end."""
    for circumstances in test_liveness.INTERFERENCE:
        try:
            test_liveness.test_the_honest_come_through_while_the_dishonest_always_come_first(*circumstances)
        except AssertionError as finding:
            return f"{circumstances}: {finding}"
    return ""
