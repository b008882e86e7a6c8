"""A ledger with a mistake does not pass: the liveness machine or a test of the game finds each."""

from __future__ import annotations

import inspect
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
def test_a_mistake_is_found(chain_with: Chain) -> None:
    found = by_the_machine() or by_tests_of_the_game(chain_with) or by_those_who_come_first()
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


def by_those_who_come_first() -> str:
    """What shows where the dishonest go on while the honest bring the job to its end."""
    for circumstances in test_liveness.INTERFERENCE:
        try:
            test_liveness.test_the_honest_come_through_while_the_dishonest_always_come_first(*circumstances)
        except AssertionError as finding:
            return f"{circumstances}: {finding}"
    return ""
