"""demand, answer, expire: a server that hides what it committed proves any chunk of it, or loses its bond."""

from __future__ import annotations

import pytest

from tests.contracts.ledger import ETHER, NOBODY, SALT, ZERO, Actor, Chain, Commit, Job, opening

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


def test_a_demand_is_kept_and_counted(chain: Chain, job: Job, commit: Commit) -> None:
    demander = chain.accounts[8]
    receipt = job.demand(demander, commit, 1)
    by = receipt.time + job.terms["answerSeconds"]
    assert receipt.event("ChunkDemanded") == {
        "job": job.id,
        "word": commit.word,
        "demander": demander,
        "round": 1,
        "node": 0,
        "index": 1,
        "answerBy": by,
        "announced": False,
        "deposit": DEPOSIT,
        "excess": 0,
    }
    kept = job.demand_of(commit, 1)
    assert (kept.demander, kept.answerBy, kept.deposits, kept.announced) == (demander, by, 1, False)
    assert job.demand_of(commit, 0).demander == NOBODY
    assert (job.mark(commit).demands, job.account(job.server).demands) == (1, 1)
    assert chain.balance(chain.ledger.address) == ETHER + DEPOSIT


@pytest.mark.parametrize("value", [0, DEPOSIT - 1])
def test_a_demand_costs_the_deposit(chain: Chain, job: Job, commit: Commit, value: int) -> None:
    refusal = job.refusal(chain.accounts[8], "demand", commit.record, 0, 0, ZERO, value=value)
    assert refusal == ("WrongValue", {"sent": value, "required": DEPOSIT})


def test_what_is_sent_beyond_the_deposit_goes_back(chain: Chain, job: Job, commit: Commit) -> None:
    """So a demand that another comes before lands all the same, when it brings a little more."""
    demander = chain.accounts[8]
    event = job.demand(demander, commit, value=3 * DEPOSIT + 1).event("ChunkDemanded")
    assert (event["deposit"], event["excess"]) == (DEPOSIT, 2 * DEPOSIT + 1)
    assert job.send(demander, "withdraw").event("BalanceWithdrawn")["amount"] == 2 * DEPOSIT + 1
    assert chain.balance(chain.ledger.address) == ETHER + DEPOSIT


def test_each_open_demand_makes_the_next_one_dearer(chain: Chain, job: Job, commit: Commit) -> None:
    demander = chain.accounts[8]
    job.demand(demander, commit, 0)
    refusal = job.refusal(demander, "demand", commit.record, 0, 1, ZERO, value=2 * DEPOSIT - 1)
    assert refusal == ("WrongValue", {"sent": 2 * DEPOSIT - 1, "required": 2 * DEPOSIT})
    for index in (1, 2):
        assert job.demand(demander, commit, index, value=9 * DEPOSIT).event("ChunkDemanded")["deposit"] == (
            (index + 1) * DEPOSIT
        )
    job.answer(job.server, commit, 1)
    assert job.account(job.server).balance == 2 * DEPOSIT
    assert job.demand(demander, commit, 1).event("ChunkDemanded")["deposit"] == 3 * DEPOSIT
    assert (job.mark(commit).demands, job.account(job.server).demands) == (3, 3)


def test_demands_on_all_records_of_a_committer_count_for_the_price(chain: Chain) -> None:
    job = Job(chain).prepare()
    job.collect()
    first = job.commit()
    job.collect()
    second = job.commit()
    job.demand(chain.accounts[8], first)
    assert job.demand(chain.accounts[8], second).event("ChunkDemanded")["deposit"] == 2 * DEPOSIT
    assert (job.mark(first).demands, job.mark(second).demands) == (1, 1)


def test_a_server_can_not_shield_a_wrong_chunk_by_demands_of_its_own(chain: Chain, job: Job, wrong: Commit) -> None:
    shield, demander = chain.accounts[7:9]
    job.demand(shield, wrong, 1)
    job.demand(shield, wrong, 2)
    receipt = job.demand(demander, wrong, 0)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.expire(demander, wrong)
    assert job.account(job.server).barred


def test_one_demand_is_open_a_chunk(chain: Chain, job: Job, commit: Commit) -> None:
    job.demand(chain.accounts[8], commit)
    refusal = job.refusal(chain.accounts[9], "demand", commit.record, 0, 0, ZERO, value=2 * DEPOSIT)
    assert refusal == ("AlreadyDemanded", {"round": 1, "node": 0, "index": 0})


@pytest.mark.parametrize(("waits", "counts"), [(None, False), (0, True), (3599, True), (3600, False)])
def test_a_demand_keeps_whether_its_announcement_counted(
    chain: Chain, job: Job, commit: Commit, waits: int | None, counts: bool
) -> None:
    demander = chain.accounts[8]
    if waits is not None:
        chain.travel(job.announce(demander, commit).time + waits)
    receipt = job.send(demander, "demand", commit.record, 0, 0, SALT, value=DEPOSIT)
    assert receipt.event("ChunkDemanded")["announced"] == job.demand_of(commit).announced == counts


def test_an_announcement_counts_for_a_demand_that_shows_its_salt(chain: Chain, job: Job, commit: Commit) -> None:
    demander = chain.accounts[8]
    job.announce(demander, commit, salt=ZERO)
    job.announce(demander, commit, salt=SALT)
    assert not job.demand(demander, commit).event("ChunkDemanded")["announced"]


def test_a_chunk_that_is_not_there_can_not_be_demanded(chain: Chain, job: Job, commit: Commit) -> None:
    refusal = job.refusal(chain.accounts[8], "demand", commit.record, 0, 3, ZERO, value=DEPOSIT)
    assert refusal == ("NoSuchChunk", {"index": 3, "chunks": 3})


def test_demands_are_taken_until_the_window_ends(chain: Chain, job: Job, commit: Commit) -> None:
    ends = job.window_end(commit)
    chain.travel(ends - 2)
    assert job.demand(chain.accounts[8], commit).time == ends - 1
    chain.travel(ends)
    refusal = job.refusal(chain.accounts[8], "demand", commit.record, 0, 1, ZERO, value=2 * DEPOSIT)
    assert refusal == ("WindowOver", {"endedAt": ends})


def test_a_record_that_does_not_stand_can_not_be_demanded(chain: Chain, job: Job, wrong: Commit) -> None:
    job.challenge(chain.accounts[8], wrong)
    refusal = job.refusal(chain.accounts[8], "demand", wrong.record, 0, 0, ZERO, value=DEPOSIT)
    assert refusal == ("UnknownRecord", {"job": job.id, "round": 1})


# ---------------------------------------------------------------------------------------------------------- answering


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_answer_shows_the_chunk_and_ends_the_demand(chain: Chain, job: Job, commit: Commit, index: int) -> None:
    job.demand(chain.accounts[8], commit, index)
    receipt = job.answer(job.server, commit, index)
    assert receipt.event("ChunkAnswered") == {
        "job": job.id,
        "word": commit.word,
        "sender": job.server,
        "round": 1,
        "node": 0,
        "index": index,
        "paid": job.server,
        "deposit": DEPOSIT,
        "chunk": opening(commit.next_tree, index),
    }
    assert job.account(job.server).balance == DEPOSIT
    assert (job.mark(commit).demands, job.account(job.server).demands) == (0, 0)
    assert job.demand_of(commit, index).demander == NOBODY
    refusal = job.refusal(job.server, "answer", commit.record, 0, index, commit.openings(index))
    assert refusal == ("NotDemanded", {"round": 1, "node": 0, "index": index})


@pytest.mark.parametrize("seconds_before_half", [1, 0])
@pytest.mark.parametrize("answer_seconds", [300, 301])
def test_anyone_answers_for_the_committer_at_first_and_for_the_deposit_later(
    chain: Chain, seconds_before_half: int, answer_seconds: int
) -> None:
    """Otherwise a demander would copy the answer and have its deposit back."""
    job = Job(chain, answerSeconds=answer_seconds).prepare()
    job.collect()
    commit = job.commit()
    demander, helper = chain.accounts[8:10]
    by = job.demand(demander, commit).event("ChunkDemanded")["answerBy"]
    half = by - answer_seconds // 2
    chain.travel(half - 1 - seconds_before_half)
    receipt = job.answer(helper, commit)
    assert receipt.time == half - seconds_before_half
    paid = job.server if seconds_before_half else helper
    assert receipt.event("ChunkAnswered")["paid"] == paid
    assert [job.account(a).balance for a in (job.server, helper)] == [
        DEPOSIT * (a == paid) for a in (job.server, helper)
    ]


def test_what_was_not_demanded_is_not_answered(chain: Chain, job: Job, commit: Commit) -> None:
    job.demand(chain.accounts[8], commit, 1)
    refusal = job.refusal(job.server, "answer", commit.record, 0, 0, commit.openings(0))
    assert refusal == ("NotDemanded", {"round": 1, "node": 0, "index": 0})


def test_an_answer_that_shows_the_commit_to_be_wrong_is_none(chain: Chain, job: Job, wrong: Commit) -> None:
    job.demand(chain.accounts[8], wrong)
    refusal = job.refusal(job.server, "answer", wrong.record, 0, 0, wrong.openings(0))
    assert refusal == ("CommitIsWrong", {"round": 1, "node": 0, "index": 0})


def test_openings_of_another_chunk_are_no_answer(chain: Chain, job: Job, commit: Commit) -> None:
    job.demand(chain.accounts[8], commit)
    refusal = job.refusal(job.server, "answer", commit.record, 0, 0, commit.openings(1))
    assert refusal == ("WrongOpening", {"number": 0})


def test_an_answer_is_taken_until_its_time_is_over_and_expiry_from_then_on(
    chain: Chain, job: Job, commit: Commit
) -> None:
    by = job.demand(chain.accounts[8], commit).event("ChunkDemanded")["answerBy"]
    chain.travel(by - 2)
    snapshot = chain.tester.take_snapshot()
    receipt = job.answer(job.server, commit, 0)
    assert receipt.time == by - 1
    chain.tester.revert_to_snapshot(snapshot)
    assert job.refusal(chain.accounts[9], "expire", commit.record, 0, 0) == ("WindowOpen", {"endsAt": by})
    chain.travel(by)
    refusal = job.refusal(job.server, "answer", commit.record, 0, 0, commit.openings(0))
    assert refusal == ("WindowOver", {"endedAt": by})
    chain.tester.revert_to_snapshot(snapshot)
    chain.travel(by - 1)
    assert job.expire(chain.accounts[9], commit).time == by


def test_a_demand_is_answered_though_the_window_has_passed(chain: Chain, job: Job, commit: Commit) -> None:
    chain.travel(job.window_end(commit) - 2)
    job.demand(chain.accounts[8], commit)
    chain.travel(job.window_end(commit) + 100)
    job.answer(job.server, commit, 0)


# ------------------------------------------------------------------------------------------------------------- expiry


@pytest.mark.parametrize("salt", [SALT, ZERO])
def test_a_demand_without_an_answer_costs_the_bond(chain: Chain, job: Job, wrong: Commit, salt: bytes) -> None:
    """A quarter is the demander's if it had announced its finding; otherwise all of it burns."""
    demander, anyone = chain.accounts[8:10]
    reward = ETHER // 4 if salt != ZERO else 0
    chain.travel(job.demand(demander, wrong, salt=salt).event("ChunkDemanded")["answerBy"])
    burned = chain.balance(NOBODY)
    receipt = job.expire(anyone, wrong)
    assert receipt.event("DemandExpired") == {
        "job": job.id,
        "word": wrong.word,
        "demander": demander,
        "round": 1,
        "node": 0,
        "index": 0,
        "deposit": DEPOSIT,
    }
    slashed = receipt.event("BondSlashed")
    assert (slashed["finder"], slashed["amount"], slashed["reward"]) == (demander, ETHER, reward)
    assert receipt.event("RoundReverted")["word"] == wrong.word
    assert chain.balance(NOBODY) == burned + ETHER - reward + receipt.tip
    assert job.account(demander).balance == reward + DEPOSIT == chain.balance(chain.ledger.address)
    assert (job.account(job.server).bond, job.account(job.server).barred) == (0, True)
    assert (job.state.round, job.mark(wrong).demands) == (1, 0)
    job.send(demander, "withdraw")
    assert chain.balance(chain.ledger.address) == 0
    job.bond(anyone)
    job.commit(anyone)


def test_what_was_not_demanded_does_not_expire(chain: Chain, job: Job, commit: Commit) -> None:
    chain.travel(job.demand(chain.accounts[8], commit, 1).event("ChunkDemanded")["answerBy"])
    refusal = job.refusal(chain.accounts[8], "expire", commit.record, 0, 0)
    assert refusal == ("NotDemanded", {"round": 1, "node": 0, "index": 0})


def test_demands_on_void_records_only_give_the_deposit_back(chain: Chain) -> None:
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
    job.demand(demander, void, 1)
    job.challenge(chain.accounts[7], wrong)
    refusal = job.refusal(other, "answer", void.record, 0, 1, void.openings(1))
    assert refusal == ("UnknownRecord", {"job": job.id, "round": 2})
    # It locks the bond until somebody ends it, which its committer may as well.
    chain.travel(job.window_end(void))
    assert job.refusal(other, "withdrawBond") == ("DemandsOpen", {"demands": 1})
    for commit in (wrong, void):
        receipt = job.expire(other, commit, 1)
        assert [event.name for event in receipt.events] == ["DemandExpired"]
    assert job.account(demander).balance == 2 * DEPOSIT
    assert (job.account(other).bond, job.account(other).barred, job.account(other).demands) == (ETHER, False, 0)
    assert job.state.round == 1
    job.send(other, "withdrawBond")


def test_of_two_demands_that_expire_the_second_gives_the_deposit_back(chain: Chain, job: Job, wrong: Commit) -> None:
    first, second = chain.accounts[8:10]
    job.demand(first, wrong, 0, salt=SALT)
    receipt = job.demand(second, wrong, 1, salt=SALT)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.expire(first, wrong, 0)
    job.expire(second, wrong, 1)
    assert job.account(first).balance == ETHER // 4 + DEPOSIT
    assert job.account(second).balance == 2 * DEPOSIT


def test_a_demander_that_refuses_ether_does_not_keep_a_wrong_commit_alive(
    chain: Chain, job: Job, wrong: Commit, actor: Actor
) -> None:
    actor.refuse()
    receipt = actor.send("demand", job.id, wrong.record, 0, 0, ZERO, value=DEPOSIT)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.expire(chain.accounts[8], wrong)
    assert job.account(actor.address).balance == DEPOSIT
    assert actor.refusal("withdraw", job.id) == ("PaymentRefused", {"receiver": actor.address})


def test_a_server_that_demands_from_itself_loses_three_quarters(chain: Chain, job: Job, wrong: Commit) -> None:
    receipt = job.demand(job.server, wrong, salt=SALT)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.expire(job.server, wrong)
    account = job.account(job.server)
    assert (account.bond, account.balance) == (0, ETHER // 4 + DEPOSIT)
    assert (account.barred, account.demands) == (True, 0)


# ------------------------------------------------------------------------------------------------------ what waits


def test_bond_and_settling_wait_for_open_demands(chain: Chain) -> None:
    job = Job(chain, rounds=1).prepare()
    job.collect()
    commit = job.commit()
    chain.travel(job.window_end(commit) - 2)
    job.demand(chain.accounts[8], commit)
    chain.travel(job.window_end(commit))
    assert job.refusal(job.server, "withdrawBond") == ("DemandsOpen", {"demands": 1})
    assert job.refusal(job.owner, "settle", commit.record) == ("DemandsOpen", {"demands": 1})
    job.answer(job.server, commit)
    job.send(job.server, "withdrawBond")
    job.settle(commit)


def test_an_expiry_after_the_window_still_rolls_back(chain: Chain) -> None:
    job = Job(chain, rounds=1).prepare()
    job.collect()
    commit = job.commit_wrong()
    chain.travel(job.window_end(commit) - 2)
    receipt = job.demand(chain.accounts[8], commit)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.expire(chain.accounts[8], commit)
    assert (job.state.round, job.account(job.server).barred) == (1, True)


def test_demands_run_in_a_cancelled_job(chain: Chain, job: Job, commit: Commit) -> None:
    job.send(job.owner, "cancelJob")
    receipt = job.demand(chain.accounts[8], commit)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"])
    job.expire(chain.accounts[8], commit)
    assert (job.state.round, job.state.cancelled) == (1, True)


def test_a_committer_can_not_revert_its_own_right_record(chain: Chain, job: Job, commit: Commit) -> None:
    """It leaves a demand of its own unanswered; anybody who holds the content answers."""
    receipt = job.demand(job.server, commit)
    chain.travel(receipt.event("ChunkDemanded")["answerBy"] - 2)
    job.answer(job.clients[0], commit)
    assert (job.state.round, job.account(job.clients[0]).balance) == (2, DEPOSIT)
