"""registerJob: every bound of the terms, from both sides."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts.ledger import ETHER, NOBODY, ZERO, Chain, Job, Reverted, terms_of

MODEL = (b"\1" * 32, b"\2" * 32)

OUT_OF_BOUNDS = [
    ("rounds", {"rounds": 0}),
    ("rounds", {"rounds": 2**31 + 1}),
    ("minUpdates", {"minUpdates": 0}),
    ("minUpdates", {"minUpdates": 4, "maxUpdates": 3}),
    ("maxUpdates", {"maxUpdates": 257, "chunkParameters": 8}),
    ("maxExcluded", {"maxExcluded": 4, "maxUpdates": 3}),
    ("collectSeconds", {"collectSeconds": 2**31 + 1}),
    ("aggregateSeconds", {"aggregateSeconds": 0}),
    ("aggregateSeconds", {"aggregateSeconds": 2**31 + 1}),
    ("challengeSeconds", {"challengeSeconds": 0}),
    ("challengeSeconds", {"challengeSeconds": 2**31 + 1}),
    ("answerSeconds", {"answerSeconds": 0}),
    ("answerSeconds", {"answerSeconds": 2**31 + 1}),
    ("chunkParameters", {"chunkParameters": 0, "parameters": 300}),
    ("chunkParameters", {"chunkParameters": 12, "parameters": 300}),
    ("chunkParameters", {"chunkParameters": 264, "parameters": 300}),
    ("chunkParameters", {"chunkParameters": 72, "maxUpdates": 256, "parameters": 300}),
    ("parameters", {"parameters": 8}),
    ("parameters", {"parameters": 2**40 + 1}),
    ("bond", {"bond": 0}),
    ("rule", {"rule": NOBODY}),
    ("rule", {"rule": "0x" + "11" * 20}),
]

AT_THE_BOUND: list[dict[str, Any]] = [
    {"rounds": 1},
    {"rounds": 2**31},
    {"minUpdates": 1},
    {"minUpdates": 3, "maxUpdates": 3},
    {"maxUpdates": 256, "chunkParameters": 64, "parameters": 65},
    {"maxExcluded": 3, "maxUpdates": 3},
    {"maxExcluded": 0},
    {"collectSeconds": 0},
    {"collectSeconds": 2**31, "aggregateSeconds": 2**31, "challengeSeconds": 2**31, "answerSeconds": 2**31},
    {"aggregateSeconds": 1, "challengeSeconds": 1, "answerSeconds": 1},
    {"chunkParameters": 256, "maxUpdates": 64, "parameters": 257},
    {"chunkParameters": 8, "parameters": 9},
    {"parameters": 2**40},
    {"bond": 1, "demandDeposit": 0},
    {"server": NOBODY},
]


@pytest.mark.parametrize(("term", "terms"), OUT_OF_BOUNDS)
def test_a_term_out_of_its_bounds_is_refused_by_name(chain: Chain, term: str, terms: dict[str, Any]) -> None:
    refusal = chain.refusal(chain.accounts[0], "registerJob", terms_of(chain) | terms, MODEL)
    assert refusal == ("InvalidTerm", {"term": term})


@pytest.mark.parametrize("terms", AT_THE_BOUND)
def test_terms_at_their_bounds_are_taken_and_kept(chain: Chain, terms: dict[str, Any]) -> None:
    expected = terms_of(chain) | terms
    receipt = chain.send(chain.accounts[0], "registerJob", expected, MODEL)
    assert vars(chain.view("jobOf", 1).terms) == expected
    assert dict(receipt.event("JobRegistered")["terms"]) == expected


def test_a_contract_that_is_no_rule_is_refused(chain: Chain) -> None:
    terms = terms_of(chain) | {"rule": chain.ledger.address}
    with pytest.raises(Reverted, match="registerJob"):
        chain.send(chain.accounts[0], "registerJob", terms, MODEL)


def test_jobs_are_numbered_from_one(chain: Chain) -> None:
    assert chain.view("jobs") == 0
    assert [Job(chain).id, Job(chain).id] == [1, 2]
    assert chain.view("jobs") == 2


def test_registering_opens_the_first_round_on_the_initial_model(chain: Chain) -> None:
    job = Job(chain, pool=ETHER)
    kept = chain.view("jobOf", job.id)
    event = job.registered.event("JobRegistered")
    assert job.registered.event("JobFunded") == {"job": job.id, "funder": job.owner, "amount": ETHER}
    assert (kept.owner, kept.pool, kept.head) == (job.owner, ETHER, job.attempt.head)
    assert kept.root == event["model"]["root"] == job.root_of(job.attempt.model)
    assert (kept.state.round, kept.state.attempt, kept.state.origin, kept.state.updates) == (1, 1, 1, 0)
    assert chain.balance(chain.ledger.address) == ETHER


def test_heads_of_jobs_with_the_same_model_differ(chain: Chain) -> None:
    first, second = Job(chain), Job(chain)
    assert chain.view("jobOf", first.id).head != chain.view("jobOf", second.id).head


def test_calls_on_a_job_that_is_not_there_are_refused(chain: Chain) -> None:
    somebody = chain.accounts[0]
    unknown = ("UnknownJob", {"job": 7})
    assert chain.refusal(somebody, "fund", 7, value=1) == unknown
    assert chain.refusal(somebody, "admit", 7, [somebody]) == unknown
    assert chain.refusal(somebody, "join", 7, 1, ZERO) == unknown
    assert chain.refusal(somebody, "commitRound", 7, 1, ZERO, MODEL, []) == unknown
    assert chain.refusal(somebody, "reopenRound", 7, 1, ZERO, []) == unknown
    assert chain.refusal(somebody, "depositBond", 7, value=1) == unknown
    assert chain.refusal(somebody, "cancelJob", 7) == unknown
    assert chain.refusal(somebody, "finalizeJob", 7) == unknown
    assert chain.refusal(somebody, "claimReward", 7) == unknown
    assert chain.refusal(somebody, "jobOf", 7) == unknown
    assert chain.refusal(somebody, "withdrawBond", 7) == ("NothingToPay", {"account": somebody})
    assert chain.refusal(somebody, "submitUpdate", 7, 1, (ZERO, ZERO, 1)) == ("NotJoined", {"client": somebody})
