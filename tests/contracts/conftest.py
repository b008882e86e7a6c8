"""One chain a session; every test begins on it as it was deployed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from scripts.compile import compile_contracts, compiler
from tests.contracts.ledger import ETHER, Actor, Chain, Job

_SOLIDITY = "tests/contracts/solidity"


@pytest.fixture(scope="session")
def deployed() -> Chain:
    return Chain(accounts=12)


@pytest.fixture
def chain(deployed: Chain) -> Iterator[Chain]:
    snapshot = deployed.tester.take_snapshot()
    yield deployed
    deployed.tester.revert_to_snapshot(snapshot)


@pytest.fixture(scope="session")
def prepared(deployed: Chain) -> tuple[Any, Job]:
    """A prepared job, and the snapshot that has it."""
    before = deployed.tester.take_snapshot()
    job = Job(deployed).prepare()
    after = deployed.tester.take_snapshot()
    deployed.tester.revert_to_snapshot(before)
    return after, job


@pytest.fixture
def job(chain: Chain, prepared: tuple[Any, Job]) -> Job:
    """Three clients have joined and the server has its bond; the first round collects."""
    snapshot, job = prepared
    chain.tester.revert_to_snapshot(snapshot)
    return job.copy()


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
    """The contracts that only tests use, compiled; without a compiler this fails and says `npm install`."""
    return compile_contracts(
        compiler(None),
        {name: f"{_SOLIDITY}/{name}.sol" for name in ("Actor", "FickleRule", "HostileRule")},
    )


@pytest.fixture
def actor(chain: Chain, test_contracts: dict[str, dict[str, Any]]) -> Actor:
    return Actor(chain, test_contracts["Actor"])
