"""Funding, admission, joining, cancelling, and how the pool is split."""

from __future__ import annotations

from tests.contracts.ledger import ETHER, ZERO, Actor, Chain, Job

CANCELLED, FINAL = 2, 3


def test_anyone_adds_to_the_pool_while_the_job_runs(chain: Chain, job: Job) -> None:
    funder = chain.accounts[8]
    event = job.send(funder, "fund", value=5).event("JobFunded")
    assert event == {"job": job.id, "funder": funder, "amount": 5}
    assert chain.view("jobOf", job.id).pool == 5
    job.send(job.owner, "cancelJob")
    assert job.refusal(funder, "fund", value=5) == ("JobNotRunning", {"job": job.id, "status": CANCELLED})


# ------------------------------------------------------------------------------------------------------- admission


def test_joining_is_announced_with_samples_and_key(chain: Chain) -> None:
    job = Job(chain)
    client = job.clients[0]
    receipt = job.send(client, "join", 2**24 - 1, b"\7" * 32)
    assert receipt.event("ClientJoined") == {
        "job": job.id,
        "client": client,
        "samples": 2**24 - 1,
        "key": b"\7" * 32,
    }
    kept = job.client(client)
    assert (kept.samples, kept.attempt, kept.credits, kept.digest) == (2**24 - 1, 0, 0, 0)


def test_a_client_joins_once_and_with_samples(chain: Chain, job: Job) -> None:
    client, other = job.clients[0], chain.accounts[8]
    assert job.refusal(client, "join", 5, ZERO) == ("AlreadyJoined", {"client": client})
    assert job.refusal(other, "join", 0, ZERO) == ("NoSamples", {})


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


def test_only_the_owner_admits_and_cancels(chain: Chain, job: Job) -> None:
    for stranger in (chain.accounts[8], job.server, job.clients[0]):
        not_owner = ("NotOwner", {"caller": stranger, "owner": job.owner})
        assert job.refusal(stranger, "admit", [stranger]) == not_owner
        assert job.refusal(stranger, "cancelJob") == not_owner


# ---------------------------------------------------------------------------------------------- cancelled and final


def test_a_cancelled_job_takes_nothing_more(chain: Chain, job: Job) -> None:
    assert job.send(job.owner, "cancelJob").event("JobCancelled") == {"job": job.id, "owner": job.owner}
    over = ("JobNotRunning", {"job": job.id, "status": CANCELLED})
    assert job.refusal(chain.accounts[8], "join", 1, ZERO) == over
    assert job.refusal(job.clients[0], "submitUpdate", 1, job.upload(job.clients[0]).update) == over
    assert job.refusal(job.server, "commitRound", *job.commit_arguments(job.attempt.model)) == over
    assert job.refusal(job.server, "reopenRound", 1, job.attempt.head, []) == over
    assert job.refusal(job.owner, "cancelJob") == over


def test_a_job_ends_with_its_last_round(chain: Chain) -> None:
    job = Job(chain, rounds=1).prepare()
    job.collect()
    job.commit()
    over = ("JobNotRunning", {"job": job.id, "status": 1})
    assert job.refusal(job.clients[0], "submitUpdate", 2, job.upload(job.clients[0]).update) == over
    assert job.refusal(job.owner, "cancelJob") == over
    assert job.refusal(chain.accounts[8], "join", 1, ZERO) == over


def test_a_running_job_can_not_be_finalized(job: Job) -> None:
    assert job.refusal(job.owner, "finalizeJob") == ("JobNotRunning", {"job": job.id, "status": 1})


def test_finality_waits_for_the_last_window(chain: Chain) -> None:
    job = Job(chain, rounds=1, pool=ETHER).prepare()
    job.collect()
    commit = job.commit()
    ends = commit.time + job.terms["challengeSeconds"]
    chain.travel(ends - 1)
    assert job.refusal(chain.accounts[8], "finalizeJob") == ("WindowOpen", {"endsAt": ends})
    receipt = job.send(chain.accounts[8], "finalizeJob")
    assert receipt.time == ends
    assert receipt.event("JobFinalized") == {
        "job": job.id,
        "root": commit.next_tree.root,
        "earned": ETHER,
    }
    assert job.refusal(job.owner, "finalizeJob") == ("JobNotRunning", {"job": job.id, "status": FINAL})


def test_cancelling_does_not_shorten_the_window(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit()
    job.send(job.owner, "cancelJob")
    ends = commit.time + job.terms["challengeSeconds"]
    assert job.refusal(job.owner, "finalizeJob") == ("WindowOpen", {"endsAt": ends})
    assert job.refusal(job.server, "withdrawBond") == ("WindowOpen", {"endsAt": ends})


def test_the_pool_is_split_by_credits_and_rounds(chain: Chain) -> None:
    """Two of three rounds are final: two thirds of the pool are earned, 3 : 2 for five submissions."""
    job = Job(chain, pool=900, minUpdates=1, collectSeconds=10).prepare()
    steady, guest, idle = job.clients
    job.collect([steady, guest])
    job.commit()
    job.collect([steady, guest])
    job.commit()
    job.submit(steady)
    job.send(job.owner, "cancelJob")
    chain.travel(job.state.finalAt)
    assert job.send(job.owner, "finalizeJob").event("JobFinalized")["earned"] == 600
    before = {address: chain.balance(address) for address in (steady, guest)}
    receipt = job.send(steady, "claimReward")
    assert receipt.event("RewardClaimed") == {"job": job.id, "client": steady, "amount": 360}
    assert chain.balance(steady) == before[steady] + 360 - receipt.fee
    assert job.send(guest, "claimReward").event("RewardClaimed")["amount"] == 240
    assert job.send(job.owner, "claimReward").event("RewardClaimed")["amount"] == 300
    for address in (steady, guest, idle, job.owner):
        assert job.refusal(address, "claimReward") == ("NothingToPay", {"account": address})
    assert chain.balance(chain.ledger.address) == job.terms["bond"]


def test_a_job_without_a_round_gives_everything_back(chain: Chain) -> None:
    job = Job(chain, pool=900).prepare()
    job.submit(job.clients[0])
    job.send(job.owner, "cancelJob")
    job.send(job.owner, "finalizeJob")
    assert job.refusal(job.clients[0], "claimReward") == ("NothingToPay", {"account": job.clients[0]})
    assert job.send(job.owner, "claimReward").event("RewardClaimed")["amount"] == 900


def test_an_owner_that_takes_part_gets_both_shares_at_once(chain: Chain) -> None:
    job = Job(chain, pool=900, rounds=3, minUpdates=1, maxUpdates=1).prepare()
    job.join(job.owner)
    job.collect([job.owner])
    job.commit()
    job.send(job.owner, "cancelJob")
    chain.travel(job.state.finalAt)
    job.send(job.owner, "finalizeJob")
    assert job.send(job.owner, "claimReward").event("RewardClaimed")["amount"] == 900


def test_nothing_is_paid_before_the_job_is_final(job: Job) -> None:
    assert job.refusal(job.owner, "claimReward") == ("JobNotRunning", {"job": job.id, "status": 1})


def test_rounding_dust_stays_in_the_ledger(chain: Chain) -> None:
    job = Job(chain, pool=10, rounds=1).prepare()
    job.collect()
    job.commit()
    chain.travel(job.state.finalAt)
    job.send(job.owner, "finalizeJob")
    for client in job.clients:
        assert job.send(client, "claimReward").event("RewardClaimed")["amount"] == 3
    assert job.refusal(job.owner, "claimReward") == ("NothingToPay", {"account": job.owner})
    assert chain.balance(chain.ledger.address) == job.terms["bond"] + 1


# --------------------------------------------------------------------------------------------------- hostile receivers


def _final_with_actor(chain: Chain, actor: Actor) -> Job:
    job = Job(chain, pool=1000, rounds=1, minUpdates=1, maxUpdates=2).prepare()
    actor.send("join", job.id, 10, ZERO)
    upload = job.upload(actor.address)
    actor.send("submitUpdate", job.id, 1, upload.update)
    job.record_upload(upload)
    job.collect([job.clients[0]])
    job.commit()
    chain.travel(job.state.finalAt)
    job.send(job.owner, "finalizeJob")
    return job


def test_claiming_again_from_within_the_payment_gets_nothing(chain: Chain, actor: Actor) -> None:
    job = _final_with_actor(chain, actor)
    actor.call_back("claimReward", job.id)
    actor.send("claimReward", job.id)
    assert (actor.entered, chain.balance(actor.address)) == (0, 500)


def test_a_client_that_refuses_ether_keeps_its_claim(chain: Chain, actor: Actor) -> None:
    job = _final_with_actor(chain, actor)
    actor.refuse()
    assert actor.refusal("claimReward", job.id) == ("PaymentRefused", {"receiver": actor.address})
    assert job.client(actor.address).credits == 1
    job.send(job.clients[0], "claimReward")
