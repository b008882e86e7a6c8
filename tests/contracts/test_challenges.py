"""announce and challenge: a wrong chunk is proved wrong, a right one is not, and what follows."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from galaxy_fl.vectors import Vector
from tests.contracts.ledger import (
    ETHER,
    NEVER,
    NOBODY,
    SALT,
    ZERO,
    Chain,
    Commit,
    Job,
    challenge_arguments,
    pack_openings,
)

LAST = 2
"""The index of the last chunk, half of which is padding."""


@pytest.fixture
def commit(job: Job) -> Commit:
    """A commit whose first chunk is wrong, of three updates."""
    job.collect()
    return job.commit_wrong()


# ------------------------------------------------------------------------------------------------- right and wrong


@pytest.mark.parametrize("index", [0, 1, LAST])
def test_a_right_chunk_can_not_be_challenged(chain: Chain, job: Job, index: int) -> None:
    job.collect()
    commit = job.commit()
    refusal = job.challenge_refusal(chain.accounts[8], commit, index)
    assert refusal == ("CommitIsRight", {"round": 1, "node": 0, "index": index})


@pytest.mark.parametrize("index", [0, 1, LAST])
@pytest.mark.parametrize("parameter", [0, 3])
def test_one_wrong_parameter_is_enough(chain: Chain, job: Job, index: int, parameter: int) -> None:
    job.collect()
    model = job.aggregate()
    model[index * 8 + parameter] -= 1
    commit = job.commit(next=model)
    for other in {0, 1, LAST} - {index}:
        refusal = job.challenge_refusal(chain.accounts[8], commit, other)
        assert refusal == ("CommitIsRight", {"round": 1, "node": 0, "index": other})
    job.challenge(chain.accounts[8], commit, index)


def test_leaving_out_an_update_without_saying_so_is_wrong(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit(next=job.aggregate(excluded=[0]))
    job.challenge(chain.accounts[8], commit, 1)


def test_a_right_commit_with_an_exclusion_stands(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit(excluded=[1])
    refusal = job.challenge_refusal(chain.accounts[8], commit, 1)
    assert refusal == ("CommitIsRight", {"round": 1, "node": 0, "index": 1})


def test_a_wrong_node_behind_the_last_leaf_is_wrong(chain: Chain, job: Job) -> None:
    """All chunks are right, but the root is not that of the model: nobody could ever fit content to it."""
    job.collect()
    leaves, pad = _leaves(job.aggregate()), b"\1" * 32
    commit = _commit_root(job, _root_over(leaves, pad))
    for index, path in enumerate([leaves[1] + _node(leaves[2] + pad), leaves[0] + _node(leaves[2] + pad)]):
        openings = _with_next(commit, index, commit.next_tree.opening(index).chunk + path)
        refusal = job.challenge_refusal(chain.accounts[8], commit, index, openings)
        assert refusal == ("CommitIsRight", {"round": 1, "node": 0, "index": index})
    chunk = commit.next_tree.opening(LAST).chunk
    openings = _with_next(commit, LAST, chunk + pad + _node(leaves[0] + leaves[1]))
    job.announce(chain.accounts[8], commit, LAST)
    job.send(chain.accounts[8], "challenge", commit.record, 0, LAST, SALT, openings)


def test_values_behind_the_last_parameter_are_wrong(chain: Chain, job: Job) -> None:
    job.collect()
    model = job.aggregate()
    chunk = model[16:].tobytes() + b"\1" + bytes(15)
    leaves = [*_leaves(model)[:2], sha256(chunk).digest()]
    commit = _commit_root(job, _root_over(leaves, ZERO))
    openings = _with_next(commit, LAST, chunk + ZERO + _node(leaves[0] + leaves[1]))
    job.announce(chain.accounts[8], commit, LAST)
    job.send(chain.accounts[8], "challenge", commit.record, 0, LAST, SALT, openings)


def test_padding_that_a_client_filled_changes_nothing(chain: Chain, job: Job) -> None:
    """Such an update has no content; a server that includes it anyhow is judged by the parameters alone."""
    filled = np.full(24, 1000, "<i4")
    upload = job.upload(job.clients[0], filled)
    job.submit_upload(replace(upload, vector=filled[:20], forged=upload.update))
    job.collect(job.clients[1:])
    commit = job.commit()
    refusal = job.challenge_refusal(chain.accounts[8], commit, LAST)
    assert refusal == ("CommitIsRight", {"round": 1, "node": 0, "index": LAST})


# ----------------------------------------------------------------------------------------------------- announcements


def test_a_challenge_has_to_be_announced_in_an_earlier_block(chain: Chain, job: Job, commit: Commit) -> None:
    finder = chain.accounts[8]
    digest = commit.finding(finder, 0, SALT)
    refusal = job.refusal(finder, "challenge", *challenge_arguments(commit))
    assert refusal == ("NotAnnounced", {"digest": digest, "announced": 0})
    announced = job.announce(finder, commit).time
    assert chain.view("announcedAt", finder, digest) == announced == chain.now
    refusal = job.refusal(finder, "challenge", *challenge_arguments(commit))
    assert refusal == ("NotAnnounced", {"digest": digest, "announced": announced})
    job.send(finder, "challenge", *challenge_arguments(commit))


def test_an_announcement_counts_for_an_hour(chain: Chain, job: Job, commit: Commit) -> None:
    finder = chain.accounts[8]
    announced = job.announce(finder, commit).time
    chain.travel(announced + 3601)
    assert job.refusal(finder, "challenge", *challenge_arguments(commit))[0] == "NotAnnounced"
    # Announced again, it counts again.
    announced = job.announce(finder, commit).time
    chain.travel(announced + 3599)
    assert job.send(finder, "challenge", *challenge_arguments(commit)).time == announced + 3600


def test_a_copied_challenge_is_refused(chain: Chain, job: Job, commit: Commit) -> None:
    """By the same arguments, also after the copier has announced the finder's digest, which the chain shows."""
    finder, copier = chain.accounts[8:10]
    job.announce(finder, commit)
    chain.send(copier, "announce", commit.finding(finder, 0, SALT))
    chain.travel(chain.now + 1)
    digest = commit.finding(copier, 0, SALT)
    refusal = job.refusal(copier, "challenge", *challenge_arguments(commit))
    assert refusal == ("NotAnnounced", {"digest": digest, "announced": 0})
    job.send(finder, "challenge", *challenge_arguments(commit))


@pytest.mark.parametrize("differs", ["index", "salt", "record"])
def test_an_announcement_is_of_one_finding(chain: Chain, job: Job, commit: Commit, differs: str) -> None:
    finder = chain.accounts[8]
    announced = {"index": (1, SALT), "salt": (0, ZERO), "record": (0, SALT)}[differs]
    word = replace(commit, time=commit.time + 1) if differs == "record" else commit
    job.announce(finder, word, *announced)
    chain.travel(chain.now + 1)
    assert job.refusal(finder, "challenge", *challenge_arguments(commit))[0] == "NotAnnounced"


# ------------------------------------------------------------------------------------------------------ consequences


def test_a_quarter_of_the_bond_is_the_finders_and_the_rest_is_burned(chain: Chain, job: Job, commit: Commit) -> None:
    finder = chain.accounts[8]
    job.announce(finder, commit)
    burned = chain.balance(NOBODY)
    receipt = job.send(finder, "challenge", *challenge_arguments(commit))
    assert receipt.event("BondSlashed") == {
        "job": job.id,
        "word": commit.word,
        "server": job.server,
        "amount": ETHER,
        "finder": finder,
        "reward": ETHER // 4,
    }
    assert chain.balance(NOBODY) == burned + ETHER - ETHER // 4 + receipt.tip
    assert chain.balance(chain.ledger.address) == ETHER // 4 == job.account(finder).balance
    assert (job.account(job.server).bond, job.account(job.server).barred) == (0, True)
    before = chain.balance(finder)
    receipt = job.send(finder, "withdraw")
    assert chain.balance(finder) == before + ETHER // 4 - receipt.fee


def test_odd_wei_are_burned(chain: Chain, job: Job, commit: Commit) -> None:
    job.bond(job.server, 3)
    job.announce(chain.accounts[8], commit)
    burned = chain.balance(NOBODY)
    receipt = job.send(chain.accounts[8], "challenge", *challenge_arguments(commit))
    assert receipt.event("BondSlashed")["reward"] == ETHER // 4
    assert chain.balance(NOBODY) == burned + ETHER - ETHER // 4 + 3 + receipt.tip


def test_a_liar_that_announces_its_own_lie_loses_three_quarters(chain: Chain, job: Job, commit: Commit) -> None:
    job.challenge(job.server, commit)
    account = job.account(job.server)
    assert (account.bond, account.balance, account.barred) == (0, ETHER // 4, True)


def test_the_job_goes_back_to_the_round_with_its_entries_closed(chain: Chain, job: Job, commit: Commit) -> None:
    receipt = job.challenge(chain.accounts[8], commit)
    reverted = {"job": job.id, "attempt": 3, "word": commit.word, "round": 1, "time": receipt.time}
    assert receipt.event("RoundReverted") == reverted
    kept = chain.view("jobOf", job.id)
    assert (kept.head, kept.root) == (commit.attempt.head, commit.previous_tree.root)
    state = kept.state
    assert (state.round, state.attempt, state.origin, state.updates) == (1, 3, 1, 3)
    assert (state.closesAt, state.activeAt, state.built, state.highest) == (receipt.time, receipt.time, True, 1)
    assert chain.view("recordOf", job.id, 1) == ZERO


def test_anybody_bonded_commits_at_once_after_a_rollback(chain: Chain, job: Job, commit: Commit) -> None:
    job.challenge(chain.accounts[8], commit)
    other = chain.accounts[9]
    job.bond(other)
    again = job.commit(other)
    assert again.attempt is commit.attempt
    assert job.receipt.event("RoundCommitted")["attempt"] == 3
    assert chain.view("recordOf", job.id, 1) == again.word
    refusal = job.challenge_refusal(chain.accounts[8], again, 0)
    assert refusal == ("CommitIsRight", {"round": 1, "node": 0, "index": 0})
    job.collect()
    job.commit(other)
    assert job.state.round == 3


def test_the_server_commits_again_what_somebody_else_had_wrong(chain: Chain, job: Job) -> None:
    job.collect()
    other = chain.accounts[9]
    job.bond(other)
    chain.travel(job.state.closesAt + job.terms["aggregateSeconds"])
    job.challenge(chain.accounts[8], job.commit_wrong(other))
    job.commit()


def test_a_barred_server_never_comes_back(chain: Chain, job: Job, commit: Commit) -> None:
    job.challenge(chain.accounts[8], commit)
    barred = ("Barred", {"server": job.server})
    assert job.refusal(job.server, "commitRound", *job.commit_arguments(job.aggregate())) == barred
    assert job.refusal(job.server, "depositBond", value=ETHER) == barred
    assert job.refusal(job.server, "withdrawBond") == ("NothingToPay", {"account": job.server})


def test_with_the_server_barred_nobody_waits_for_it_in_later_rounds(chain: Chain, job: Job, commit: Commit) -> None:
    job.challenge(chain.accounts[8], commit)
    other = chain.accounts[9]
    job.bond(other)
    job.commit(other)
    job.collect()
    job.commit(other)


def test_no_update_is_taken_after_a_rollback(chain: Chain, job: Job) -> None:
    late, *others = job.clients
    job.collect(others)
    receipt = job.challenge(chain.accounts[8], job.commit_wrong())
    refusal = job.refusal(late, "submitUpdate", *job.submit_arguments(job.upload(late)))
    assert refusal == ("RoundClosed", {"closedAt": receipt.time})


def test_later_records_fall_with_the_wrong_one_and_earlier_ones_stand(chain: Chain) -> None:
    job = Job(chain, rounds=5, maxUnsettled=5).prepare()
    commits = []
    for round in range(1, 5):
        job.collect()
        commits.append(job.commit_wrong() if round == 2 else job.commit())
    job.challenge(chain.accounts[8], commits[1])
    assert chain.view("recordOf", job.id, 1) == commits[0].word
    for commit in commits[1:]:
        refusal = job.challenge_refusal(chain.accounts[8], commit, 0)
        assert refusal == ("UnknownRecord", {"job": job.id, "round": commit.round})
    assert (job.state.round, job.state.attempt, job.state.origin) == (2, 6, 2)


def test_void_records_stay_void_when_their_round_comes_again(chain: Chain) -> None:
    job = Job(chain, rounds=5).prepare()
    other = chain.accounts[9]
    job.bond(other)
    job.collect()
    wrong = job.commit_wrong()
    job.collect()
    void = job.commit()
    job.challenge(chain.accounts[8], wrong)
    job.commit(other)
    for commit in (wrong, void):
        refusal = job.challenge_refusal(chain.accounts[8], commit, 0)
        assert refusal == ("UnknownRecord", {"job": job.id, "round": commit.round})
    job.collect()
    job.commit(other)
    assert job.challenge_refusal(chain.accounts[8], void, 0)[0] == "UnknownRecord"


def test_a_rolled_back_commit_can_be_wrong_again(chain: Chain, job: Job, commit: Commit) -> None:
    job.challenge(chain.accounts[8], commit)
    other, third = chain.accounts[9:11]
    job.bond(other)
    job.challenge(chain.accounts[8], job.commit_wrong(other))
    assert job.account(other).barred
    job.bond(third)
    job.commit(third)
    assert (job.state.round, job.state.attempt) == (2, 6)


def test_a_challenge_also_works_after_the_last_round_and_in_a_cancelled_job(chain: Chain) -> None:
    ended = Job(chain, rounds=1).prepare()
    ended.collect()
    ended.challenge(chain.accounts[8], ended.commit_wrong())
    cancelled = Job(chain).prepare()
    cancelled.collect()
    wrong = cancelled.commit_wrong()
    cancelled.send(cancelled.owner, "cancelJob")
    cancelled.challenge(chain.accounts[8], wrong)
    assert (ended.state.round, ended.state.lastRound) == (1, 1)
    assert (cancelled.state.round, cancelled.state.lastRound) == (1, 2)


def test_a_server_that_is_out_of_bond_is_barred_all_the_same(chain: Chain) -> None:
    """One bond answers for all commits: the second wrong one, of an earlier round, finds nothing left."""
    job = Job(chain, rounds=4).prepare()
    job.collect()
    first = job.commit_wrong()
    job.collect()
    second = job.commit_wrong()
    job.challenge(chain.accounts[8], second)
    slashed = job.challenge(chain.accounts[8], first).event("BondSlashed")
    assert (slashed["amount"], slashed["reward"]) == (0, 0)
    assert job.state.round == 1


def test_settled_rounds_can_not_be_challenged(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit_wrong()
    job.collect()
    job.settle(commit)
    refusal = job.challenge_refusal(chain.accounts[8], commit)
    assert refusal == ("UnknownRecord", {"job": job.id, "round": 1})


def test_a_round_is_committed_with_other_exclusions_after_a_rollback(chain: Chain, job: Job, commit: Commit) -> None:
    job.challenge(chain.accounts[8], commit)
    job.bond(chain.accounts[9])
    again = job.commit(chain.accounts[9], excluded=[1])
    assert chain.view("recordOf", job.id, 1) == again.word
    refusal = job.challenge_refusal(chain.accounts[8], again)
    assert refusal == ("CommitIsRight", {"round": 1, "node": 0, "index": 0})


def test_a_round_is_reopened_after_a_rollback(chain: Chain, job: Job, commit: Commit) -> None:
    job.challenge(chain.accounts[8], commit)
    other = chain.accounts[9]
    job.bond(other)
    opens = job.state.closesAt + 4 * job.terms["aggregateSeconds"]
    chain.travel(opens - 1)
    arguments = (3, job.attempt.head)
    assert job.refusal(other, "reopenRound", *arguments) == ("NotYet", {"caller": other, "openFrom": opens})
    assert job.reopen(other).time == opens
    state = job.state
    assert (state.attempt, state.origin, state.updates, state.closesAt) == (4, 4, 0, NEVER)
    assert chain.view("jobOf", job.id).head == job.attempt.head
    job.collect()
    job.commit(other)


# ------------------------------------------------------------------------------------------------------------ windows


def test_a_challenge_is_taken_until_the_window_ends(chain: Chain, job: Job, commit: Commit) -> None:
    ends = job.window_end(commit)
    snapshot = chain.tester.take_snapshot()
    chain.travel(ends)
    refusal = job.challenge_refusal(chain.accounts[8], commit, 0)
    assert refusal == ("WindowOver", {"endedAt": ends})
    chain.tester.revert_to_snapshot(snapshot)
    # The announcement takes a second, too.
    chain.travel(ends - 3)
    assert job.challenge(chain.accounts[8], commit).time == ends - 1


def test_the_bond_is_locked_exactly_as_long_as_the_commit_can_be_challenged(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit()
    ends = job.window_end(commit)
    chain.travel(ends - 1)
    assert job.refusal(job.server, "withdrawBond") == ("WindowOpen", {"endsAt": ends})
    before = chain.balance(job.server)
    receipt = job.send(job.server, "withdrawBond")
    assert receipt.time == ends
    assert receipt.event("BondWithdrawn") == {"job": job.id, "server": job.server, "amount": ETHER}
    assert chain.balance(job.server) == before + ETHER - receipt.fee
    assert job.refusal(job.server, "withdrawBond") == ("NothingToPay", {"account": job.server})


def test_a_bond_that_answers_for_nothing_is_withdrawn_at_once(chain: Chain, job: Job) -> None:
    assert job.send(job.server, "withdrawBond").event("BondWithdrawn")["amount"] == ETHER


# --------------------------------------------------------------------------------------------------------- helpers


def _node(pair: bytes) -> bytes:
    return sha256(pair).digest()


def _leaves(model: Vector) -> list[bytes]:
    """Of the three chunks of a right model."""
    return [_node(chunk) for chunk in (model[:8].tobytes(), model[8:16].tobytes(), model[16:].tobytes() + bytes(16))]


def _root_over(leaves: list[bytes], pad: bytes) -> bytes:
    return _node(_node(leaves[0] + leaves[1]) + _node(leaves[2] + pad))


def _commit_root(job: Job, root: bytes) -> Commit:
    """Commit the right model under a root that is not its own."""
    next = job.aggregate()
    number, head, model, *others = job.commit_arguments(next)
    receipt = job.send(job.server, "commitRound", number, head, (root, model[1]), *others)
    return replace(job.committed(job.server, next, (), ZERO, receipt.time), root=root)


def _with_next(commit: Commit, index: int, next: bytes) -> bytes:
    """Openings whose first is another one."""
    nodes, submissions, opened = commit.opened(index)
    return pack_openings(nodes, submissions, b"".join([next, *opened[1:]]))
