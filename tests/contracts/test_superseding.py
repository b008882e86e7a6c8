"""supersede: a model that is withheld costs its round a delay, and its committer nothing but time."""

from __future__ import annotations

import pytest

from tests.contracts.ledger import ETHER, SALT, Chain, Commit, Job

DEPOSIT = ETHER // 1000


@pytest.fixture
def job(chain: Chain) -> Job:
    """As the usual one, with a stranger's bond beside the server's."""
    job = Job(chain, rounds=5, pool=1000).prepare()
    job.bond(chain.accounts[8])
    return job


@pytest.fixture
def commit(job: Job) -> Commit:
    """The first round's, upon which nobody builds."""
    job.collect()
    return job.commit()


def _superseded(job: Job, commit: Commit) -> int:
    """Supersede it as soon as possible, and give when."""
    job.chain.travel(commit.time + job.terms["idleSeconds"])
    return job.supersede(job.chain.accounts[8], commit).time


def test_the_job_goes_back_to_the_round_with_its_entries_closed(chain: Chain, job: Job, commit: Commit) -> None:
    stranger = chain.accounts[8]
    chain.travel(commit.time + job.terms["idleSeconds"] - 1)
    receipt = job.supersede(stranger, commit)
    assert receipt.time == commit.time + job.terms["idleSeconds"]
    assert receipt.event("RoundSuperseded") == {
        "job": job.id,
        "attempt": 3,
        "word": commit.word,
        "round": 1,
        "server": job.server,
        "sender": stranger,
        "time": receipt.time,
    }
    kept, account = chain.view("jobOf", job.id), job.account(job.server)
    assert (kept.head, kept.root, kept.allotted) == (commit.attempt.head, commit.previous_tree.root, 0)
    assert (kept.state.round, kept.state.attempt, kept.state.origin, kept.state.updates) == (1, 3, 1, 3)
    assert (kept.state.closesAt, kept.state.activeAt, kept.state.built) == (receipt.time, receipt.time, True)
    assert (account.late, account.lateRound, account.barred, account.bond) == (True, 1, False, ETHER)
    assert job.mark(commit).superseded
    assert job.account(stranger).lockedUntil == receipt.time + job.terms["challengeSeconds"]


def test_it_takes_idle_seconds(chain: Chain, job: Job, commit: Commit) -> None:
    due = commit.time + job.terms["idleSeconds"]
    chain.travel(due - 1)
    assert job.refusal(chain.accounts[8], "supersede", commit.record) == ("WindowOpen", {"endsAt": due})


def test_what_is_built_upon_is_not_superseded(chain: Chain, job: Job, commit: Commit) -> None:
    not_supersedable = ("NotSupersedable", {"round": 1})
    snapshot = chain.tester.take_snapshot()
    # By minUpdates entries of the next round ...
    for client in job.clients[:2]:
        job.submit(client)
    chain.travel(commit.time + job.terms["idleSeconds"])
    assert job.refusal(chain.accounts[8], "supersede", commit.record) == not_supersedable
    # ... though that attempt was reopened ...
    chain.travel(job.state.closesAt + 4 * job.terms["aggregateSeconds"])
    job.reopen()
    assert job.refusal(chain.accounts[8], "supersede", commit.record) == not_supersedable
    # ... or by the time that has passed.
    chain.tester.revert_to_snapshot(snapshot)
    chain.travel(commit.time + 2 * job.terms["idleSeconds"])
    assert job.refusal(chain.accounts[8], "supersede", commit.record) == not_supersedable


def test_only_the_newest_record_is_superseded(chain: Chain, job: Job, commit: Commit) -> None:
    job.collect()
    second = job.commit()
    chain.travel(second.time + job.terms["idleSeconds"])
    assert job.refusal(chain.accounts[8], "supersede", commit.record) == ("NotSupersedable", {"round": 1})
    job.supersede(chain.accounts[8], second)
    # The record before it is built upon, for this round was committed once.
    assert job.refusal(chain.accounts[8], "supersede", commit.record) == ("NotSupersedable", {"round": 1})
    unknown = ("UnknownRecord", {"job": job.id, "round": 2})
    assert job.refusal(chain.accounts[8], "supersede", second.record) == unknown


def test_the_last_round_is_not_superseded(chain: Chain) -> None:
    job = Job(chain, rounds=1).prepare()
    job.bond(chain.accounts[8])
    job.collect()
    commit = job.commit()
    chain.travel(commit.time + job.terms["idleSeconds"])
    assert job.refusal(chain.accounts[8], "supersede", commit.record) == ("NotSupersedable", {"round": 1})


def test_a_withheld_record_of_a_cancelled_job_is_superseded_all_the_same(
    chain: Chain, job: Job, commit: Commit
) -> None:
    job.send(job.owner, "cancelJob")
    _superseded(job, commit)
    assert (job.state.round, job.state.lastRound) == (1, 2)


def test_it_takes_a_bond_that_is_not_the_committers(chain: Chain, job: Job, commit: Commit) -> None:
    chain.travel(commit.time + job.terms["idleSeconds"])
    assert job.refusal(job.server, "supersede", commit.record) == ("NotSupersedable", {"round": 1})
    refusal = job.refusal(chain.accounts[9], "supersede", commit.record)
    assert refusal == ("BondTooSmall", {"bond": 0, "required": ETHER})


def test_barred_accounts_do_not_supersede(chain: Chain, job: Job) -> None:
    liar = chain.accounts[8]
    job.collect()
    chain.travel(job.state.closesAt + job.terms["aggregateSeconds"])
    job.challenge(chain.accounts[9], job.commit_wrong(liar))
    commit = job.commit()
    chain.travel(commit.time + job.terms["idleSeconds"])
    assert job.refusal(liar, "supersede", commit.record) == ("Barred", {"server": liar})


def test_the_superseded_committer_is_late_until_a_later_record_of_its_settles(chain: Chain, job: Job) -> None:
    other = chain.accounts[8]
    job.collect()
    first = job.commit()
    job.collect()
    withheld = job.commit()
    _superseded(job, withheld)
    # A record of its from before does not end it.
    job.settle(first)
    assert job.account(job.server).late
    chain.travel(job.window_end(withheld))
    late = ("BondLate", {"account": job.server, "round": 2})
    assert job.refusal(job.server, "withdrawBond") == late
    job.commit(other)
    job.collect()
    chain.travel(job.state.closesAt + 3 * job.terms["aggregateSeconds"])
    third = job.commit()
    for client in job.clients[:2]:
        job.submit(client)
    # Nor does somebody else's.
    job.settle(job.commits[2])
    assert job.account(job.server).late
    job.settle(third)
    assert not job.account(job.server).late
    job.send(job.server, "withdrawBond")


def test_its_own_record_of_the_same_round_ends_it(chain: Chain, job: Job, commit: Commit) -> None:
    closed = _superseded(job, commit)
    # Not of the entries that the superseding has closed again: those are for everybody else.
    chain.travel(closed + 4 * job.terms["aggregateSeconds"])
    job.reopen()
    job.collect()
    chain.travel(job.state.closesAt + 3 * job.terms["aggregateSeconds"])
    again = job.commit()
    assert again.round == commit.round
    for client in job.clients[:2]:
        job.submit(client)
    job.settle(again)
    assert not job.account(job.server).late


def test_a_final_job_unlocks_a_late_bond(chain: Chain, job: Job, commit: Commit) -> None:
    superseded = _superseded(job, commit)
    job.send(job.owner, "cancelJob")
    chain.travel(max(superseded + 3 * job.terms["idleSeconds"], job.window_end(commit)))
    assert job.refusal(job.server, "withdrawBond")[0] == "BondLate"
    job.send(job.owner, "finalizeJob")
    job.send(job.server, "withdrawBond")


# ------------------------------------------------------------------------------------- what a superseded record owes


def test_a_superseded_lie_is_found_and_rolls_nothing_back(chain: Chain, job: Job) -> None:
    finder, other = chain.accounts[9], chain.accounts[8]
    job.collect()
    lie = job.commit_wrong()
    _superseded(job, lie)
    right = job.commit(other)
    receipt = job.challenge(finder, lie)
    assert [event.name for event in receipt.events] == ["BondSlashed"]
    assert (job.account(finder).balance, job.account(job.server).barred) == (ETHER // 4, True)
    assert (job.state.round, chain.view("recordOf", job.id, 1)) == (2, right.word)
    # Once is enough.
    refusal = job.challenge_refusal(finder, lie)
    assert refusal == ("UnknownRecord", {"job": job.id, "round": 1})


def test_a_superseded_record_is_demanded_answered_and_expires(chain: Chain, job: Job, commit: Commit) -> None:
    demander = chain.accounts[9]
    _superseded(job, commit)
    job.demand(demander, commit, 0)
    job.answer(job.clients[0], commit, 0)
    receipt = job.demand(demander, commit, 1, salt=SALT)
    other = job.demand(demander, commit, 2)
    by = receipt.event("ChunkDemanded")["answerBy"]
    assert job.refusal(demander, "expire", commit.record, 0, 1) == ("WindowOpen", {"endsAt": by})
    chain.travel(other.event("ChunkDemanded")["answerBy"])
    job.expire(demander, commit, 1)
    assert (job.account(job.server).bond, job.account(job.server).barred) == (0, True)
    # What is left is void: the deposit goes back, and nobody is slashed again.
    assert [event.name for event in job.expire(demander, commit, 2).events] == ["DemandExpired"]
    assert job.account(demander).balance == ETHER // 4 + 1 * DEPOSIT + 2 * DEPOSIT


def test_a_demand_at_the_end_of_its_window_keeps_its_effect(chain: Chain) -> None:
    job = Job(chain, rounds=2).prepare()
    job.bond(chain.accounts[8])
    job.collect()
    lie = job.commit_wrong()
    _superseded(job, lie)
    right = job.commit(chain.accounts[8])
    for client in job.clients[:2]:
        job.submit(client)
    chain.travel(job.window_end(lie) - 3)
    demanded = job.demand(chain.accounts[9], lie)
    chain.travel(job.window_end(lie))
    assert job.challenge_refusal(chain.accounts[9], lie) == ("WindowOver", {"endedAt": job.window_end(lie)})
    chain.travel(demanded.event("ChunkDemanded")["answerBy"])
    job.expire(chain.accounts[9], lie)
    assert job.account(job.server).barred
    job.settle(right)


def test_a_superseded_record_in_a_final_job_is_still_found(chain: Chain) -> None:
    job = Job(chain, rounds=5, challengeSeconds=20_000).prepare()
    job.bond(chain.accounts[8])
    job.collect()
    lie = job.commit_wrong()
    superseded = _superseded(job, lie)
    job.send(job.owner, "cancelJob")
    chain.travel(superseded + 3 * job.terms["idleSeconds"])
    job.send(job.owner, "finalizeJob")
    job.challenge(chain.accounts[9], lie)
    assert job.account(job.server).barred


def test_a_superseded_record_earns_nothing_and_its_round_is_paid_once(chain: Chain, job: Job, commit: Commit) -> None:
    _superseded(job, commit)
    again = job.commit(chain.accounts[8], salt=SALT)
    assert (again.reward, again.allotted_before) == (200, 0)
    for client in job.clients[:2]:
        job.submit(client)
    chain.travel(job.window_end(again))
    unknown = ("UnknownRecord", {"job": job.id, "round": 1})
    assert job.refusal(job.owner, "settle", commit.record) == unknown
    job.claim(again)
    assert job.refusal(job.owner, "claim", commit.record, commit.submissions()) == unknown
    assert job.account(job.server).balance == 0
