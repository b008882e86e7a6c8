"""Funding, admission, joining, cancelling and finalizing."""

from __future__ import annotations

import pytest

from tests.contracts.ledger import ETHER, ZERO, Chain, Commit, Job

FINAL = 2


def test_anyone_adds_to_the_pool_until_the_job_is_cancelled(chain: Chain, job: Job) -> None:
    funder = chain.accounts[8]
    event = job.send(funder, "fund", value=5).event("JobFunded")
    assert event == {"job": job.id, "funder": funder, "amount": 5}
    assert chain.view("jobOf", job.id).pool == 5
    job.send(job.owner, "cancelJob")
    assert job.refusal(funder, "fund", value=5) == ("AlreadyCancelled", {"job": job.id})


def test_nobody_adds_to_a_pool_whose_rounds_are_all_committed(chain: Chain) -> None:
    job = Job(chain, rounds=1).prepare()
    job.collect()
    wrong = job.commit_wrong()
    assert job.refusal(job.owner, "fund", value=5) == ("JobNotRunning", {"job": job.id, "status": 1})
    job.challenge(chain.accounts[8], wrong)
    job.send(job.owner, "fund", value=5)


# ------------------------------------------------------------------------------------------------------- admission


def test_a_client_joins_with_samples_and_key(chain: Chain) -> None:
    job = Job(chain)
    client = job.clients[0]
    receipt = job.send(client, "join", 100, b"\7" * 32)
    assert receipt.event("ClientJoined") == {"job": job.id, "client": client, "samples": 100, "key": b"\7" * 32}
    kept = job.client(client)
    assert (kept.samples, kept.attempt, kept.digest) == (100, 0, 0)


def test_a_client_joins_once_and_with_samples_up_to_the_largest_weight(chain: Chain, job: Job) -> None:
    client, other = job.clients[0], chain.accounts[8]
    assert job.refusal(client, "join", 5, ZERO) == ("AlreadyJoined", {"client": client})
    for samples in (0, 101, 2**32 - 1):
        refusal = job.refusal(other, "join", samples, ZERO)
        assert refusal == ("SamplesOutOfRange", {"samples": samples, "maxWeight": 100})


def test_a_closed_job_takes_the_admitted_only(chain: Chain) -> None:
    job = Job(chain, open=False)
    admitted, other = chain.accounts[6:8]
    assert job.refusal(admitted, "join", 1, ZERO) == ("NotAdmitted", {"client": admitted})
    receipt = job.send(job.owner, "admit", [admitted])
    assert receipt.event("ClientAdmitted") == {"job": job.id, "client": admitted}
    job.join(admitted)
    assert job.refusal(other, "join", 1, ZERO) == ("NotAdmitted", {"client": other})
    assert job.client(admitted).admitted


def test_admitting_twice_takes_nothing_away(chain: Chain) -> None:
    job = Job(chain, open=False)
    client = chain.accounts[6]
    job.send(job.owner, "admit", [client])
    job.join(client, samples=33)
    job.send(job.owner, "admit", [client, client])
    assert (job.client(client).samples, job.client(client).admitted) == (33, True)


def test_an_expelled_address_neither_joins_nor_comes_back_by_admission(chain: Chain, job: Job) -> None:
    client = chain.accounts[8]
    job.send(job.owner, "expel", client)
    job.send(job.owner, "admit", [client])
    assert job.refusal(client, "join", 1, ZERO) == ("Expelled", {"client": client})


def test_only_the_owner_admits_and_expels(chain: Chain, job: Job) -> None:
    for stranger in (chain.accounts[8], job.server, job.clients[0]):
        not_owner = ("NotOwner", {"caller": stranger, "owner": job.owner})
        assert job.refusal(stranger, "admit", [stranger]) == not_owner
        assert job.refusal(stranger, "expel", job.clients[1]) == not_owner


def test_anybody_registers_a_key_of_its_own_and_only_the_owner_shares_keys(chain: Chain, job: Job) -> None:
    stranger, key, digest = chain.accounts[8], b"\x01" * 32, b"\x02" * 32
    receipt = job.send(stranger, "registerKey", key)
    assert receipt.event("KeyRegistered") == {"job": job.id, "account": stranger, "key": key}
    receipt = job.send(job.owner, "shareKey", digest, b"wrapped")
    assert receipt.event("KeyShared") == {"job": job.id, "digest": digest, "wraps": b"wrapped"}
    for sender in (stranger, job.server, job.clients[0]):
        refused = ("NotOwner", {"caller": sender, "owner": job.owner})
        assert job.refusal(sender, "shareKey", digest, b"forged") == refused


# ------------------------------------------------------------------------------------------------------- cancelling


def test_a_cancelled_job_ends_with_the_current_round_and_goes_on_until_then(chain: Chain) -> None:
    job = Job(chain, rounds=5, pool=1000).prepare()
    job.collect()
    job.commit()
    job.submit(job.clients[0])
    receipt = job.send(job.owner, "cancelJob")
    cancelled = {"job": job.id, "sender": job.owner, "lastRound": 2, "time": receipt.time}
    assert receipt.event("JobCancelled") == cancelled
    assert (job.state.lastRound, job.state.cancelled, job.state.activeAt) == (2, True, receipt.time)
    assert job.refusal(job.owner, "cancelJob") == ("AlreadyCancelled", {"job": job.id})
    job.join(chain.accounts[8])
    job.collect(job.clients[1:])
    commit = job.commit()
    # Of the job's five rounds, not of the two that are left: nobody's pay depends on what the owner does later.
    assert commit.reward == 200
    assert chain.view("recordOf", job.id, 2) == commit.word
    over = ("JobNotRunning", {"job": job.id, "status": 1})
    assert job.refusal(job.clients[0], "submitUpdate", *job.submit_arguments(job.upload(job.clients[0]))) == over


def test_a_round_that_was_committed_once_stays_in_a_cancelled_job(chain: Chain) -> None:
    job = Job(chain, rounds=5).prepare()
    job.collect()
    wrong = job.commit_wrong()
    job.collect()
    job.commit()
    job.challenge(chain.accounts[8], wrong)
    job.send(job.owner, "cancelJob")
    assert (job.state.round, job.state.lastRound) == (1, 2)


def test_cancelling_does_not_lengthen_a_job(chain: Chain) -> None:
    job = Job(chain, rounds=1).prepare()
    job.collect()
    job.commit()
    assert job.send(job.owner, "cancelJob").event("JobCancelled")["lastRound"] == 1


def test_a_job_ends_with_its_last_round(chain: Chain) -> None:
    job = Job(chain, rounds=1).prepare()
    job.collect()
    job.commit()
    over = ("JobNotRunning", {"job": job.id, "status": 1})
    assert job.refusal(job.clients[0], "submitUpdate", *job.submit_arguments(job.upload(job.clients[0]))) == over
    assert job.refusal(chain.accounts[8], "join", 1, ZERO) == over
    assert job.refusal(job.server, "commitRound", *job.commit_arguments(job.attempt.model)) == over
    assert job.refusal(job.server, "reopenRound", job.number, job.attempt.head) == over


def _since(job: Job, what: str) -> int:
    """Let that happen last, and give when it did."""
    chain = job.chain
    if what == "registration":
        return job.registered.time
    job.collect()
    if what == "closing":
        return int(job.state.closesAt)
    if what == "rollback":
        return job.challenge(chain.accounts[8], job.commit_wrong()).time
    commit = job.commit()
    if what == "commit":
        return commit.time
    if what == "superseding":
        job.bond(chain.accounts[8])
        chain.travel(commit.time + job.terms["idleSeconds"])
        return job.supersede(chain.accounts[8], commit).time
    chain.travel(job.window_end(commit))
    return job.settle(commit).time


@pytest.mark.parametrize("what", ["registration", "closing", "rollback", "commit", "superseding", "settlement"])
def test_anyone_cancels_an_idle_job(chain: Chain, job: Job, what: str) -> None:
    stranger = chain.accounts[7]
    idle = _since(job, what) + 2 * job.terms["idleSeconds"]
    chain.travel(idle - 1)
    assert job.refusal(stranger, "cancelJob") == ("JobNotIdle", {"job": job.id, "idleAt": idle})
    assert job.send(stranger, "cancelJob").time == idle


def test_entries_that_are_too_few_and_reopenings_do_not_keep_a_job_from_being_idle(chain: Chain, job: Job) -> None:
    job.collect()
    chain.travel(job.state.closesAt + 4 * job.terms["aggregateSeconds"])
    job.reopen()
    idle = job.state.activeAt + 2 * job.terms["idleSeconds"]
    chain.travel(idle - 2)
    job.submit(job.clients[0])
    assert job.send(chain.accounts[7], "cancelJob").time == idle


def test_nobody_but_the_owner_cancels_while_commits_wait_for_settling(chain: Chain) -> None:
    job = Job(chain, maxUnsettled=1).prepare()
    job.collect()
    job.commit()
    chain.travel(job.state.activeAt + 3 * job.terms["idleSeconds"])
    refused = ("TooManyUnsettled", {"unsettled": 1, "allowed": 1})
    assert job.refusal(chain.accounts[8], "cancelJob") == refused
    job.send(job.owner, "cancelJob")


# ------------------------------------------------------------------------------------------------------- finalizing


def _ended(chain: Chain) -> tuple[Job, Commit]:
    job = Job(chain, rounds=1, pool=ETHER).prepare()
    job.collect()
    return job, job.commit()


def test_a_job_is_final_once_its_last_round_is_settled(chain: Chain) -> None:
    job, commit = _ended(chain)
    unsettled = ("JobNotSettled", {"job": job.id, "settled": 0, "required": 1})
    assert job.refusal(chain.accounts[8], "finalizeJob") == unsettled
    job.settle(commit)
    receipt = job.send(chain.accounts[8], "finalizeJob")
    root = commit.next_tree.root
    assert receipt.event("JobFinalized") == {"job": job.id, "owner": job.owner, "root": root, "rest": 0}
    over = ("JobNotRunning", {"job": job.id, "status": FINAL})
    assert job.state.status == FINAL
    assert job.refusal(job.owner, "finalizeJob") == over
    assert job.refusal(job.owner, "cancelJob") == over
    assert job.refusal(job.owner, "fund", value=1) == over
    assert job.refusal(job.server, "depositBond", value=1) == over


def test_a_running_job_can_not_be_finalized_however_idle(chain: Chain, job: Job) -> None:
    chain.travel(chain.now + 10 * job.terms["idleSeconds"])
    refusal = job.refusal(job.owner, "finalizeJob")
    assert refusal == ("JobNotSettled", {"job": job.id, "settled": 0, "required": 3})


def test_a_cancelled_job_is_final_once_idle_with_all_that_stands_settled(chain: Chain) -> None:
    job = Job(chain, rounds=5, pool=1000).prepare()
    job.collect()
    commit = job.commit()
    job.send(job.owner, "cancelJob")
    job.submit(job.clients[0])
    chain.travel(commit.time + 2 * job.terms["idleSeconds"])
    unsettled = ("JobNotSettled", {"job": job.id, "settled": 0, "required": 1})
    assert job.refusal(job.owner, "finalizeJob") == unsettled
    idle = job.settle(commit).time + 2 * job.terms["idleSeconds"]
    chain.travel(idle - 1)
    assert job.refusal(job.owner, "finalizeJob") == ("JobNotIdle", {"job": job.id, "idleAt": idle})
    receipt = job.send(chain.accounts[8], "finalizeJob")
    assert (receipt.time, receipt.event("JobFinalized")["rest"]) == (idle, 800)
    # What was settled is claimed, and all is withdrawn, in a final job as before.
    job.claim(commit)
    for address, amount in [(job.owner, 800), (job.server, 40), *((client, 53) for client in job.clients)]:
        assert job.send(address, "withdraw").event("BalanceWithdrawn")["amount"] == amount
    assert chain.balance(chain.ledger.address) == job.terms["bond"] + 1


def test_a_job_without_a_round_gives_everything_back(chain: Chain) -> None:
    job = Job(chain, pool=900).prepare()
    job.send(job.owner, "cancelJob")
    chain.travel(job.state.activeAt + 2 * job.terms["idleSeconds"])
    assert job.send(job.owner, "finalizeJob").event("JobFinalized")["rest"] == 900
    assert job.send(job.owner, "withdraw").event("BalanceWithdrawn")["amount"] == 900


def test_a_second_cancelling_can_not_keep_a_job_from_its_end(chain: Chain) -> None:
    """Cancelling counts for idleness; were it possible again and again, an owner could lock late bonds for ever."""
    job = Job(chain, pool=900).prepare()
    cancelled = job.send(job.owner, "cancelJob").time
    chain.travel(cancelled + 2 * job.terms["idleSeconds"] - 1)
    assert job.refusal(job.owner, "cancelJob")[0] == "AlreadyCancelled"
    job.send(chain.accounts[8], "finalizeJob")
