"""Chains of a session, one without a job and one with; every test begins on them as they were made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contracts.compiled import compiled
from tests.contracts.ledger import ETHER, Actor, Chain, Job


@pytest.fixture(scope="session")
def deployed() -> Chain:
    return Chain(accounts=12)


@pytest.fixture(scope="session")
def prepared() -> Job:
    """A prepared job, on a chain of its own."""
    return Job(Chain(accounts=12)).prepare()


@pytest.fixture
def chain(request: pytest.FixtureRequest) -> Iterator[Chain]:
    """The chain of the test's `job`, or one that has none."""
    has_job = "job" in request.fixturenames
    chain: Chain = request.getfixturevalue("prepared").chain if has_job else request.getfixturevalue("deployed")
    snapshot = chain.tester.take_snapshot()
    yield chain
    chain.tester.revert_to_snapshot(snapshot)


@pytest.fixture
def job(chain: Chain, prepared: Job) -> Job:
    """Three clients have joined and the server has its bond; the first round collects."""
    assert chain is prepared.chain
    return prepared.copy()


@pytest.fixture(scope="session")
def prepared_crowd() -> Job:
    chain = Chain(accounts=132)
    terms = {"maxUpdates": 130, "maxExcluded": 130, "collectSeconds": 10_000, "idleSeconds": 11_000}
    job = Job(chain, rounds=2, pool=ETHER, **terms)
    job.clients = chain.accounts[2:]
    return job.prepare()


@pytest.fixture
def crowd(prepared_crowd: Job) -> Iterator[Job]:
    """A job that 130 clients have joined, on a chain of its own; the first of two rounds collects."""
    snapshot = prepared_crowd.chain.tester.take_snapshot()
    yield prepared_crowd.copy()
    prepared_crowd.chain.tester.revert_to_snapshot(snapshot)


@pytest.fixture(scope="session")
def test_contracts() -> dict[str, dict[str, Any]]:
    """The contracts that only tests use, compiled."""
    return compiled()


@pytest.fixture
def actor(chain: Chain, test_contracts: dict[str, dict[str, Any]]) -> Actor:
    return Actor(chain, test_contracts["Actor"])
