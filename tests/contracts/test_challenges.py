"""challenge: a wrong chunk is proved wrong, a right one is not, and what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from tests.contracts.ledger import ETHER, NOBODY, ZERO, Chain, Commit, Job, ascending, opening

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
    refusal = job.refusal(chain.accounts[8], "challenge", commit.record, index, commit.openings(index))
    assert refusal == ("CommitIsRight", {"round": 1, "index": index})


@pytest.mark.parametrize("index", [0, 1, LAST])
@pytest.mark.parametrize("parameter", [0, 3])
def test_one_wrong_parameter_is_enough(chain: Chain, job: Job, index: int, parameter: int) -> None:
    job.collect()
    model = job.aggregate()
    model[index * 8 + parameter] -= 1
    commit = job.commit(next=model)
    for other in {0, 1, LAST} - {index}:
        refusal = job.refusal(chain.accounts[8], "challenge", commit.record, other, commit.openings(other))
        assert refusal == ("CommitIsRight", {"round": 1, "index": other})
    job.challenge(chain.accounts[8], commit, index)


def test_leaving_out_an_update_without_saying_so_is_wrong(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit(next=job.aggregate(excluded=[job.clients[0]]))
    job.challenge(chain.accounts[8], commit, 1)


def test_a_right_commit_with_an_exclusion_stands(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit(excluded=[job.clients[1]])
    refusal = job.refusal(chain.accounts[8], "challenge", commit.record, 1, commit.openings(1))
    assert refusal == ("CommitIsRight", {"round": 1, "index": 1})


def test_a_wrong_node_behind_the_last_leaf_is_wrong(chain: Chain, job: Job) -> None:
    """All chunks are right, but the root is not that of the model: nobody could ever fit content to it."""
    job.collect()
    right = job.commit_arguments(job.aggregate())
    commit = _commit_root(job, _root_over(job, pad=b"\1" * 32))
    assert commit.record[5][0] != right[2][0]
    for index in (0, 1):
        refusal = job.refusal(chain.accounts[8], "challenge", commit.record, index, _padded_openings(commit, index))
        assert refusal == ("CommitIsRight", {"round": 1, "index": index})
    job.send(chain.accounts[8], "challenge", commit.record, LAST, _padded_openings(commit, LAST))


def test_values_behind_the_last_parameter_are_wrong(chain: Chain, job: Job) -> None:
    job.collect()
    model = job.aggregate()
    chunk = model[16:].tobytes() + b"\1" + bytes(15)
    leaves = [model[:8].tobytes(), model[8:16].tobytes(), chunk]
    nodes = [*(sha256(leaf).digest() for leaf in leaves), ZERO]
    left, right = sha256(nodes[0] + nodes[1]).digest(), sha256(nodes[2] + nodes[3]).digest()
    commit = _commit_root(job, sha256(left + right).digest())
    previous, _, submissions, included = commit.openings(LAST)
    openings = (previous, (chunk, [ZERO, left]), submissions, included)
    job.send(chain.accounts[8], "challenge", commit.record, LAST, openings)


def test_padding_that_a_client_filled_changes_nothing(chain: Chain, job: Job) -> None:
    """Such an update has no content; a server that includes it anyhow is judged by the parameters alone."""
    filled = np.full(24, 1000, "<i4")
    upload = job.upload(job.clients[0], filled)
    job.send(upload.client, "submitUpdate", 1, upload.update)
    job.record_upload(replace(upload, vector=filled[:20], forged=upload.update))
    job.collect(job.clients[1:])
    commit = job.commit()
    refusal = job.refusal(chain.accounts[8], "challenge", commit.record, LAST, commit.openings(LAST))
    assert refusal == ("CommitIsRight", {"round": 1, "index": LAST})


# ------------------------------------------------------------------------------------------------------ consequences


def test_half_of_the_bond_is_the_challengers_and_half_is_burned(chain: Chain, job: Job, commit: Commit) -> None:
    challenger = chain.accounts[8]
    before, burned = chain.balance(challenger), chain.balance(NOBODY)
    receipt = job.challenge(challenger, commit)
    assert receipt.event("BondSlashed") == {
        "job": job.id,
        "server": job.server,
        "amount": ETHER,
        "challenger": challenger,
        "reward": ETHER // 2,
    }
    assert chain.balance(challenger) == before + ETHER // 2 - receipt.fee
    assert chain.balance(NOBODY) == burned + ETHER // 2 + receipt.tip
    assert chain.balance(chain.ledger.address) == 0
    assert (job.account(job.server).amount, job.account(job.server).barred) == (0, True)


def test_an_odd_wei_is_burned(chain: Chain, job: Job, commit: Commit) -> None:
    job.bond(job.server, 1)
    burned = chain.balance(NOBODY)
    receipt = job.challenge(chain.accounts[8], commit)
    assert receipt.event("BondSlashed")["reward"] == ETHER // 2
    assert chain.balance(NOBODY) == burned + ETHER // 2 + 1 + receipt.tip


def test_the_job_goes_back_to_the_round_with_its_updates_closed(chain: Chain, job: Job, commit: Commit) -> None:
    receipt = job.challenge(chain.accounts[8], commit)
    assert receipt.event("RoundReverted") == {
        "job": job.id,
        "attempt": 3,
        "server": job.server,
        "round": 1,
        "challenger": chain.accounts[8],
    }
    kept = chain.view("jobOf", job.id)
    assert (kept.head, kept.root) == (commit.attempt.head, commit.previous_tree.root)
    state = kept.state
    assert (state.round, state.attempt, state.origin, state.updates) == (1, 3, 1, 3)
    assert (state.closesAt, state.totalCredits) == (receipt.time, 3)
    assert chain.view("recordOf", job.id, 1) == ZERO


def test_anybody_bonded_commits_at_once_after_a_rollback(chain: Chain, job: Job, commit: Commit) -> None:
    job.challenge(chain.accounts[8], commit)
    other = chain.accounts[9]
    job.bond(other)
    again = job.commit(other)
    assert again.attempt is commit.attempt
    assert job.receipt.event("RoundCommitted")["attempt"] == 3
    assert chain.view("recordOf", job.id, 1) == again.word
    refusal = job.refusal(chain.accounts[8], "challenge", again.record, 0, again.openings(0))
    assert refusal == ("CommitIsRight", {"round": 1, "index": 0})
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
    refusal = job.refusal(late, "submitUpdate", 3, job.upload(late).update)
    assert refusal == ("RoundClosed", {"closedAt": receipt.time})


def test_later_records_fall_with_the_wrong_one_and_earlier_ones_stand(chain: Chain) -> None:
    job = Job(chain, rounds=5).prepare()
    commits = []
    for round in range(1, 5):
        job.collect()
        commits.append(job.commit_wrong() if round == 2 else job.commit())
    job.challenge(chain.accounts[8], commits[1])
    assert chain.view("recordOf", job.id, 1) == commits[0].word
    for commit in commits[1:]:
        refusal = job.refusal(chain.accounts[8], "challenge", commit.record, 0, commit.openings(0))
        assert refusal == ("UnknownRecord", {"job": job.id, "round": commit.attempt.round})
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
        refusal = job.refusal(chain.accounts[8], "challenge", commit.record, 0, commit.openings(0))
        assert refusal == ("UnknownRecord", {"job": job.id, "round": commit.attempt.round})
    job.collect()
    job.commit(other)
    assert job.refusal(chain.accounts[8], "challenge", void.record, 0, void.openings(0))[0] == "UnknownRecord"


def test_a_rolled_back_commit_can_be_wrong_again(chain: Chain, job: Job, commit: Commit) -> None:
    job.challenge(chain.accounts[8], commit)
    other, third = chain.accounts[9:11]
    job.bond(other)
    job.challenge(chain.accounts[8], job.commit_wrong(other))
    assert job.account(other).barred
    job.bond(third)
    job.commit(third)
    assert (job.state.round, job.state.attempt) == (2, 6)


def test_excluded_clients_get_their_credit_back(chain: Chain, job: Job) -> None:
    job.collect()
    model = job.aggregate()
    commit = job.commit(next=model, excluded=[job.clients[0]])
    assert [job.client(client).credits for client in job.clients] == [0, 1, 1]
    job.challenge(chain.accounts[8], commit)
    assert [job.client(client).credits for client in job.clients] == [1, 1, 1]
    assert job.state.totalCredits == 3


def test_work_of_void_attempts_stays_credited(chain: Chain, job: Job) -> None:
    job.collect()
    wrong = job.commit_wrong()
    job.collect()
    job.challenge(chain.accounts[8], wrong)
    assert [job.client(client).credits for client in job.clients] == [2, 2, 2]
    assert job.state.totalCredits == 6


def test_a_challenge_also_works_after_the_last_round_and_in_a_cancelled_job(chain: Chain) -> None:
    ended = Job(chain, rounds=1).prepare()
    ended.collect()
    ended.challenge(chain.accounts[8], ended.commit_wrong())
    cancelled = Job(chain).prepare()
    cancelled.collect()
    wrong = cancelled.commit_wrong()
    cancelled.send(cancelled.owner, "cancelJob")
    cancelled.challenge(chain.accounts[8], wrong)
    assert (ended.state.round, ended.state.status) == (1, 1)
    assert (cancelled.state.round, cancelled.state.status) == (1, 2)


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


# ---------------------------------------------------------------------------------------- exclusion after a rollback


def _rolled_back(chain: Chain) -> Job:
    """Round 1 came from clients 0 and 1 only; client 2 has submitted to the attempt after it, which is void now."""
    job = Job(chain, minUpdates=1, maxExcluded=2).prepare()
    job.collect(job.clients[:2])
    wrong = job.commit_wrong()
    job.collect()
    job.challenge(chain.accounts[8], wrong)
    job.bond(chain.accounts[9])
    return job


def test_a_submitter_that_has_submitted_since_can_be_excluded(chain: Chain) -> None:
    job = _rolled_back(chain)
    commit = job.commit(chain.accounts[9], excluded=[job.clients[0]])
    assert job.client(job.clients[0]).credits == 1
    refusal = job.refusal(chain.accounts[8], "challenge", commit.record, 0, commit.openings(0))
    assert refusal == ("CommitIsRight", {"round": 1, "index": 0})


def test_excluding_a_client_that_had_not_submitted_is_challengeable(chain: Chain) -> None:
    job = _rolled_back(chain)
    outsider = job.clients[2]
    commit = job.commit(chain.accounts[9], next=job.aggregate(), excluded=[outsider])
    assert job.client(outsider).credits == 0
    job.challenge(chain.accounts[8], commit, 1)
    assert job.client(outsider).credits == 1
    assert job.account(chain.accounts[9]).barred


def test_one_that_never_submitted_can_not_be_excluded_after_a_rollback_either(chain: Chain) -> None:
    job = _rolled_back(chain)
    stranger = chain.accounts[7]
    job.join(stranger)
    arguments = job.commit_arguments(job.aggregate(), [stranger])
    refusal = job.refusal(chain.accounts[9], "commitRound", *arguments)
    assert refusal == ("ExcludedNotSubmitter", {"client": stranger})


def test_more_than_submitted_can_not_be_excluded_after_a_rollback(chain: Chain) -> None:
    job = _rolled_back(chain)
    arguments = (job.number, job.attempt.head, ascending(job.clients))
    refusal = job.refusal(chain.accounts[9], "reopenRound", *arguments)
    assert refusal == ("TooManyExcluded", {"excluded": 3, "allowed": 2})


def test_a_round_is_reopened_after_a_rollback(chain: Chain) -> None:
    job = _rolled_back(chain)
    job.reopen(chain.accounts[9], excluded=job.clients[:2])
    assert (job.state.attempt, job.state.origin, job.state.updates) == (4, 4, 0)
    job.collect()
    job.commit(chain.accounts[9])


# ---------------------------------------------------------------------------------------------------- wrong openings

Openings = tuple[Any, Any, list[Any], list[Any]]


def _with_included(openings: Openings, index: int, proof: Any) -> Openings:
    included = list(openings[3])
    included[index] = proof
    return (*openings[:3], included)


def _shorter_chunk(proof: Any) -> Any:
    return proof[0][:-4], proof[1]


def _longer_chunk(proof: Any) -> Any:
    return proof[0] + bytes(4), proof[1]


def _shorter_path(proof: Any) -> Any:
    return proof[0], proof[1][:-1]


def _longer_path(proof: Any) -> Any:
    return proof[0], [*proof[1], ZERO]


def _node_as_leaf(proof: Any) -> Any:
    """The children of the leaf's parent as a chunk of 64 bytes, which a tree of no fixed shape would believe."""
    return sha256(proof[0]).digest() + proof[1][0], proof[1][1:]


def _other_chunk(proof: Any) -> Any:
    return bytes([proof[0][0] ^ 1]) + proof[0][1:], proof[1]


def _other_path(proof: Any) -> Any:
    return proof[0], [proof[1][0], bytes([proof[1][1][0] ^ 1]) + proof[1][1][1:]]


FORGERIES = [_shorter_chunk, _longer_chunk, _shorter_path, _longer_path, _node_as_leaf, _other_chunk, _other_path]


@pytest.mark.parametrize("forge", FORGERIES)
@pytest.mark.parametrize("place", ["previous", "next", "included"])
def test_an_opening_of_another_form_or_root_is_refused(
    chain: Chain, job: Job, commit: Commit, forge: Callable[[Any], Any], place: str
) -> None:
    openings = commit.openings(0)
    if place == "previous":
        forged, client = (forge(openings[0]), *openings[1:]), NOBODY
    elif place == "next":
        forged, client = (openings[0], forge(openings[1]), *openings[2:]), NOBODY
    else:
        forged, client = _with_included(openings, 1, forge(openings[3][1])), job.clients[1]
    refusal = job.refusal(chain.accounts[8], "challenge", commit.record, 0, forged)
    assert refusal == ("WrongOpening", {"client": client})


def test_openings_of_another_chunk_are_refused(chain: Chain, job: Job, commit: Commit) -> None:
    refusal = job.refusal(chain.accounts[8], "challenge", commit.record, 0, commit.openings(1))
    assert refusal == ("WrongOpening", {"client": NOBODY})
    openings = _with_included(commit.openings(0), 2, commit.openings(1)[3][2])
    refusal = job.refusal(chain.accounts[8], "challenge", commit.record, 0, openings)
    assert refusal == ("WrongOpening", {"client": job.clients[2]})


@pytest.mark.parametrize("index", [3, 2**40, 2**256 - 1])
def test_a_chunk_that_is_not_there_can_not_be_opened(chain: Chain, job: Job, commit: Commit, index: int) -> None:
    refusal = job.refusal(chain.accounts[8], "challenge", commit.record, index, commit.openings(0))
    assert refusal == ("NoSuchChunk", {"index": index, "chunks": 3})


def _wrong_submissions(job: Job, commit: Commit, submissions: list[Any], included: list[Any]) -> str:
    previous, next, _, _ = commit.openings(0)
    openings = (previous, next, submissions, included)
    return job.refusal(job.chain.accounts[8], "challenge", commit.record, 0, openings)[0]


def test_missing_submissions_are_refused(job: Job, commit: Commit) -> None:
    _, _, submissions, included = commit.openings(0)
    for missing in range(3):
        left = [s for i, s in enumerate(submissions) if i != missing]
        proofs = [p for i, p in enumerate(included) if i != missing]
        assert _wrong_submissions(job, commit, left, proofs) == "WrongSubmissions"
    assert _wrong_submissions(job, commit, [], []) == "WrongSubmissions"


def test_submissions_in_another_order_or_twice_are_refused(job: Job, commit: Commit) -> None:
    _, _, submissions, included = commit.openings(0)
    assert _wrong_submissions(job, commit, submissions[::-1], included[::-1]) == "WrongSubmissions"
    assert _wrong_submissions(job, commit, submissions + submissions[:1], included + included[:1]) == (
        "WrongSubmissions"
    )


def test_another_number_of_chunks_than_of_included_updates_is_refused(job: Job, commit: Commit) -> None:
    _, _, submissions, included = commit.openings(0)
    assert _wrong_submissions(job, commit, submissions, included[:-1]) == "WrongOpening"
    assert _wrong_submissions(job, commit, submissions, [*included, included[0]]) == "WrongOpening"


def test_a_forged_client_is_refused(chain: Chain, job: Job, commit: Commit) -> None:
    """The commitment of one client's update does not open for another address."""
    _, _, submissions, included = commit.openings(0)
    forged = [(chain.accounts[8], submissions[0][1]), *submissions[1:]]
    assert _wrong_submissions(job, commit, forged, included) == "WrongOpening"


@pytest.mark.parametrize("field", [1, 2], ids=["content", "weight"])
def test_a_forged_content_or_weight_is_refused(job: Job, commit: Commit, field: int) -> None:
    _, _, submissions, included = commit.openings(0)
    update = list(submissions[0][1])
    update[field] = ZERO if field == 1 else update[field] + 1
    forged = [(submissions[0][0], tuple(update)), *submissions[1:]]
    assert _wrong_submissions(job, commit, forged, included) == "WrongSubmissions"


def test_a_copycats_update_does_not_open(chain: Chain, job: Job) -> None:
    """It submits another client's commitment under its own address: no opening fits, so it has to be excluded."""
    victim, copycat, third = job.clients
    job.submit(victim)
    stolen = job.attempt.uploads[0]
    job.send(copycat, "submitUpdate", 1, stolen.update)
    job.record_upload(replace(stolen, client=copycat, forged=stolen.update))
    job.collect([third])
    wrong = job.commit_wrong()
    refusal = job.refusal(chain.accounts[8], "challenge", wrong.record, 0, wrong.openings(0))
    assert refusal == ("WrongOpening", {"client": copycat})


@pytest.mark.parametrize("field", range(9))
def test_a_record_that_differs_in_any_field_is_unknown(chain: Chain, job: Job, commit: Commit, field: int) -> None:
    other: list[Any] = [7, 2, 2, ZERO, ZERO, (ZERO, ZERO), [job.clients[0]], job.owner, 1]
    record = list(commit.record)
    record[field] = other[field]
    refusal = job.refusal(chain.accounts[8], "challenge", tuple(record), 0, commit.openings(0))
    assert refusal == ("UnknownRecord", {"job": job.id, "round": record[1]})


def test_a_record_of_another_job_is_unknown(chain: Chain, job: Job, commit: Commit) -> None:
    twin = Job(chain)
    refusal = twin.refusal(chain.accounts[8], "challenge", commit.record, 0, commit.openings(0))
    assert refusal == ("UnknownRecord", {"job": twin.id, "round": 1})


# ------------------------------------------------------------------------------------------------------------ windows


def test_a_challenge_is_taken_until_the_window_ends(chain: Chain, job: Job, commit: Commit) -> None:
    ends = commit.time + job.terms["challengeSeconds"]
    snapshot = chain.tester.take_snapshot()
    chain.travel(ends)
    refusal = job.refusal(chain.accounts[8], "challenge", commit.record, 0, commit.openings(0))
    assert refusal == ("WindowOver", {"endedAt": ends})
    chain.tester.revert_to_snapshot(snapshot)
    chain.travel(ends - 2)
    assert job.challenge(chain.accounts[8], commit).time == ends - 1


def test_the_bond_is_locked_exactly_as_long_as_the_commit_can_be_challenged(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit()
    ends = commit.time + job.terms["challengeSeconds"]
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


def test_bonds_add_up_and_are_not_taken_by_a_final_job(chain: Chain, job: Job) -> None:
    event = job.bond(job.server, 5).event("BondDeposited")
    assert event == {"job": job.id, "server": job.server, "amount": 5}
    assert job.account(job.server).amount == ETHER + 5
    job.send(job.owner, "cancelJob")
    job.send(job.owner, "finalizeJob")
    assert job.refusal(job.server, "depositBond", value=1) == ("JobNotRunning", {"job": job.id, "status": 3})
    job.send(job.server, "withdrawBond")


# --------------------------------------------------------------------------------------------------------- helpers


def _root_over(job: Job, pad: bytes) -> bytes:
    """The root over the right chunks and a padding node that is not zero."""
    model = job.aggregate()
    leaves = [model[:8].tobytes(), model[8:16].tobytes(), model[16:].tobytes() + bytes(16)]
    nodes = [*(sha256(leaf).digest() for leaf in leaves), pad]
    left, right = sha256(nodes[0] + nodes[1]).digest(), sha256(nodes[2] + nodes[3]).digest()
    return sha256(left + right).digest()


def _commit_root(job: Job, root: bytes) -> Commit:
    """Commit the right model under a root that is not its own."""
    number, head, model, excluded = job.commit_arguments(job.aggregate())
    receipt = job.send(job.server, "commitRound", number, head, (root, model[1]), excluded)
    return Commit(job.attempt, job.aggregate(), (), job.server, receipt.time, 8, root)


def _padded_openings(commit: Commit, index: int) -> Openings:
    """The openings of a commit over `_root_over`."""
    previous, (chunk, path), submissions, included = commit.openings(index)
    pad = b"\1" * 32
    if index == LAST:
        path = [pad, path[1]]
    else:
        leaf = sha256(opening(commit.next_tree, LAST)[0]).digest()
        path = [path[0], sha256(leaf + pad).digest()]
    return previous, (chunk, path), submissions, included
