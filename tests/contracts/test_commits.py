"""commitRound and reopenRound: who may, when, over which updates, and what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts.ledger import ETHER, NEVER, NOBODY, ZERO, Chain, Job, ascending, content_of


def _refusal(job: Job, sender: str, **change: Any) -> tuple[str, dict[str, Any]]:
    """Of a commit that would be right but for the changes."""
    model = job.aggregate(change.get("excluded", ()))
    arguments = {
        "attempt": job.number,
        "head": job.attempt.head,
        "next": (job.root_of(model), content_of(model)),
        "excluded": [],
    } | change
    return job.refusal(sender, "commitRound", *arguments.values())


def test_a_commit_opens_the_next_round(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit()
    event = job.receipt.event("RoundCommitted")
    assert event == {
        "job": job.id,
        "attempt": 1,
        "server": job.server,
        "round": 1,
        "head": commit.attempt.head,
        "model": {"root": commit.next_tree.root, "content": content_of(commit.next)},
        "excluded": [],
        "time": job.receipt.time,
    }
    kept = chain.view("jobOf", job.id)
    assert (kept.root, kept.head) == (commit.next_tree.root, job.attempt.head)
    state = kept.state
    assert (state.round, state.attempt, state.origin, state.updates) == (2, 2, 2, 0)
    assert (state.closesAt, state.finalAt) == (NEVER, commit.time + job.terms["challengeSeconds"])
    assert job.account(job.server).lockedUntil == state.finalAt


def test_the_word_kept_is_the_hash_of_the_record(chain: Chain, job: Job) -> None:
    assert chain.view("recordOf", job.id, 1) == ZERO
    job.collect()
    commit = job.commit(excluded=[job.clients[1]])
    assert chain.view("recordOf", job.id, 1) == commit.word
    assert chain.view("recordOf", job.id, 0) == chain.view("recordOf", job.id, 2) == ZERO


def test_a_round_can_not_be_committed_while_it_collects(chain: Chain, job: Job) -> None:
    job.submit(job.clients[0])
    closes = job.submit(job.clients[1]).time + job.terms["collectSeconds"]
    chain.travel(closes - 1)
    assert _refusal(job, job.server) == ("RoundOpen", {"closesAt": closes})
    job.commit()
    assert job.receipt.time == closes


def test_another_head_or_attempt_is_refused(job: Job) -> None:
    job.collect()
    head = job.attempt.head
    assert _refusal(job, job.server, head=ZERO) == ("HeadChanged", {"named": ZERO, "current": head})
    assert _refusal(job, job.server, attempt=2) == ("WrongAttempt", {"named": 2, "current": 1})
    assert _refusal(job, job.server, attempt=0) == ("WrongAttempt", {"named": 0, "current": 1})


def test_a_commit_of_updates_that_a_reorganisation_swapped_does_not_land(chain: Chain, job: Job) -> None:
    snapshot = chain.tester.take_snapshot()
    job.collect()
    pending = job.commit_arguments(job.aggregate())
    chain.tester.revert_to_snapshot(snapshot)
    job.attempt.uploads.clear()
    job.attempt.head = job.first_head(1, job.root_of(job.attempt.model))
    job.collect(job.clients[::-1])
    refusal = job.refusal(job.server, "commitRound", *pending)
    assert refusal == ("HeadChanged", {"named": pending[1], "current": job.attempt.head})


# ---------------------------------------------------------------------------------------------------------- who may


def test_every_committer_needs_the_bond(chain: Chain) -> None:
    job = Job(chain)
    for client in job.clients:
        job.join(client)
    job.collect()
    assert _refusal(job, job.server) == ("BondTooSmall", {"amount": 0, "required": ETHER})
    job.bond(job.server, ETHER - 1)
    assert _refusal(job, job.server) == ("BondTooSmall", {"amount": ETHER - 1, "required": ETHER})
    job.bond(job.server, 1)
    job.commit()


def test_anybody_bonded_takes_over_after_the_server_had_its_time(chain: Chain, job: Job) -> None:
    job.collect()
    other = chain.accounts[8]
    job.bond(other)
    opens = job.state.closesAt + job.terms["aggregateSeconds"]
    chain.travel(opens - 1)
    refused = ("NotTheServer", {"caller": other, "server": job.server, "openFrom": opens})
    assert _refusal(job, other) == refused
    commit = job.commit(other)
    assert commit.time == opens
    assert chain.view("recordOf", job.id, 1) == commit.word


def test_the_server_may_still_commit_after_its_time(chain: Chain, job: Job) -> None:
    job.collect()
    chain.travel(job.state.closesAt + 10 * job.terms["aggregateSeconds"])
    job.commit()


def test_without_a_server_anybody_bonded_commits_at_once(chain: Chain) -> None:
    job = Job(chain, server=NOBODY).prepare()
    job.collect()
    other = chain.accounts[8]
    assert _refusal(job, other) == ("BondTooSmall", {"amount": 0, "required": ETHER})
    job.bond(other)
    job.commit(other)


# -------------------------------------------------------------------------------------------------------- exclusion


def test_excluding_takes_the_credit_of_the_attempt(job: Job) -> None:
    job.collect()
    left_out = job.clients[1]
    job.commit(excluded=[left_out])
    assert job.receipt.event("RoundCommitted")["excluded"] == [left_out]
    assert [job.client(client).credits for client in job.clients] == [1, 0, 1]
    assert job.state.totalCredits == 2


def test_excluded_addresses_have_to_ascend(chain: Chain) -> None:
    job = Job(chain, minUpdates=1, maxExcluded=2).prepare()
    job.collect()
    low, high = ascending(job.clients[:2])
    refused = ("ExcludedNotAscending", {"client": low})
    assert _refusal(job, job.server, excluded=[high, low]) == refused
    assert _refusal(job, job.server, excluded=[low, low]) == refused
    assert _refusal(job, job.server, excluded=[NOBODY]) == ("ExcludedNotAscending", {"client": NOBODY})
    job.commit(excluded=[low, high])


def test_only_submitters_of_the_attempt_can_be_excluded(chain: Chain, job: Job) -> None:
    absent = job.clients[2]
    job.collect(job.clients[:2])
    for address in (absent, chain.accounts[8]):
        refused = ("ExcludedNotSubmitter", {"client": address})
        assert job.refusal(job.server, "commitRound", *job.commit_arguments(job.aggregate(), [address])) == refused


def test_a_submitter_of_an_earlier_round_can_not_be_excluded(job: Job) -> None:
    earlier = job.clients[2]
    job.collect()
    job.commit()
    job.collect(job.clients[:2])
    refused = ("ExcludedNotSubmitter", {"client": earlier})
    assert job.refusal(job.server, "commitRound", *job.commit_arguments(job.aggregate(), [earlier])) == refused


def test_at_most_max_excluded_may_be_left_out(chain: Chain) -> None:
    job = Job(chain, minUpdates=1, maxExcluded=1).prepare()
    job.collect()
    excluded = ascending(job.clients[:2])
    assert _refusal(job, job.server, excluded=excluded) == ("TooManyExcluded", {"excluded": 2, "allowed": 1})


def test_min_updates_have_to_be_left(job: Job) -> None:
    job.collect(job.clients[:2])
    assert _refusal(job, job.server, excluded=[job.clients[0]]) == ("TooFewUpdates", {"left": 1, "required": 2})


# -------------------------------------------------------------------------------------------------------- reopening


def test_reopening_drops_the_excluded_and_collects_again(chain: Chain, job: Job) -> None:
    job.collect(job.clients[:2])
    silent = job.clients[0]
    receipt = job.reopen(excluded=[silent])
    assert receipt.event("RoundReopened") == {
        "job": job.id,
        "attempt": 1,
        "server": job.server,
        "round": 1,
        "excluded": [silent],
    }
    kept = chain.view("jobOf", job.id)
    assert (kept.head, kept.root) == (job.attempt.head, job.root_of(job.attempt.model))
    assert (kept.state.round, kept.state.attempt, kept.state.updates, kept.state.closesAt) == (1, 2, 0, NEVER)
    assert [job.client(client).credits for client in job.clients] == [0, 1, 0]
    job.collect()
    job.commit()
    assert job.state.round == 2


def test_a_round_with_enough_updates_is_not_reopened(job: Job) -> None:
    job.collect()
    refusal = job.refusal(job.server, "reopenRound", 1, job.attempt.head, [job.clients[0]])
    assert refusal == ("EnoughUpdates", {"left": 2, "required": 2})


def test_reopening_is_not_bounded_by_max_excluded(job: Job) -> None:
    job.collect()
    job.reopen(excluded=job.clients)
    assert job.state.totalCredits == 0


def test_reopening_is_for_those_who_may_commit(chain: Chain, job: Job) -> None:
    job.collect(job.clients[:2])
    other = chain.accounts[8]
    arguments = (1, job.attempt.head, [job.clients[0]])
    assert job.refusal(other, "reopenRound", *arguments)[0] == "BondTooSmall"
    job.bond(other)
    assert job.refusal(other, "reopenRound", *arguments)[0] == "NotTheServer"
    refusal = job.refusal(job.server, "reopenRound", 1, ZERO, arguments[2])
    assert refusal == ("HeadChanged", {"named": ZERO, "current": job.attempt.head})


@pytest.mark.parametrize("rounds", [4])
def test_attempts_grow_over_rounds_and_reopenings(chain: Chain, rounds: int) -> None:
    job = Job(chain, rounds=rounds).prepare()
    numbers = []
    for round in range(1, rounds + 1):
        job.collect()
        if round % 2:
            job.reopen(excluded=job.clients[:2])
            job.collect()
        job.commit()
        numbers.append(job.state.attempt)
    assert numbers == [3, 4, 6, 7]
