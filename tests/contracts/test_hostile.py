"""Contracts that misbehave: receivers that call back or refuse, and rules that break their word."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts.ledger import ETHER, SALT, ZERO, Actor, Chain, Commit, Job, Reverted, challenge_arguments


def test_withdrawing_again_from_within_the_payment_gets_nothing(chain: Chain, job: Job, actor: Actor) -> None:
    actor.send("depositBond", job.id, value=7)
    actor.call_back("withdrawBond", job.id)
    actor.send("withdrawBond", job.id)
    assert (actor.received, actor.entered) == (1, 0)
    assert chain.balance(actor.address) == 7
    assert chain.balance(chain.ledger.address) == ETHER


def _credited(job: Job, actor: Actor) -> None:
    """Give the actor a balance of 5."""
    job.collect()
    commit = job.commit()
    actor.send("demand", job.id, commit.record, 0, 0, ZERO, value=job.terms["demandDeposit"] + 5)


def _all_credited(chain: Chain, actor: Actor) -> tuple[Job, dict[str, int]]:
    """A job in which the actor has a balance of 5, and server and clients theirs."""
    job = Job(chain, pool=1000, rounds=4).prepare()
    job.collect()
    commit = job.commit()
    job.collect()
    job.settle(commit)
    job.claim(commit)
    actor.send("demand", job.id, job.commit().record, 0, 0, ZERO, value=job.terms["demandDeposit"] + 5)
    owed = {account: job.account(account).balance for account in (job.server, *job.clients)}
    assert all(owed.values())
    return job, owed


def test_a_balance_is_paid_once_to_one_that_calls_back(chain: Chain, job: Job, actor: Actor) -> None:
    _credited(job, actor)
    actor.call_back("withdraw", job.id)
    actor.send("withdraw", job.id)
    assert (actor.received, actor.entered) == (1, 0)
    assert chain.balance(actor.address) == 5
    assert chain.balance(chain.ledger.address) == ETHER + job.terms["demandDeposit"]


def test_a_balance_is_paid_once_to_one_that_calls_back_when_another_pays(chain: Chain, job: Job, actor: Actor) -> None:
    _credited(job, actor)
    actor.call_back("withdrawFor", job.id, [actor.address])
    job.send(job.owner, "withdrawFor", [actor.address])
    assert (actor.received, actor.entered) == (1, 0)
    assert chain.balance(actor.address) == 5
    assert chain.balance(chain.ledger.address) == ETHER + job.terms["demandDeposit"]


def test_one_that_calls_back_amid_many_takes_nobody_else_s(chain: Chain, actor: Actor) -> None:
    """It pays the others out from within, which are then passed over."""
    job, owed = _all_credited(chain, actor)
    before = {account: chain.balance(account) for account in owed}
    held = chain.balance(chain.ledger.address)
    actor.call_back("withdrawFor", job.id, [actor.address, *owed])
    job.send(chain.accounts[-1], "withdrawFor", [actor.address, *owed])
    assert (actor.received, actor.entered) == (1, 1)
    assert chain.balance(actor.address) == 5
    assert {account: chain.balance(account) - before[account] for account in owed} == owed
    assert held - chain.balance(chain.ledger.address) == 5 + sum(owed.values())


def test_one_that_refuses_ether_keeps_nobody_from_paying_the_others(chain: Chain, actor: Actor) -> None:
    job, owed = _all_credited(chain, actor)
    actor.refuse()
    refused = "PaymentRefused", {"receiver": actor.address}
    assert job.refusal(job.owner, "withdrawFor", [*owed, actor.address]) == refused
    assert {account: job.account(account).balance for account in owed} == owed
    job.send(job.owner, "withdrawFor", list(owed))
    assert {job.account(account).balance for account in owed} == {0}


def test_one_that_refuses_ether_keeps_what_it_has(chain: Chain, job: Job, actor: Actor) -> None:
    _credited(job, actor)
    actor.refuse()
    assert actor.refusal("withdraw", job.id) == ("PaymentRefused", {"receiver": actor.address})
    assert job.refusal(job.owner, "withdrawFor", [actor.address]) == ("PaymentRefused", {"receiver": actor.address})
    assert job.account(actor.address).balance == 5


def test_a_finder_that_refuses_ether_finds_all_the_same(chain: Chain, job: Job, actor: Actor) -> None:
    job.collect()
    commit = job.commit_wrong()
    actor.refuse()
    actor.send("announce", commit.finding(actor.address, 0, SALT))
    actor.send("challenge", job.id, *challenge_arguments(commit))
    assert job.account(actor.address).balance == ETHER // 4


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
    refusal = job.challenge_refusal(chain.accounts[8], commit)
    assert refusal == ("RuleMisbehaved", {"length": 28})


@pytest.mark.parametrize("way", [REVERT, HUGE, GREEDY])
def test_a_rule_that_fails_slashes_nobody(chain: Chain, test_contracts: dict[str, dict[str, Any]], way: int) -> None:
    """Such a job can't be challenged, which is why nobody takes part in a job with an unknown rule."""
    job, commit = _misbehaving(chain, test_contracts, way)
    failure, _ = job.challenge_refusal(chain.accounts[8], commit)
    assert failure == "MalformedChunks" if way == REVERT else failure != "CommitIsRight"
    assert not job.account(job.server).barred


def test_a_rule_that_behaves_judges(chain: Chain, test_contracts: dict[str, dict[str, Any]]) -> None:
    job, commit = _misbehaving(chain, test_contracts, int.from_bytes(ZERO))
    job.challenge(chain.accounts[8], commit)


# ------------------------------------------------------------------------------------------------- rules, registered

STEADY, WRITES, BURNS, WANTS_ALL_GAS, CHANGES_ITS_MIND, REENTERS = range(6)


@pytest.mark.parametrize("way", [WRITES, BURNS, WANTS_ALL_GAS, REENTERS])
def test_a_job_whose_rule_is_hostile_when_asked_is_not_registered(
    chain: Chain, test_contracts: dict[str, dict[str, Any]], way: int
) -> None:
    rule = chain.deploy(test_contracts["FickleRule"])
    chain.send(chain.accounts[0], "behave", way, chain.ledger.address, to=rule)
    with pytest.raises(Reverted, match="registerJob"):
        Job(chain, rule_name="relay", rule=rule.address)
    assert chain.view("jobs") == 0
    chain.send(chain.accounts[0], "behave", STEADY, chain.ledger.address, to=rule)
    assert Job(chain, rule_name="relay", rule=rule.address).id == 1


def test_a_rule_that_changes_its_mind_harms_its_own_job_alone(
    chain: Chain, test_contracts: dict[str, dict[str, Any]]
) -> None:
    """Such a job can revert what was right. What it said of the model when it was registered stays."""
    rule = chain.deploy(test_contracts["FickleRule"])
    other = Job(chain, pool=9 * ETHER).prepare()
    other.collect()
    kept = other.commit()
    job = Job(chain, pool=9 * ETHER, rule_name="relay", rule=rule.address).prepare()
    job.collect()
    commit = job.commit()
    chain.send(chain.accounts[0], "behave", CHANGES_ITS_MIND, chain.ledger.address, to=rule)
    assert not job.state.keepsModel
    job.challenge(chain.accounts[8], commit)
    assert job.account(job.server).barred
    assert (other.account(other.server).bond, other.state.round) == (ETHER, 2)
    assert chain.view("recordOf", other.id, 1) == kept.word
