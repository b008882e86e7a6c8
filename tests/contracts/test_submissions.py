"""submitUpdate: who, when, how often, and the chain of heads."""

from __future__ import annotations

import pytest

from tests.contracts.ledger import NEVER, ZERO, Chain, Job


def test_the_head_is_the_one_that_a_watcher_computes(chain: Chain, job: Job) -> None:
    for client in job.clients:
        receipt = job.submit(client)
        upload = job.attempt.uploads[-1]
        assert chain.view("jobOf", job.id).head == job.attempt.head
        assert receipt.event("UpdatesSubmitted") == {
            "job": job.id,
            "attempt": 1,
            "first": len(job.attempt.uploads) - 1,
            "closesAt": job.state.closesAt,
            "entries": upload.entry,
        }
        assert len(upload.entry) == 88
    job.chain.travel(job.state.closesAt)
    job.commit()
    assert chain.view("jobOf", job.id).head == job.attempt.head
    job.submit(job.clients[0])
    assert chain.view("jobOf", job.id).head == job.attempt.head


def test_the_head_is_the_same_over_segments(crowd: Job) -> None:
    """64 blocks are a segment; what is kept of it is right before its end, at it, and after."""
    for count, client in enumerate(crowd.clients[:129], 1):
        crowd.submit(client)
        if count in (1, 63, 64, 65, 127, 128, 129):
            assert crowd.chain.view("jobOf", crowd.id).head == crowd.attempt.head


def test_a_submission_is_counted_and_remembered(job: Job) -> None:
    client = job.clients[0]
    job.submit(client)
    kept = job.client(client)
    assert (kept.samples, kept.attempt) == (100, 1)
    assert kept.digest == int.from_bytes(job.attempt.uploads[0].hash(job.id, 1, job.root_of(job.attempt.model))[12:])
    assert job.state.updates == 1


def test_an_update_lands_on_no_other_model(job: Job) -> None:
    """After a reorganisation the same attempt number can stand on another model."""
    client = job.clients[0]
    refusal = job.refusal(client, "submitUpdate", 1, b"\1" * 32, job.upload(client).update)
    assert refusal == ("WrongModel", {"named": b"\1" * 32, "current": job.root_of(job.attempt.model)})


def test_an_expelled_client_submits_nothing_more_and_what_is_in_stays(chain: Chain, job: Job) -> None:
    client, other = job.clients[:2]
    job.submit(client)
    for expelled in (client, other):
        receipt = job.send(job.owner, "expel", expelled)
        assert receipt.event("ClientExpelled") == {"job": job.id, "client": expelled}
    # The retry of what is in is as harmless as ever.
    assert job.send(client, "submitUpdate", *job.submit_arguments(job.attempt.uploads[0])).events == []
    refusal = job.refusal(other, "submitUpdate", *job.submit_arguments(job.upload(other)))
    assert refusal == ("Expelled", {"client": other})
    assert job.state.updates == 1


def test_only_a_joined_client_submits(chain: Chain, job: Job) -> None:
    stranger = chain.accounts[8]
    refusal = job.refusal(stranger, "submitUpdate", *job.submit_arguments(job.upload(stranger)))
    assert refusal == ("NotJoined", {"client": stranger})


def test_a_retry_does_nothing_and_a_different_update_is_refused(job: Job) -> None:
    client = job.clients[0]
    job.submit(client)
    state, kept = job.state, job.client(client)
    receipt = job.send(client, "submitUpdate", *job.submit_arguments(job.attempt.uploads[0]))
    assert receipt.events == []
    assert (job.state, job.client(client)) == (state, kept)
    refusal = job.refusal(client, "submitUpdate", *job.submit_arguments(job.upload(client)))
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
    model = job.root_of(job.attempt.model)
    assert job.refusal(client, "submitUpdate", 1, model, other) == ("AlreadySubmitted", {"attempt": 1})


def test_a_retry_with_another_model_is_none(job: Job) -> None:
    client = job.clients[0]
    job.submit(client)
    update = job.attempt.uploads[0].update
    assert job.refusal(client, "submitUpdate", 1, ZERO, update) == ("AlreadySubmitted", {"attempt": 1})


def test_a_retry_is_harmless_after_the_round_the_job_and_everything_has_ended(chain: Chain) -> None:
    job = Job(chain, rounds=1).prepare()
    client = job.clients[0]
    job.collect()
    arguments = job.submit_arguments(job.attempt.uploads[0])
    assert job.send(client, "submitUpdate", *arguments).events == []
    commit = job.commit()
    assert job.send(client, "submitUpdate", *arguments).events == []
    job.send(job.owner, "cancelJob")
    assert job.send(client, "submitUpdate", *arguments).events == []
    job.settle(commit)
    job.send(job.owner, "finalizeJob")
    assert job.send(client, "submitUpdate", *arguments).events == []


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
    arguments = job.submit_arguments(job.upload(client))[1:]
    assert job.refusal(client, "submitUpdate", attempt, *arguments) == expected


def test_a_delayed_submission_does_not_land_on_the_next_round(job: Job) -> None:
    late, *others = job.clients
    delayed = job.submit_arguments(job.upload(late))
    job.collect(others)
    job.commit()
    refusal = job.refusal(late, "submitUpdate", *delayed)
    assert refusal == ("WrongAttempt", {"named": 1, "current": 2})


@pytest.mark.parametrize(("weight", "taken"), [(0, False), (1, True), (100, True), (101, False), (2**32 - 1, False)])
def test_the_weight_is_at_least_one_and_at_most_the_samples(job: Job, weight: int, taken: bool) -> None:
    client = job.clients[0]
    upload = job.upload(client, weight=weight)
    if taken:
        job.send(client, "submitUpdate", *job.submit_arguments(upload))
    else:
        refusal = job.refusal(client, "submitUpdate", *job.submit_arguments(upload))
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
    refusal = job.refusal(late.client, "submitUpdate", *job.submit_arguments(late))
    assert refusal == ("RoundClosed", {"closedAt": closes})


def test_the_max_updates_th_ends_collecting_at_once(chain: Chain, job: Job) -> None:
    extra = chain.accounts[8]
    job.join(extra)
    for client in job.clients:
        receipt = job.submit(client)
    assert job.state.closesAt == receipt.time
    refusal = job.refusal(extra, "submitUpdate", *job.submit_arguments(job.upload(extra)))
    assert refusal == ("RoundClosed", {"closedAt": receipt.time})


def test_with_no_time_to_collect_the_min_updates_th_ends_it_at_once(chain: Chain) -> None:
    job = Job(chain, collectSeconds=0).prepare()
    job.submit(job.clients[0])
    receipt = job.submit(job.clients[1])
    assert job.state.closesAt == receipt.time
    refusal = job.refusal(job.clients[2], "submitUpdate", *job.submit_arguments(job.upload(job.clients[2])))
    assert refusal == ("RoundClosed", {"closedAt": receipt.time})


def test_updates_after_the_min_updates_th_do_not_move_the_end(chain: Chain) -> None:
    job = Job(chain, maxUpdates=4, minUpdates=1).prepare()
    closes = job.submit(job.clients[0]).time + job.terms["collectSeconds"]
    chain.travel(closes - 10)
    job.submit(job.clients[1])
    assert job.state.closesAt == closes


# ------------------------------------------------------------------------------------------------ further attempts


@pytest.mark.parametrize(("collect", "base"), [(0, 200), (100, 200), (500, 500)])
def test_every_further_attempt_of_a_round_collects_twice_as_long(chain: Chain, collect: int, base: int) -> None:
    job = Job(chain, collectSeconds=collect, aggregateSeconds=200, idleSeconds=2000).prepare()
    for further in range(12):
        job.submit(job.clients[0])
        reached = job.submit(job.clients[1]).time
        expected = base * 2 ** min(further, 10) if further else collect
        assert job.state.closesAt == reached + expected
        chain.travel(job.state.closesAt + 4 * 200)
        job.reopen()


def test_max_updates_end_a_further_attempt_at_once_and_a_commit_begins_anew(chain: Chain, job: Job) -> None:
    job.collect()
    chain.travel(job.state.closesAt + 4 * job.terms["aggregateSeconds"])
    job.reopen()
    for client in job.clients:
        receipt = job.submit(client)
    assert job.state.closesAt == receipt.time
    assert job.state.reopenings == 1
    job.commit()
    assert job.state.reopenings == 0
    job.submit(job.clients[0])
    assert job.state.closesAt == NEVER
    assert job.submit(job.clients[1]).time + job.terms["collectSeconds"] == job.state.closesAt


def test_the_min_updates_th_builds_upon_the_model(job: Job) -> None:
    job.collect()
    job.commit()
    job.submit(job.clients[0])
    assert not job.state.built
    job.submit(job.clients[1])
    assert job.state.built
