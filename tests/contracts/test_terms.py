"""registerJob: every bound of the terms, from both sides."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts.ledger import ETHER, NEVER, NOBODY, ZERO, Chain, Job, Reverted, artifact, terms_of

MODEL = (b"\1" * 32, b"\2" * 32)
DAY = 86_400

OUT_OF_BOUNDS = [
    ("rounds", {"rounds": 0}),
    ("rounds", {"rounds": 2**31 + 1}),
    ("minUpdates", {"minUpdates": 0}),
    ("minUpdates", {"minUpdates": 4, "maxUpdates": 3}),
    ("maxUpdates", {"maxUpdates": 4097}),
    ("maxExcluded", {"maxExcluded": 4, "maxUpdates": 3}),
    ("maxWeight", {"maxWeight": 0}),
    ("maxWeight", {"maxWeight": 2**31, "maxUpdates": 2}),
    ("maxWeight", {"maxWeight": 2**32 - 1, "maxUpdates": 2}),
    ("serverShare", {"serverShare": 5001}),
    ("maxUnsettled", {"maxUnsettled": 0}),
    ("collectSeconds", {"collectSeconds": 30 * DAY + 1, "idleSeconds": 2**31}),
    ("aggregateSeconds", {"aggregateSeconds": 59}),
    ("aggregateSeconds", {"aggregateSeconds": 30 * DAY + 1, "idleSeconds": 2**31}),
    ("answerSeconds", {"answerSeconds": 299}),
    ("challengeSeconds", {"challengeSeconds": 4 * (2 + 5) * 300 - 1}),
    ("challengeSeconds", {"challengeSeconds": 4 * (3 + 5) * 300 - 1, "parameters": 33}),
    ("challengeSeconds", {"challengeSeconds": 2**31 + 1}),
    ("challengeSeconds", {"challengeSeconds": 2**31, "answerSeconds": 2**31 // 28 + 1}),
    ("challengeSeconds", {"challengeSeconds": 2**31, "answerSeconds": 2**32 - 1}),
    ("idleSeconds", {"idleSeconds": 100 + 4 * 200 - 1}),
    ("idleSeconds", {"idleSeconds": 2**31 + 1}),
    ("chunkParameters", {"chunkParameters": 0, "parameters": 300}),
    ("chunkParameters", {"chunkParameters": 12, "parameters": 300}),
    ("chunkParameters", {"chunkParameters": 264, "parameters": 300}),
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
    {"maxExcluded": 3, "maxUpdates": 3},
    {"maxExcluded": 0},
    {"maxWeight": 2**32 - 1, "maxUpdates": 1, "minUpdates": 1, "maxExcluded": 1},
    {"maxWeight": 2**31 - 1, "maxUpdates": 2},
    {"serverShare": 5000},
    {"serverShare": 0},
    {"maxUnsettled": 1},
    {"maxUnsettled": 2**32 - 1},
    {"collectSeconds": 0},
    {"collectSeconds": 30 * DAY, "aggregateSeconds": 30 * DAY, "idleSeconds": 150 * DAY},
    {"aggregateSeconds": 60},
    {"challengeSeconds": 4 * (2 + 5) * 300},
    {"challengeSeconds": 4 * (3 + 5) * 300, "parameters": 33},
    {"challengeSeconds": 2**31, "answerSeconds": 2**31 // 28},
    {"idleSeconds": 100 + 4 * 200},
    {"idleSeconds": 2**31},
    {"chunkParameters": 256, "parameters": 257},
    {"chunkParameters": 8, "parameters": 9},
    {"parameters": 2**40, "challengeSeconds": 60_000},
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
    state = kept.state
    assert (state.round, state.attempt, state.origin, state.updates) == (1, 1, 1, 0)
    assert (state.settled, state.lastRound, state.highest, state.closesAt) == (0, 3, 0, NEVER)
    assert (state.activeAt, state.built, state.cancelled) == (job.registered.time, False, False)
    assert (state.keepsModel, event["keepsModel"]) == (False, False)
    assert chain.balance(chain.ledger.address) == ETHER


def test_heads_of_jobs_with_the_same_model_differ(chain: Chain) -> None:
    first, second = Job(chain), Job(chain)
    assert chain.view("jobOf", first.id).head != chain.view("jobOf", second.id).head


def test_calls_on_a_job_that_is_not_there_are_refused(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit()
    somebody = chain.accounts[0]
    calls: dict[str, tuple[Any, ...]] = {
        "fund": (),
        "admit": ([somebody],),
        "expel": (somebody,),
        "registerKey": (ZERO,),
        "shareKey": (ZERO, b""),
        "join": (1, ZERO),
        "commitRound": (1, ZERO, MODEL, b"", b"", ZERO, ZERO),
        "reopenRound": (1, ZERO),
        "supersede": (commit.record,),
        "settle": (commit.record,),
        "claim": (commit.record, commit.submissions()),
        "depositBond": (),
        "cancelJob": (),
        "finalizeJob": (),
        "challenge": (commit.record, 0, 0, ZERO, b""),
        "demand": (commit.record, 0, 0, ZERO),
        "answer": (commit.record, 0, 0, b""),
        "expire": (commit.record, 0, 0),
        "jobOf": (),
    }
    for call, arguments in calls.items():
        assert chain.refusal(somebody, call, 7, *arguments) == ("UnknownJob", {"job": 7}), call
    for call in ("withdraw", "withdrawBond"):
        assert chain.refusal(somebody, call, 7) == ("NothingToPay", {"account": somebody})
    refusal = chain.refusal(somebody, "submitUpdate", 7, 1, ZERO, (ZERO, ZERO, 1))
    assert refusal == ("NotJoined", {"client": somebody})


# ------------------------------------------------------------------------------------------- what a job can't be


@pytest.mark.parametrize(("rule_name", "most"), [("relay", 154), ("coordinate_median", 128)])
def test_every_job_can_be_answered_within_a_transaction(chain: Chain, rule_name: str, most: int) -> None:
    """64 parameters a chunk and a depth of 13: bytes bound what is cheap to compute, gas what sorts."""
    terms = terms_of(chain, rule_name) | {"chunkParameters": 64, "parameters": 2**19, "challengeSeconds": 30_000}
    chain.send(chain.accounts[0], "registerJob", terms | {"maxUpdates": most}, MODEL)
    error, figures = chain.refusal(chain.accounts[0], "registerJob", terms | {"maxUpdates": most + 1}, MODEL)
    assert error == "AnswerTooLarge"
    assert (figures["sizeAllowed"], figures["gasAllowed"]) == (120_000, 15_000_000)
    assert figures["size"] > 120_000 or figures["gasNeeded"] > 15_000_000


@pytest.mark.parametrize(("trimmed", "min_updates", "taken"), [(0, 1, True), (1, 2, False), (1, 3, True)])
def test_a_rule_refuses_parameters_that_do_not_fit_every_number_of_updates(
    chain: Chain, trimmed: int, min_updates: int, taken: bool
) -> None:
    parameters = trimmed.to_bytes(32, "big")
    terms = terms_of(chain, "trimmed_mean") | {"ruleParameters": parameters, "minUpdates": min_updates}
    if taken:
        chain.send(chain.accounts[0], "registerJob", terms, MODEL)
    else:
        refusal = chain.refusal(chain.accounts[0], "registerJob", terms, MODEL)
        arguments = {"parameters": parameters, "minUpdates": min_updates, "maxUpdates": 3}
        assert refusal == ("ParametersRefused", arguments)


@pytest.mark.parametrize("chain_id", [1337, 31337])
def test_development_chains_take_shorter_times(chain: Chain, chain_id: int) -> None:
    """The chain of the other tests has another number, so that the other tests see the rule, and this one the exception."""
    short = {"aggregateSeconds": 1, "answerSeconds": 1, "collectSeconds": 0}
    assert chain.refusal(chain.accounts[0], "registerJob", terms_of(chain) | short, MODEL)[0] == "InvalidTerm"
    development = Chain(accounts=2, chain_id=chain_id)
    development.send(development.accounts[0], "registerJob", terms_of(development) | short, MODEL)
    for term in ("aggregateSeconds", "answerSeconds"):
        refusal = development.refusal(
            development.accounts[0], "registerJob", terms_of(development) | short | {term: 0}, MODEL
        )
        assert refusal == ("InvalidTerm", {"term": term})


def test_the_verifier_is_the_one_that_the_artifacts_have(chain: Chain) -> None:
    verifier = chain.view("verifier")
    assert chain.web3.eth.get_code(verifier).hex() == artifact("OpeningVerifier")["runtime"].removeprefix("0x")
    assert chain.web3.eth.get_code(chain.ledger.address).hex() == artifact("GalaxyLedger")["runtime"].removeprefix("0x")
