"""commitRound and reopenRound: who may, when, over which entries, and what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts.ledger import ETHER, NEVER, NOBODY, SALT, ZERO, Chain, Job, bit_map, content_of


def _refusal(job: Job, sender: str, **change: Any) -> tuple[str, dict[str, Any]]:
    """Of a commit that would be right but for the changes; `excluded` by numbers."""
    excluded = change.pop("excluded", ())
    model = job.aggregate(excluded)
    arguments = {
        "attempt": job.number,
        "head": job.attempt.head,
        "next": (job.root_of(model), content_of(model)),
        "excluded": bit_map(excluded, len(job.attempt.uploads)),
        "nodes": b"",
        "nodesContent": ZERO,
        "salt": ZERO,
    } | change
    return job.refusal(sender, "commitRound", *arguments.values())


def test_a_commit_opens_the_next_round(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit()
    event = job.receipt.event("RoundCommitted")
    assert (event["job"], event["attempt"], event["server"]) == (job.id, 1, job.server)
    assert event["record"] == {
        "attempt": 1,
        "round": 1,
        "updates": 3,
        "head": commit.attempt.head,
        "previousRoot": commit.previous_tree.root,
        "next": {"root": commit.next_tree.root, "content": content_of(commit.next)},
        "excluded": b"\0",
        "nodesHash": ZERO,
        "reward": 0,
        "allottedBefore": 0,
        "share": 2000,
        "server": job.server,
        "time": job.receipt.time,
    }
    kept = chain.view("jobOf", job.id)
    assert (kept.root, kept.head) == (commit.next_tree.root, job.attempt.head)
    state = kept.state
    assert (state.round, state.attempt, state.origin, state.updates) == (2, 2, 2, 0)
    assert (state.closesAt, state.activeAt, state.highest, state.built) == (NEVER, commit.time, 1, False)
    assert job.account(job.server).lockedUntil == job.window_end(commit)


def test_the_word_kept_is_the_hash_of_the_record(chain: Chain, job: Job) -> None:
    assert chain.view("recordOf", job.id, 1) == ZERO
    job.collect()
    commit = job.commit(excluded=[1])
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
    job.attempt.blocks.clear()
    job.collect(job.clients[::-1])
    refusal = job.refusal(job.server, "commitRound", *pending)
    assert refusal == ("HeadChanged", {"named": pending[1], "current": job.attempt.head})


# ---------------------------------------------------------------------------------------------------------- who may


def test_every_committer_needs_the_bond(chain: Chain) -> None:
    job = Job(chain)
    for client in job.clients:
        job.join(client)
    job.collect()
    assert _refusal(job, job.server) == ("BondTooSmall", {"bond": 0, "required": ETHER})
    job.bond(job.server, ETHER - 1)
    assert _refusal(job, job.server) == ("BondTooSmall", {"bond": ETHER - 1, "required": ETHER})
    job.bond(job.server, 1)
    job.commit()


def test_anybody_bonded_takes_over_after_the_server_had_its_time(chain: Chain, job: Job) -> None:
    job.collect()
    other = chain.accounts[8]
    job.bond(other)
    opens = job.state.closesAt + job.terms["aggregateSeconds"]
    chain.travel(opens - 1)
    refused = ("NotYet", {"caller": other, "openFrom": opens})
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
    assert _refusal(job, other) == ("BondTooSmall", {"bond": 0, "required": ETHER})
    job.bond(other)
    job.commit(other)


def _late(chain: Chain, **terms: Any) -> tuple[Job, str]:
    """A job whose named server has just been superseded, and the account that did it."""
    job = Job(chain, **({"rounds": 5} | terms)).prepare()
    other = chain.accounts[8]
    job.bond(other)
    job.collect()
    commit = job.commit()
    chain.travel(commit.time + job.terms["idleSeconds"])
    job.supersede(other, commit)
    return job, other


def test_a_late_account_never_commits_what_a_rollback_has_closed_again(chain: Chain) -> None:
    job, other = _late(chain)
    never = ("NotYet", {"caller": job.server, "openFrom": NEVER})
    assert _refusal(job, job.server) == never
    chain.travel(job.state.closesAt + 100 * job.terms["aggregateSeconds"])
    assert _refusal(job, job.server) == never
    # The others do.
    job.commit(other)


def test_a_late_account_commits_from_three_turns_on_and_the_others_do_not_wait_for_it(chain: Chain) -> None:
    job, other = _late(chain)
    job.commit(other)
    job.collect()
    opens = job.state.closesAt + 3 * job.terms["aggregateSeconds"]
    assert _refusal(job, job.server) == ("NotYet", {"caller": job.server, "openFrom": opens})
    snapshot = chain.tester.take_snapshot()
    assert job.copy().commit(other).time == job.state.activeAt < opens
    chain.tester.revert_to_snapshot(snapshot)
    chain.travel(opens - 2)
    assert _refusal(job, job.server)[0] == "NotYet"
    chain.travel(opens - 1)
    assert job.commit().time == opens


def test_a_late_account_has_its_turn_in_an_attempt_that_was_reopened_and_not_before_the_named_server(
    chain: Chain,
) -> None:
    job, other = _late(chain)
    chain.travel(job.state.closesAt + 4 * job.terms["aggregateSeconds"])
    job.reopen(other)
    job.collect()
    opens = job.state.closesAt + 3 * job.terms["aggregateSeconds"]
    assert _refusal(job, job.server) == ("NotYet", {"caller": job.server, "openFrom": opens})
    chain.travel(opens - 1)
    assert job.commit().time == opens


def test_a_late_account_that_is_not_named_waits_as_long_and_the_named_server_does_not(chain: Chain) -> None:
    job = Job(chain, rounds=5).prepare()
    late = chain.accounts[8]
    job.bond(late)
    job.collect()
    chain.travel(job.state.closesAt + job.terms["aggregateSeconds"])
    commit = job.commit(late)
    chain.travel(commit.time + job.terms["idleSeconds"])
    job.supersede(job.server, commit)
    assert _refusal(job, late) == ("NotYet", {"caller": late, "openFrom": NEVER})
    job.commit()
    job.collect()
    opens = job.state.closesAt + 3 * job.terms["aggregateSeconds"]
    assert _refusal(job, late) == ("NotYet", {"caller": late, "openFrom": opens})
    job.commit()


# ------------------------------------------------------------------------------------------------------- the reward


def test_each_round_is_worth_an_equal_part_of_what_is_left(chain: Chain) -> None:
    job = Job(chain, pool=1000, rounds=3).prepare()
    rewards = []
    for added in (0, 0, 50):
        job.send(job.owner, "fund", value=added)
        job.collect()
        commit = job.commit()
        rewards.append((commit.reward, commit.allotted_before))
        assert chain.view("recordOf", job.id, commit.round) == commit.word
        assert chain.view("jobOf", job.id).allotted == job.allotted
    assert rewards == [(333, 0), (333, 333), (384, 666)]


def test_a_rollback_takes_back_what_was_allotted(chain: Chain) -> None:
    job = Job(chain, pool=900, rounds=3).prepare()
    job.collect()
    job.commit()
    job.collect()
    wrong = job.commit_wrong()
    assert chain.view("jobOf", job.id).allotted == 600
    job.challenge(chain.accounts[8], wrong)
    assert chain.view("jobOf", job.id).allotted == 300
    job.bond(chain.accounts[9])
    assert job.commit(chain.accounts[9]).reward == 300


def test_another_than_the_server_earns_its_share_by_an_announcement(chain: Chain, job: Job) -> None:
    other = chain.accounts[8]
    job.bond(other)
    job.collect()
    chain.travel(job.state.closesAt + job.terms["aggregateSeconds"])
    snapshot = chain.tester.take_snapshot()
    twin = job.copy()
    assert twin.commit(other).share == 0
    assert chain.view("recordOf", job.id, 1) == twin.commits[1].word
    chain.tester.revert_to_snapshot(snapshot)
    assert job.commit(other, salt=SALT).share == 2000
    assert chain.view("recordOf", job.id, 1) == job.commits[1].word


@pytest.mark.parametrize(("waits", "counts"), [(3599, True), (3600, False)])
def test_an_announcement_of_a_commit_counts_for_an_hour(chain: Chain, job: Job, waits: int, counts: bool) -> None:
    other = chain.accounts[8]
    job.bond(other)
    job.collect()
    announced = job.announce_commit(other, job.aggregate(), SALT).time
    chain.travel(announced + waits)
    receipt = job.send(other, "commitRound", *job.commit_arguments(job.aggregate(), salt=SALT))
    assert receipt.time == announced + waits + 1
    assert (receipt.event("RoundCommitted")["record"]["share"] != 0) == counts


def test_an_announcement_of_somebody_else_or_of_another_model_earns_nothing(chain: Chain, job: Job) -> None:
    first, copier = chain.accounts[8:10]
    for server in (first, copier):
        job.bond(server)
    job.collect()
    job.announce_commit(first, job.aggregate(), SALT)
    # The digest as the copier sees it on the chain, and one of another model.
    job.send_announcement_of(copier, first, job.aggregate(), SALT)
    job.announce_commit(copier, job.attempt.model, SALT)
    chain.travel(job.state.closesAt + job.terms["aggregateSeconds"])
    receipt = job.send(copier, "commitRound", *job.commit_arguments(job.aggregate(), salt=SALT))
    assert receipt.event("RoundCommitted")["record"]["share"] == 0


def test_without_a_named_server_everybody_announces(chain: Chain) -> None:
    job = Job(chain, server=NOBODY).prepare()
    job.collect()
    assert job.commit().share == 0
    job.collect()
    assert job.commit(salt=SALT).share == 2000
    assert chain.view("recordOf", job.id, 2) == job.commits[2].word


# -------------------------------------------------------------------------------------------------- max unsettled


def test_commits_and_reopenings_wait_for_settling_and_entries_do_not(chain: Chain) -> None:
    job = Job(chain, maxUnsettled=1, rounds=4).prepare()
    job.collect()
    first = job.commit()
    job.collect()
    chain.travel(job.state.closesAt + 10 * job.terms["aggregateSeconds"])
    refused = ("TooManyUnsettled", {"unsettled": 1, "allowed": 1})
    assert _refusal(job, job.server) == refused
    assert job.refusal(job.server, "reopenRound", job.number, job.attempt.head) == refused
    receipt = job.settle(first)
    assert job.state.closesAt == receipt.time == receipt.event("RoundSettled")["closesAt"]
    # Everybody's turn begins anew.
    other = chain.accounts[8]
    job.bond(other)
    opens = receipt.time + job.terms["aggregateSeconds"]
    assert _refusal(job, other) == ("NotYet", {"caller": other, "openFrom": opens})
    assert job.refusal(other, "reopenRound", job.number, job.attempt.head)[0] == "NotYet"
    job.commit()


def test_settling_leaves_an_attempt_alone_that_still_collects(chain: Chain) -> None:
    job = Job(chain, maxUnsettled=1, rounds=4, collectSeconds=5000, idleSeconds=10_000).prepare()
    job.collect()
    first = job.commit()
    chain.travel(job.window_end(first) - 50)
    job.submit(job.clients[0])
    closes = job.submit(job.clients[1]).time + 5000
    assert job.settle(first).event("RoundSettled")["closesAt"] == closes == job.state.closesAt


def test_settling_that_ends_nothing_leaves_the_turns_alone(chain: Chain) -> None:
    job = Job(chain, maxUnsettled=2, rounds=4).prepare()
    job.collect()
    first = job.commit()
    job.collect()
    closed = job.state.closesAt
    assert job.settle(first).event("RoundSettled")["closesAt"] == closed == job.state.closesAt


# -------------------------------------------------------------------------------------------------------- exclusion


def test_a_commit_leaves_out_entries_by_their_numbers(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit(excluded=[1])
    assert job.receipt.event("RoundCommitted")["record"]["excluded"] == b"\2"
    assert chain.view("recordOf", job.id, 1) == commit.word


@pytest.mark.parametrize("bits", [b"", b"\0\0", b"\x08", b"\x80", b"\0\1"])
def test_the_bit_map_has_a_bit_for_each_entry_and_no_more(job: Job, bits: bytes) -> None:
    job.collect()
    number, head, model, _, *others = job.commit_arguments(job.aggregate())
    refusal = job.refusal(job.server, "commitRound", number, head, model, bits, *others)
    assert refusal == ("MalformedExcluded", {"length": len(bits), "updates": 3})


def test_bits_are_counted_over_all_words(crowd: Job) -> None:
    """129 entries: 17 bytes, the last of which has one bit. All but one are too many, whichever that is."""
    for client in crowd.clients[:129]:
        crowd.submit(client)
    crowd.chain.travel(crowd.state.closesAt)
    number, head, model = 1, crowd.attempt.head, (b"\1" * 32, ZERO)
    sums = crowd.sums()
    assert sums
    nodes = sums.packed
    for left in (0, 7, 8, 64, 127, 128):
        bits = bit_map(set(range(129)) - {left}, 129)
        refusal = crowd.refusal(crowd.server, "commitRound", number, head, model, bits, nodes, ZERO, ZERO)
        assert refusal == ("TooFewUpdates", {"left": 1, "required": 2})
    bits = bit_map(set(range(129)) - {0, 128}, 129)
    receipt = crowd.send(crowd.server, "commitRound", number, head, model, bits, nodes, ZERO, ZERO)
    assert receipt.event("RoundCommitted")["record"]["excluded"] == bits


def test_at_most_max_excluded_may_be_left_out_for_two_turns(chain: Chain) -> None:
    job = Job(chain, minUpdates=1, maxExcluded=1).prepare()
    job.collect()
    all_from = job.state.closesAt + 2 * job.terms["aggregateSeconds"]
    chain.travel(all_from - 1)
    refusal = _refusal(job, job.server, excluded=[0, 2])
    assert refusal == ("TooManyExcluded", {"excluded": 2, "allowed": 1, "allFrom": all_from})
    assert job.commit(excluded=[0, 2]).time == all_from


def test_min_updates_have_to_be_left_whenever(chain: Chain, job: Job) -> None:
    job.collect(job.clients[:2])
    too_few = ("TooFewUpdates", {"left": 1, "required": 2})
    assert _refusal(job, job.server, excluded=[0]) == too_few
    chain.travel(job.state.closesAt + 5 * job.terms["aggregateSeconds"])
    assert _refusal(job, job.server, excluded=[0]) == too_few


# --------------------------------------------------------------------------------------------------------- the rule


def test_a_rule_that_keeps_the_model_takes_no_other_root(chain: Chain) -> None:
    job = Job(chain, rule_name="relay").prepare()
    assert job.state.keepsModel
    job.collect()
    named, root = b"\1" * 32, job.root_of(job.attempt.model)
    refusal = _refusal(job, job.server, next=(named, ZERO))
    assert refusal == ("ModelNotKept", {"named": named, "root": root})
    commit = job.commit()
    assert commit.next_tree.root == root
    # Its updates can be demanded all the same.
    job.demand(chain.accounts[8], commit, 1)
    job.answer(job.server, commit, 1)


# -------------------------------------------------------------------------------------------------------- reopening


def test_reopening_collects_again_from_everybody(chain: Chain, job: Job) -> None:
    job.collect(job.clients[:2])
    opens = job.state.closesAt + 4 * job.terms["aggregateSeconds"]
    chain.travel(opens - 1)
    arguments = (1, job.attempt.head)
    assert job.refusal(job.server, "reopenRound", *arguments) == ("NotYet", {"caller": job.server, "openFrom": opens})
    receipt = job.reopen()
    assert receipt.time == opens
    reopened = {"job": job.id, "attempt": 1, "sender": job.server, "round": 1, "time": opens}
    assert receipt.event("RoundReopened") == reopened
    kept = chain.view("jobOf", job.id)
    assert (kept.head, kept.root) == (job.attempt.head, job.root_of(job.attempt.model))
    assert (kept.state.round, kept.state.attempt, kept.state.updates, kept.state.closesAt) == (1, 2, 0, NEVER)
    job.collect()
    job.commit()
    assert job.state.round == 2


def test_reopening_is_for_anybody_bonded_whose_bond_it_locks(chain: Chain, job: Job) -> None:
    job.collect(job.clients[:2])
    chain.travel(job.state.closesAt + 4 * job.terms["aggregateSeconds"])
    other = chain.accounts[8]
    arguments = (1, job.attempt.head)
    assert job.refusal(other, "reopenRound", *arguments) == ("BondTooSmall", {"bond": 0, "required": ETHER})
    job.bond(other)
    refusal = job.refusal(other, "reopenRound", 1, ZERO)
    assert refusal == ("HeadChanged", {"named": ZERO, "current": job.attempt.head})
    assert job.refusal(other, "reopenRound", 2, arguments[1]) == ("WrongAttempt", {"named": 2, "current": 1})
    locked = job.reopen(other).time + job.terms["challengeSeconds"]
    assert job.refusal(other, "withdrawBond") == ("WindowOpen", {"endsAt": locked})
    assert job.refusal(other, "reopenRound", 2, job.attempt.head) == ("RoundOpen", {"closesAt": NEVER})


def test_reopening_leaves_the_model_built_upon_and_the_job_as_idle_as_it_was(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit()
    job.collect()
    chain.travel(job.state.closesAt + 4 * job.terms["aggregateSeconds"])
    job.reopen()
    assert (job.state.built, job.state.activeAt) == (True, commit.time)


def test_attempts_grow_over_rounds_and_reopenings(chain: Chain) -> None:
    job = Job(chain, rounds=4, maxUnsettled=4).prepare()
    numbers = []
    for round in range(1, 5):
        job.collect()
        if round % 2:
            chain.travel(job.state.closesAt + 4 * job.terms["aggregateSeconds"])
            job.reopen()
            job.collect()
        job.commit()
        numbers.append(job.state.attempt)
    assert numbers == [3, 4, 6, 7]
