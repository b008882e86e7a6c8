"""submitUpdate: who, when, how often, and the chain of heads."""

from __future__ import annotations

import pytest

from tests.contracts.ledger import NEVER, ZERO, Chain, Job


def test_the_head_is_the_one_that_a_watcher_computes(chain: Chain, job: Job) -> None:
    for client in job.clients:
        receipt = job.submit(client)
        upload = job.attempt.uploads[-1]
        event = receipt.event("UpdateSubmitted")
        assert chain.view("jobOf", job.id).head == job.attempt.head
        assert (event["job"], event["attempt"], event["client"], event["round"]) == (job.id, 1, client, 1)
        assert tuple(event["update"].values()) == upload.update
    job.chain.travel(job.state.closesAt)
    job.commit()
    assert chain.view("jobOf", job.id).head == job.attempt.head
    job.submit(job.clients[0])
    assert chain.view("jobOf", job.id).head == job.attempt.head


def test_a_submission_is_counted_and_credited(job: Job) -> None:
    client = job.clients[0]
    job.submit(client)
    kept = job.client(client)
    assert (kept.samples, kept.attempt, kept.credits) == (100, 1, 1)
    assert kept.digest == job.attempt.uploads[0].digest
    assert (job.state.updates, job.state.totalCredits) == (1, 1)


def test_only_a_joined_client_submits(chain: Chain, job: Job) -> None:
    stranger = chain.accounts[8]
    refusal = job.refusal(stranger, "submitUpdate", 1, job.upload(stranger).update)
    assert refusal == ("NotJoined", {"client": stranger})


def test_a_retry_does_nothing_and_a_different_update_is_refused(job: Job) -> None:
    client = job.clients[0]
    job.submit(client)
    state, kept = job.state, job.client(client)
    receipt = job.send(client, "submitUpdate", 1, job.attempt.uploads[0].update)
    assert receipt.events == []
    assert (job.state, job.client(client)) == (state, kept)
    refusal = job.refusal(client, "submitUpdate", 1, job.upload(client).update)
    assert refusal == ("AlreadySubmitted", {"attempt": 1})


@pytest.mark.parametrize("field", ["commitment", "content", "weight"])
def test_an_update_that_differs_in_one_field_is_no_retry(job: Job, field: str) -> None:
    client = job.clients[0]
    job.submit(client)
    commitment, content, weight = job.attempt.uploads[0].update
    other = {
        "commitment": (ZERO, content, weight),
        "content": (commitment, ZERO, weight),
        "weight": (commitment, content, weight + 1),
    }[field]
    assert job.refusal(client, "submitUpdate", 1, other) == ("AlreadySubmitted", {"attempt": 1})


def test_a_retry_is_harmless_after_the_round_the_job_and_everything_has_ended(chain: Chain, job: Job) -> None:
    client = job.clients[0]
    job.collect()
    update = job.attempt.uploads[0].update
    assert job.send(client, "submitUpdate", 1, update).events == []
    job.commit()
    assert job.send(client, "submitUpdate", 1, update).events == []
    job.send(job.owner, "cancelJob")
    assert job.send(client, "submitUpdate", 1, update).events == []
    chain.travel(job.state.finalAt)
    job.send(job.owner, "finalizeJob")
    assert job.send(client, "submitUpdate", 1, update).events == []
    assert (job.client(client).credits, job.state.totalCredits) == (1, 3)


@pytest.mark.parametrize("attempt", [0, 2, 2**32 - 1])
def test_another_attempt_than_the_current_one_is_refused(job: Job, attempt: int) -> None:
    client = job.clients[0]
    job.submit(job.clients[1])
    expected = (
        ("AlreadySubmitted", {"attempt": 0})
        if attempt == 0
        else (
            "WrongAttempt",
            {"named": attempt, "current": 1},
        )
    )
    assert job.refusal(client, "submitUpdate", attempt, job.upload(client).update) == expected


def test_a_delayed_submission_does_not_land_on_the_next_round(job: Job) -> None:
    late, *others = job.clients
    delayed = job.upload(late)
    job.collect(others)
    job.commit()
    refusal = job.refusal(late, "submitUpdate", 1, delayed.update)
    assert refusal == ("WrongAttempt", {"named": 1, "current": 2})


@pytest.mark.parametrize(("weight", "taken"), [(0, False), (1, True), (100, True), (101, False), (2**32 - 1, False)])
def test_the_weight_is_at_least_one_and_at_most_the_samples(job: Job, weight: int, taken: bool) -> None:
    client = job.clients[0]
    upload = job.upload(client, weight=weight)
    if taken:
        job.send(client, "submitUpdate", 1, upload.update)
    else:
        refusal = job.refusal(client, "submitUpdate", 1, upload.update)
        assert refusal == ("WeightOutOfRange", {"weight": weight, "declared": 100})


# --------------------------------------------------------------------------------------------------------- closing


def test_a_round_with_too_few_updates_waits_for_ever(chain: Chain, job: Job) -> None:
    job.submit(job.clients[0])
    assert job.state.closesAt == NEVER
    chain.travel(chain.now + 10 * 365 * 86_400)
    refusal = job.refusal(job.server, "commitRound", *job.commit_arguments(job.aggregate()))
    assert refusal == ("RoundOpen", {"closesAt": NEVER})
    job.submit(job.clients[1])


def test_the_min_updates_th_starts_the_end_of_collecting(chain: Chain, job: Job) -> None:
    job.submit(job.clients[0])
    closes = job.submit(job.clients[1]).time + job.terms["collectSeconds"]
    assert job.state.closesAt == closes
    chain.travel(closes - 2)
    late = job.upload(job.clients[2])
    snapshot = chain.tester.take_snapshot()
    assert job.submit(job.clients[2]).time == closes - 1
    chain.tester.revert_to_snapshot(snapshot)
    chain.travel(closes)
    refusal = job.refusal(late.client, "submitUpdate", 1, late.update)
    assert refusal == ("RoundClosed", {"closedAt": closes})


def test_the_max_updates_th_ends_collecting_at_once(chain: Chain, job: Job) -> None:
    extra = chain.accounts[8]
    job.join(extra)
    for client in job.clients:
        receipt = job.submit(client)
    assert job.state.closesAt == receipt.time
    refusal = job.refusal(extra, "submitUpdate", 1, job.upload(extra).update)
    assert refusal == ("RoundClosed", {"closedAt": receipt.time})


def test_with_no_time_to_collect_the_min_updates_th_ends_it_at_once(chain: Chain) -> None:
    job = Job(chain, collectSeconds=0).prepare()
    job.submit(job.clients[0])
    receipt = job.submit(job.clients[1])
    assert job.state.closesAt == receipt.time
    refusal = job.refusal(job.clients[2], "submitUpdate", 1, job.upload(job.clients[2]).update)
    assert refusal == ("RoundClosed", {"closedAt": receipt.time})


def test_updates_after_the_min_updates_th_do_not_move_the_end(chain: Chain) -> None:
    job = Job(chain, maxUpdates=4, minUpdates=1).prepare()
    closes = job.submit(job.clients[0]).time + job.terms["collectSeconds"]
    chain.travel(closes - 10)
    job.submit(job.clients[1])
    assert job.state.closesAt == closes
