"""demand, answer, expire: a server that hides what it committed proves any chunk of it, or loses its bond."""

from __future__ import annotations

import pytest

from tests.contracts.ledger import ETHER, NOBODY, Actor, Chain, Commit, Job

DEPOSIT = ETHER // 1000


@pytest.fixture
def commit(job: Job) -> Commit:
    """A right commit of three updates."""
    job.collect()
    return job.commit()


@pytest.fixture
def wrong(job: Job) -> Commit:
    """A commit whose first chunk is wrong."""
    job.collect()
    return job.commit_wrong()


# ---------------------------------------------------------------------------------------------------------- demanding


def test_a_demand_is_announced_kept_and_counted(chain: Chain, job: Job, commit: Commit) -> None:
    demander = chain.accounts[8]
    receipt = job.demand(demander, commit, 1)
    by = receipt.time + job.terms["answerSeconds"]
    assert receipt.event("ChunkDemanded") == {
        "job": job.id,
        "attempt": 1,
        "demander": demander,
        "round": 1,
        "index": 1,
        "answerBy": by,
    }
    kept = chain.view("demandOf", job.id, commit.word, 1)
    assert (kept.demander, kept.answerBy, kept.deposits) == (demander, by, 1)
    assert chain.view("demandOf", job.id, commit.word, 0).demander == NOBODY
    assert (job.state.openDemands, job.account(job.server).demands) == (1, 1)
    assert chain.balance(chain.ledger.address) == ETHER + DEPOSIT


@pytest.mark.parametrize("value", [0, DEPOSIT - 1, DEPOSIT + 1])
def test_a_demand_costs_the_deposit(chain: Chain, job: Job, commit: Commit, value: int) -> None:
    refusal = job.refusal(chain.accounts[8], "demand", commit.record, 0, value=value)
    assert refusal == ("WrongValue", {"sent": value, "required": DEPOSIT})


def test_each_demand_that_waits_makes_the_next_one_dearer(chain: Chain, job: Job, commit: Commit) -> None:
    demander = chain.accounts[8]
    job.demand(demander, commit, 0)
    assert job.refusal(demander, "demand", commit.record, 1, value=DEPOSIT) == (
        "WrongValue",
        {"sent": DEPOSIT, "required": 2 * DEPOSIT},
    )
    job.send(demander, "demand", commit.record, 1, value=2 * DEPOSIT)
    job.send(demander, "demand", commit.record, 2, value=3 * DEPOSIT)
    before = chain.balance(job.server)
    receipt = job.send(job.server, "answer", commit.record, 1, commit.openings(1))
    assert chain.balance(job.server) == before + 2 * DEPOSIT - receipt.fee
    job.send(demander, "demand", commit.record, 1, value=3 * DEPOSIT)
    assert (job.state.openDemands, job.account(job.server).demands) == (3, 3)


def test_a_server_can_not_shield_a_wrong_chunk_by_demands_of_its_own(chain: Chain, job: Job, wrong: Commit) -> None:
    shield, demander = chain.accounts[7:9]
    job.send(shield, "demand", wrong.record, 1, value=DEPOSIT)
    job.send(shield, "demand", wrong.record, 2, value=2 * DEPOSIT)
    receipt = job.send(demander, "demand", wrong.record, 0, value=3 * DEPOSIT)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.send(demander, "expire", wrong.record, 0)
    assert job.account(job.server).barred


def test_one_demand_waits_a_chunk(chain: Chain, job: Job, commit: Commit) -> None:
    job.demand(chain.accounts[8], commit)
    refusal = job.refusal(chain.accounts[9], "demand", commit.record, 0, value=2 * DEPOSIT)
    assert refusal == ("AlreadyDemanded", {"round": 1})


def test_a_chunk_that_is_not_there_can_not_be_demanded(chain: Chain, job: Job, commit: Commit) -> None:
    refusal = job.refusal(chain.accounts[8], "demand", commit.record, 3, value=DEPOSIT)
    assert refusal == ("NoSuchChunk", {"index": 3, "chunks": 3})


def test_demands_are_taken_until_the_window_ends(chain: Chain, job: Job, commit: Commit) -> None:
    ends = commit.time + job.terms["challengeSeconds"]
    chain.travel(ends - 2)
    assert job.demand(chain.accounts[8], commit).time == ends - 1
    chain.travel(ends)
    refusal = job.refusal(chain.accounts[8], "demand", commit.record, 1, value=2 * DEPOSIT)
    assert refusal == ("WindowOver", {"endedAt": ends})


def test_a_record_that_does_not_stand_can_not_be_demanded(chain: Chain, job: Job, wrong: Commit) -> None:
    job.challenge(chain.accounts[8], wrong)
    refusal = job.refusal(chain.accounts[8], "demand", wrong.record, 0, value=DEPOSIT)
    assert refusal == ("UnknownRecord", {"job": job.id, "round": 1})


# ---------------------------------------------------------------------------------------------------------- answering


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_answer_earns_the_deposit_and_shows_the_chunk(chain: Chain, job: Job, commit: Commit, index: int) -> None:
    job.demand(chain.accounts[8], commit, index)
    before = chain.balance(job.server)
    receipt = job.send(job.server, "answer", commit.record, index, commit.openings(index))
    event = receipt.event("ChunkAnswered")
    chunk, path = commit.openings(index)[1]
    assert (event["attempt"], event["server"], event["round"], event["index"]) == (1, job.server, 1, index)
    assert (event["next"]["chunk"], event["next"]["path"]) == (chunk, path)
    assert chain.balance(job.server) == before + DEPOSIT - receipt.fee
    assert (job.state.openDemands, job.account(job.server).demands) == (0, 0)
    assert chain.view("demandOf", job.id, commit.word, index).demander == NOBODY
    assert job.refusal(job.server, "answer", commit.record, index, commit.openings(index)) == (
        "NotDemanded",
        {"round": 1, "index": index},
    )


def test_only_the_committer_answers(chain: Chain, job: Job, commit: Commit) -> None:
    job.demand(chain.accounts[8], commit)
    other = chain.accounts[9]
    refusal = job.refusal(other, "answer", commit.record, 0, commit.openings(0))
    assert refusal[0] == "NotTheServer"
    assert (refusal[1]["caller"], refusal[1]["server"]) == (other, job.server)


def test_what_was_not_demanded_is_not_answered(chain: Chain, job: Job, commit: Commit) -> None:
    job.demand(chain.accounts[8], commit, 1)
    refusal = job.refusal(job.server, "answer", commit.record, 0, commit.openings(0))
    assert refusal == ("NotDemanded", {"round": 1, "index": 0})


def test_an_answer_that_shows_the_commit_to_be_wrong_is_none(chain: Chain, job: Job, wrong: Commit) -> None:
    job.demand(chain.accounts[8], wrong)
    refusal = job.refusal(job.server, "answer", wrong.record, 0, wrong.openings(0))
    assert refusal == ("CommitIsWrong", {"round": 1, "index": 0})


def test_openings_of_another_chunk_are_no_answer(chain: Chain, job: Job, commit: Commit) -> None:
    job.demand(chain.accounts[8], commit)
    refusal = job.refusal(job.server, "answer", commit.record, 0, commit.openings(1))
    assert refusal == ("WrongOpening", {"client": NOBODY})


def test_an_answer_is_taken_until_its_time_is_over_and_expiry_from_then_on(
    chain: Chain, job: Job, commit: Commit
) -> None:
    by = job.demand(chain.accounts[8], commit).event("ChunkDemanded")["answerBy"]
    chain.travel(by - 2)
    snapshot = chain.tester.take_snapshot()
    receipt = job.send(job.server, "answer", commit.record, 0, commit.openings(0))
    assert receipt.time == by - 1
    chain.tester.revert_to_snapshot(snapshot)
    assert job.refusal(chain.accounts[9], "expire", commit.record, 0) == ("WindowOpen", {"endsAt": by})
    chain.travel(by)
    refusal = job.refusal(job.server, "answer", commit.record, 0, commit.openings(0))
    assert refusal == ("WindowOver", {"endedAt": by})
    chain.tester.revert_to_snapshot(snapshot)
    chain.travel(by - 1)
    assert job.send(chain.accounts[9], "expire", commit.record, 0).time == by


def test_a_demand_is_answered_though_the_window_has_passed(chain: Chain, job: Job, commit: Commit) -> None:
    chain.travel(commit.time + job.terms["challengeSeconds"] - 2)
    job.demand(chain.accounts[8], commit)
    chain.travel(commit.time + job.terms["challengeSeconds"] + 100)
    job.send(job.server, "answer", commit.record, 0, commit.openings(0))


# ------------------------------------------------------------------------------------------------------------- expiry


def test_a_demand_without_an_answer_costs_the_bond(chain: Chain, job: Job, wrong: Commit) -> None:
    demander, anyone = chain.accounts[8:10]
    chain.travel(job.demand(demander, wrong).event("ChunkDemanded")["answerBy"])
    burned = chain.balance(NOBODY)
    receipt = job.send(anyone, "expire", wrong.record, 0)
    job.rolled_back(wrong)
    assert receipt.event("DemandExpired") == {
        "job": job.id,
        "attempt": 1,
        "demander": demander,
        "round": 1,
        "index": 0,
    }
    assert receipt.event("BondSlashed")["challenger"] == demander
    assert receipt.event("RoundReverted")["challenger"] == demander
    assert chain.balance(NOBODY) == burned + ETHER // 2 + receipt.tip
    assert job.account(demander).amount == ETHER // 2 + DEPOSIT
    assert (job.account(job.server).amount, job.account(job.server).barred) == (0, True)
    assert (job.state.round, job.state.openDemands) == (1, 0)
    before = chain.balance(demander)
    withdrawal = job.send(demander, "withdrawBond")
    assert chain.balance(demander) == before + ETHER // 2 + DEPOSIT - withdrawal.fee
    assert chain.balance(chain.ledger.address) == 0
    job.bond(anyone)
    job.commit(anyone)


def test_what_was_not_demanded_does_not_expire(chain: Chain, job: Job, commit: Commit) -> None:
    chain.travel(job.demand(chain.accounts[8], commit, 1).event("ChunkDemanded")["answerBy"])
    refusal = job.refusal(chain.accounts[8], "expire", commit.record, 0)
    assert refusal == ("NotDemanded", {"round": 1, "index": 0})


def test_demands_on_rolled_back_records_only_give_the_deposit_back(chain: Chain) -> None:
    """Of a challenged record and of a later one of another server, before their time to answer is over."""
    job = Job(chain, rounds=4).prepare()
    demander, other = chain.accounts[8:10]
    job.bond(other)
    job.collect()
    wrong = job.commit_wrong()
    job.collect()
    chain.travel(job.state.closesAt + job.terms["aggregateSeconds"])
    void = job.commit(other)
    job.demand(demander, wrong, 1)
    job.send(demander, "demand", void.record, 1, value=DEPOSIT)
    job.challenge(chain.accounts[7], wrong)
    refusal = job.refusal(other, "answer", void.record, 1, void.openings(1))
    assert refusal == ("UnknownRecord", {"job": job.id, "round": 2})
    for commit in (wrong, void):
        receipt = job.send(demander, "expire", commit.record, 1)
        assert [event.name for event in receipt.events] == ["DemandExpired"]
    assert job.account(demander).amount == 2 * DEPOSIT
    assert (job.account(other).amount, job.account(other).barred, job.account(other).demands) == (ETHER, False, 0)
    assert (job.state.openDemands, job.state.round) == (0, 1)
    job.send(demander, "withdrawBond")
    assert chain.balance(chain.ledger.address) == ETHER


def test_of_two_demands_that_expire_the_second_gives_the_deposit_back(chain: Chain, job: Job, wrong: Commit) -> None:
    first, second = chain.accounts[8:10]
    job.demand(first, wrong, 0)
    receipt = job.send(second, "demand", wrong.record, 1, value=2 * DEPOSIT)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.send(first, "expire", wrong.record, 0)
    job.send(second, "expire", wrong.record, 1)
    assert job.account(first).amount == ETHER // 2 + DEPOSIT
    assert job.account(second).amount == 2 * DEPOSIT


def test_a_demander_that_refuses_ether_does_not_keep_a_wrong_commit_alive(
    chain: Chain, job: Job, wrong: Commit, actor: Actor
) -> None:
    actor.refuse()
    receipt = actor.send("demand", job.id, wrong.record, 0, value=DEPOSIT)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.send(chain.accounts[8], "expire", wrong.record, 0)
    assert job.account(actor.address).amount == ETHER // 2 + DEPOSIT
    assert actor.refusal("withdrawBond", job.id) == ("PaymentRefused", {"receiver": actor.address})


def test_a_server_that_demands_from_itself_loses_the_burned_half(chain: Chain, job: Job, wrong: Commit) -> None:
    receipt = job.demand(job.server, wrong)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.send(job.server, "expire", wrong.record, 0)
    account = job.account(job.server)
    assert (account.amount, account.barred, account.demands) == (ETHER // 2 + DEPOSIT, True, 0)


# ------------------------------------------------------------------------------------------------------ what waits


def test_bond_and_finality_wait_for_open_demands(chain: Chain) -> None:
    job = Job(chain, rounds=1, answerSeconds=5000).prepare()
    job.collect()
    commit = job.commit()
    job.demand(chain.accounts[8], commit)
    chain.travel(commit.time + job.terms["challengeSeconds"])
    assert job.refusal(job.server, "withdrawBond") == ("DemandsOpen", {"demands": 1})
    assert job.refusal(job.owner, "finalizeJob") == ("DemandsOpen", {"demands": 1})
    job.send(job.server, "answer", commit.record, 0, commit.openings(0))
    job.send(job.server, "withdrawBond")
    job.send(job.owner, "finalizeJob")


def test_an_expiry_after_the_window_still_rolls_back(chain: Chain) -> None:
    job = Job(chain, rounds=1).prepare()
    job.collect()
    commit = job.commit_wrong()
    chain.travel(commit.time + job.terms["challengeSeconds"] - 2)
    receipt = job.demand(chain.accounts[8], commit)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.send(chain.accounts[8], "expire", commit.record, 0)
    assert (job.state.round, job.account(job.server).barred) == (1, True)


def test_demands_run_in_a_cancelled_job(chain: Chain, job: Job, commit: Commit) -> None:
    job.send(job.owner, "cancelJob")
    receipt = job.demand(chain.accounts[8], commit)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.send(chain.accounts[8], "expire", commit.record, 0)
    assert (job.state.round, job.state.status) == (1, 2)
