"""What the watchtower does apart from catching liars, which is played in tests/adversary."""

from __future__ import annotations

import pytest

from galaxy_chain.exceptions import UnknownJobError
from galaxy_chain.ledger.structs import Record
from galaxy_chain.watch import Finding, Watchtower
from tests.galaxy_chain.federation import Federation, made_up

DEPOSIT = 10**16


def watch(federation: Federation, account: int = 6, grace: float = 0) -> Watchtower:
    """A watchtower of one of the chain's accounts."""
    return Watchtower(federation.ledger(federation.node.accounts[account]), federation.store, federation.job, grace)


def commit_wrong(federation: Federation) -> Record:
    """A wrong commit of the current round, and its record."""
    federation.submit(0, 1, 2)
    federation.commit(made_up(99))
    return watch(federation).history.commits[1].record


def withhold(federation: Federation, record: Record) -> bytes:
    """Takes a committed model out of the store, and gives it."""
    path = federation.content(record.next.content)
    content = path.read_bytes()
    path.unlink()
    return content


def test_a_right_commit_is_found_right_once(federation):
    watching = watch(federation)
    assert watching.look() == []
    federation.submit(0, 1, 2)
    federation.commit()
    assert watching.look() == [Finding(1, "right")]
    assert watching.look() == []


def test_it_ends_when_nothing_more_can_be_challenged(federation):
    federation.job = federation.register(rounds=1)
    watching = watch(federation)
    assert not watching.over
    federation.submit(0, 1, 2)
    federation.commit()
    assert not watching.over
    watching.look()
    assert not watching.over  # another may be wrong about it still, and be heard
    federation.travel(86_500)
    watching.look()
    assert watching.over


def test_it_ends_with_a_cancelled_job(federation):
    watching = watch(federation)
    federation.ledger(federation.owner).transact("cancelJob", federation.job)
    watching.look()
    assert watching.over


def test_what_is_wrong_and_can_not_be_challenged_any_more_is_passed_over(federation):
    federation.job = federation.register(rounds=1)
    commit_wrong(federation)
    federation.travel(86_500)
    watching = watch(federation)
    assert watching.look() == []
    assert watching.over
    assert not federation.ledger().account(federation.job, federation.server).barred


def test_content_may_take_its_time_before_it_counts_as_withheld(federation):
    content = withhold(federation, commit_wrong(federation))
    watching = watch(federation, grace=1_000)
    assert watching.look() == []
    federation.travel(900)
    assert watching.look() == []
    federation.store.put(content)
    assert [finding.verdict for finding in watching.look()] == ["challenged"]


def test_withheld_content_is_demanded_after_the_grace(federation):
    withhold(federation, commit_wrong(federation))
    watching = watch(federation, grace=1_000)
    federation.travel(1_100)
    (finding,) = watching.look()
    assert (finding.verdict, finding.round, finding.chunk) == ("demanded", 1, 0)
    assert finding.reason.startswith("it is wrong and withheld: the model after round 1")
    assert not watching.over


def test_a_demand_of_another_neither_stops_a_challenge_nor_is_paid_for(federation):
    record = commit_wrong(federation)
    other = federation.ledger(federation.node.accounts[7])
    other.transact("demand", federation.job, record, 2, value=DEPOSIT)
    assert [finding.verdict for finding in watch(federation).look()] == ["challenged"]
    assert other.account(federation.job, federation.server).demands == 1  # the other's deposit waits for it


def test_the_deposits_of_demands_that_became_void_come_back(federation):
    record = commit_wrong(federation)
    content = withhold(federation, record)
    patient = watch(federation)
    assert [finding.verdict for finding in patient.look()] == ["demanded"]
    patient.ledger.transact("demand", federation.job, record, 2, value=2 * DEPOSIT)
    federation.store.put(content)
    assert [finding.verdict for finding in watch(federation, 7).look()] == ["challenged"]
    refunded = [finding for finding in patient.look() if finding.verdict == "refunded"]
    assert [(finding.round, finding.chunk) for finding in refunded] == [(1, 0), (1, 2)]
    assert patient.ledger.account(federation.job, federation.node.accounts[6]).amount == 3 * DEPOSIT
    assert patient.look() == []
    assert patient.ledger.job(federation.job).state.open_demands == 0


def test_two_watchtowers_that_want_the_same_chunk_pay_for_it_once(federation):
    withhold(federation, commit_wrong(federation))
    first, second = watch(federation), watch(federation, 7)
    assert [finding.verdict for finding in first.look()] == ["demanded"]
    assert second.look() == []
    assert second.look() == []
    assert first.ledger.job(federation.job).state.open_demands == 1
    federation.travel(3_700)
    assert [finding.verdict for finding in second.look()] == ["expired"]
    assert first.look() == []
    amounts = [first.ledger.account(federation.job, federation.node.accounts[index]).amount for index in (6, 7)]
    assert amounts == [10**18 // 2 + DEPOSIT, 0]


def test_an_overdue_demand_of_another_is_ended_for_it(federation):
    record = commit_wrong(federation)
    withhold(federation, record)
    other = federation.node.accounts[7]
    federation.ledger(other).transact("demand", federation.job, record, 2, value=DEPOSIT)
    federation.travel(3_700)
    assert watch(federation).look() == [Finding(1, "expired", 2, "the server did not answer")]
    assert federation.ledger().account(federation.job, other).amount == 10**18 // 2 + DEPOSIT


def test_there_is_nothing_to_watch_in_a_job_that_is_not_there(federation):
    federation.job = 999
    with pytest.raises(UnknownJobError):
        watch(federation)
