"""Contracts that misbehave: receivers that call back or refuse, and rules that break their word."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts.ledger import ETHER, ZERO, Actor, Chain, Commit, Job


def test_a_challenger_that_calls_back_is_paid_once(chain: Chain, job: Job, actor: Actor) -> None:
    job.bond(chain.accounts[9])
    job.collect()
    commit = job.commit_wrong()
    actor.call_back("challenge", job.id, commit.record, 0, commit.openings(0))
    actor.send("challenge", job.id, commit.record, 0, commit.openings(0))
    assert (actor.received, actor.entered) == (1, 0)
    assert chain.balance(actor.address) == ETHER // 2
    assert chain.balance(chain.ledger.address) == ETHER


def test_withdrawing_again_from_within_the_payment_gets_nothing(chain: Chain, job: Job, actor: Actor) -> None:
    actor.send("depositBond", job.id, value=7)
    actor.call_back("withdrawBond", job.id)
    actor.send("withdrawBond", job.id)
    assert (actor.received, actor.entered) == (1, 0)
    assert chain.balance(actor.address) == 7
    assert chain.balance(chain.ledger.address) == ETHER


def test_a_committer_that_calls_back_is_paid_a_deposit_once(chain: Chain, actor: Actor) -> None:
    job = Job(chain, server=actor.address)
    for client in job.clients:
        job.join(client)
    actor.send("depositBond", job.id, value=ETHER)
    job.collect()
    model = job.aggregate()
    receipt = actor.send("commitRound", job.id, *job.commit_arguments(model))
    commit = Commit(job.attempt, model, (), actor.address, receipt.time, 8)
    job.demand(chain.accounts[8], commit)
    actor.call_back("answer", job.id, commit.record, 0, commit.openings(0))
    actor.send("answer", job.id, commit.record, 0, commit.openings(0))
    assert (actor.received, actor.entered) == (1, 0)
    assert chain.balance(actor.address) == job.terms["demandDeposit"]


def test_a_challenger_that_refuses_ether_only_spoils_its_own_challenge(chain: Chain, job: Job, actor: Actor) -> None:
    job.collect()
    commit = job.commit_wrong()
    actor.refuse()
    refusal = actor.refusal("challenge", job.id, commit.record, 0, commit.openings(0))
    assert refusal == ("PaymentRefused", {"receiver": actor.address})
    job.challenge(chain.accounts[8], commit)


# --------------------------------------------------------------------------------------------------------------- rules

SHORT, REVERT, HUGE, GREEDY = 1, 2, 3, 4


def _misbehaving(chain: Chain, contracts: dict[str, dict[str, Any]], way: int) -> tuple[Job, Commit]:
    """A job whose rule misbehaves, and a commit of it."""
    rule = chain.deploy(contracts["HostileRule"])
    parameters = way.to_bytes(32, "big")
    job = Job(chain, rule_name="relay", rule=rule.address, ruleParameters=parameters).prepare()
    job.collect()
    return job, job.commit_wrong()


def test_a_chunk_of_another_length_is_the_rules_fault(chain: Chain, test_contracts: dict[str, dict[str, Any]]) -> None:
    job, commit = _misbehaving(chain, test_contracts, SHORT)
    refusal = job.refusal(chain.accounts[8], "challenge", commit.record, 0, commit.openings(0))
    assert refusal == ("RuleMisbehaved", {"length": 28})


@pytest.mark.parametrize("way", [REVERT, HUGE, GREEDY])
def test_a_rule_that_fails_slashes_nobody(chain: Chain, test_contracts: dict[str, dict[str, Any]], way: int) -> None:
    """Such a job can't be challenged, which is why nobody takes part in a job with an unknown rule."""
    job, commit = _misbehaving(chain, test_contracts, way)
    failure, _ = job.refusal(chain.accounts[8], "challenge", commit.record, 0, commit.openings(0))
    assert failure == "MalformedChunks" if way == REVERT else failure != "CommitIsRight"
    assert not job.account(job.server).barred


def test_a_rule_that_behaves_judges(chain: Chain, test_contracts: dict[str, dict[str, Any]]) -> None:
    job, commit = _misbehaving(chain, test_contracts, int.from_bytes(ZERO))
    job.challenge(chain.accounts[8], commit)
