"""What a job's participants and its owner do with money and rounds on the command line, and what `job show` says of it."""

from __future__ import annotations

import re

import pytest

from galaxy_chain.coordinators import LedgerServerCoordinator
from galaxy_chain.following.books import books
from galaxy_chain.following.follower import JobFollower
from tests.galaxy_chain.federation import CHUNK, made_up

ETHER = 10**18
WINDOW = 86_400 + 60
"""The window, and more than blocks are ahead of the clock."""


@pytest.fixture
def paid(federation, at_ledger):
    """A job of two rounds with a pool of ten ether, the first of which is committed, and the second collecting."""
    federation.job = federation.register(server=federation.server)
    federation.ledger(federation.owner).fund(federation.job, value=10 * ETHER).transact()
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, seed=2)
    return at_ledger


def commit_last(federation):
    federation.travel(160)
    federation.commit()


def ether_of(federation, address):
    return federation.rpc.number("eth_getBalance", address, "latest")


def names(federation, *indices):
    return [federation.clients[index] for index in indices]


def account(federation, index):
    return f"dev:{federation.node.accounts.index(federation.clients[index])}"


def test_what_goes_to_a_pipe_is_whole_however_narrow_the_terminal_is(paid, federation, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert paid.run("job", "show", federation.job) == 0
    assert all(client in paid.out for client in federation.clients)
    assert "…" not in re.sub(r" [0-9a-f]{12}… ", "", paid.out)  # models' roots are short everywhere


def test_before_its_window_is_over_nothing_is_settled_or_claimed_and_it_says_until_when(paid, federation):
    job = federation.job
    when = r"job \d+: round 1 can be challenged until \d{4}-\d\d-\d\d \d\d:"
    paid.fails(11, when, "job", "settle", job, "--account", "dev:9")
    paid.fails(11, when, "claim", job, "--account", account(federation, 0))
    paid.fails(27, "nothing to pay out to 0x", "withdraw", job, "--account", account(federation, 0))
    assert paid.run("job", "show", job) == 0
    assert re.search(
        "pool 10 ether: 0 ether paid, 0 ether to be claimed, 5 ether open in rounds .*, 5 ether not", paid.out
    )
    assert re.search(r" 5 +open until \d{4}-", paid.out)
    assert re.search("demand_deposit +0.01 ether", paid.out)
    shown = paid.json("job", "show", job)
    [row] = shown["rounds"]
    assert (row["reward"], row["server_amount"], row["client_amount"]) == (5 * ETHER, ETHER, 4 * ETHER // 3)
    assert (row["settled"], row["demands"]) == (False, [])
    assert row["settles_from"] == row["challengeable_until"]
    assert shown["earned"][federation.clients[2]] == {"balance": 0, "claimable": 0, "unsettled": 4 * ETHER // 3}
    assert shown["servers"][federation.server]["free_from"] > row["challengeable_until"] - 100


def test_a_round_is_settled_claimed_and_paid_out(paid, federation):
    job, client = federation.job, federation.clients[0]
    federation.travel(WINDOW)
    settled = paid.json("job", "settle", job, "--account", "dev:9")
    assert [(step["round"], step["server_amount"]) for step in settled["rounds"]] == [(1, ETHER)]
    assert paid.json("job", "show", job)["money"]["claimable"] == 3 * (4 * ETHER // 3)
    paid.fails(11, "all 1 rounds that are committed are settled", "job", "settle", job, "--account", "dev:9")
    claimed = paid.json("claim", job, "--account", account(federation, 0))
    assert [(step["clients"], step["amount"], step["settled"]) for step in claimed["rounds"]] == [
        (1, 4 * ETHER // 3, False)
    ]
    assert paid.json("claim", job, "--account", account(federation, 0))["rounds"] == []
    before = ether_of(federation, client)
    withdrawn = paid.json("withdraw", job, "--account", account(federation, 0))
    assert (withdrawn["account"], withdrawn["amount"]) == (client, 4 * ETHER // 3)
    assert 4 * ETHER // 3 - ETHER // 100 < ether_of(federation, client) - before < 4 * ETHER // 3
    paid.fails(2, "is not an address", "withdraw", job, "--for", "me", "--account", "dev:9")
    paid.fails(27, f"nothing to pay out to {client}", "withdraw", job, "--for", client, "--account", "dev:9")
    money = paid.json("job", "show", job)["money"]
    assert (money["paid"], money["claimable"], money["open"]) == (ETHER + 4 * ETHER // 3, 2 * (4 * ETHER // 3), 0)
    assert sum(money[part] for part in ("paid", "claimable", "open", "dust", "rest")) == money["pool"] == 10 * ETHER
    other = federation.clients[1]
    assert paid.json("claim", job, "--account", account(federation, 1))["rounds"]
    before = ether_of(federation, other)
    for_other = paid.json("withdraw", job, "--for", other, "--account", "dev:9")
    assert (for_other["account"], for_other["amount"]) == (other, 4 * ETHER // 3)
    assert ether_of(federation, other) == before + 4 * ETHER // 3


def test_one_claims_for_many_and_settles_on_the_way(paid, federation):
    job = federation.job
    commit_last(federation)
    federation.travel(WINDOW)
    paid.fails(
        2, "exclude each other", "claim", job, "--everybody", "--for", federation.clients[0], "--account", "dev:9"
    )
    paid.fails(2, "has no commit of round 3: 2 are", "claim", job, "--round", 3, "--everybody", "--account", "dev:9")
    paid.fails(2, f"{federation.owner} has not joined job", "claim", job, "--account", "dev:0")
    paid.fails(2, "is not an address", "claim", job, "--for", "bob", "--account", "dev:9")
    two = [option for client in names(federation, 0, 1) for option in ("--for", client.lower())]
    claimed = paid.json("claim", job, "--round", 1, *two, "--account", "dev:9")
    assert [(step["round"], step["settled"], step["clients"]) for step in claimed["rounds"]] == [(1, True, 2)]
    assert paid.run("claim", job, "--everybody", "--account", "dev:9") == 0
    assert re.search("round 1: 1 clients credited with 1.33333 ether each", paid.out)
    assert re.search("round 2, settled: 2 clients credited with 2 ether each", paid.out)
    assert "5.33333 ether of job" in paid.out
    assert paid.run("claim", job, "--everybody", "--account", "dev:9") == 0
    assert f"nothing is left to be claimed of job {job}" in paid.out
    assert paid.run("job", "finalize", job, "--account", "dev:9") == 0
    assert "2 of 2 rounds settled" in (paid.run("job", "show", job), paid.out)[1]
    shown = paid.json("job", "show", job)
    assert shown["status"] == "final"
    assert [row["settled"] for row in shown["rounds"]] == [True, True]
    assert {name: of["claimable"] for name, of in shown["earned"].items()} == dict.fromkeys(shown["earned"], 0)


def test_the_owner_shortens_a_job_and_gets_the_rest(paid, federation):
    job = federation.job
    paid.fails(
        11,
        r"is not idle: others than its owner can cancel it, .* from \d{4}-",
        "job",
        "cancel",
        job,
        "--account",
        "dev:9",
    )
    assert paid.run("job", "cancel", job, "--account", "dev:0") == 0
    assert "ends with round 2" in paid.out
    assert paid.json("job", "show", job)["status"] == "cancelled"
    assert paid.json("job", "list")[-1]["status"] == "cancelled"
    paid.fails(27, "was cancelled before", "job", "cancel", job, "--account", "dev:0")
    paid.fails(
        11,
        r"are settled, but 1 have to be.*round 1 can be challenged until \d{4}-",
        "job",
        "finalize",
        job,
        "--account",
        "dev:9",
    )
    federation.travel(WINDOW)
    assert paid.run("job", "settle", job, "--account", "dev:9") == 0
    paid.fails(11, r"is not idle.* from \d{4}-", "job", "finalize", job, "--account", "dev:9")
    federation.travel(2 * 7_260)
    assert paid.run("job", "finalize", job, "--account", "dev:9") == 0
    assert "5 ether that no round has earned" in paid.out
    assert paid.json("withdraw", job, "--account", "dev:0")["amount"] == 5 * ETHER
    paid.fails(27, "final", "job", "finalize", job, "--account", "dev:9")


def test_a_client_is_expelled_and_keeps_what_it_has(paid, federation):
    job = federation.job
    paid.fails(27, "is not the job's owner", "job", "expel", job, federation.clients[2], "--account", "dev:9")
    paid.fails(2, "is not an address", "job", "expel", job, "bob", "--account", "dev:0")
    assert paid.run("job", "expel", job, federation.clients[2].lower(), "--account", "dev:0") == 0
    assert paid.json("job", "show", job)["expelled"] == [federation.clients[2]]
    federation.travel(WINDOW)
    assert paid.json("claim", job, "--account", account(federation, 2))["rounds"][0]["clients"] == 1


def test_a_model_that_nobody_builds_upon_is_superseded_when_it_is_time(federation, at_ledger):
    federation.job = job = federation.register(server=federation.server)
    at_ledger.fails(11, "has no commit that this account can supersede", "job", "supersede", job, "--account", "dev:9")
    federation.submit(0, 1, 2)
    federation.commit()
    own = f"dev:{federation.node.accounts.index(federation.server)}"
    at_ledger.fails(11, "and not the account's own", "job", "supersede", job, "--account", own)
    other = ("job", "supersede", job, "--account", "dev:9")
    at_ledger.fails(11, "round 1 of job .* can be superseded from .* if nobody builds upon it", *other)
    federation.travel(7_260)
    at_ledger.fails(27, "the bond is 0 wei", *other)
    assert at_ledger.run("bond", "deposit", job, "1 ether", "--account", "dev:9") == 0
    assert at_ledger.run(*other) == 0
    assert at_ledger.run("job", "show", job) == 0
    assert re.search(f"{federation.server} +1 ether +0 +late", at_ledger.out)
    assert at_ledger.run("bond", "show", job, federation.server) == 0
    assert "late: round 1 was superseded" in at_ledger.out
    aside = at_ledger.json("audit", job)[0]
    assert aside.keys() == {"superseded", "round", "attempt", "sender", "server", "objections"}
    assert (aside["superseded"], aside["server"]) == (1, federation.server)
    assert at_ledger.run("audit", job) == 0
    assert "at attempt 1 was superseded by" in at_ledger.out


def test_what_is_demanded_is_shown_until_when(paid, federation):
    job = federation.job
    server = federation.serve()
    commit = server.history.commits[1]
    federation.ledger(federation.clients[0]).demand(
        job, commit.record, 0, 1, bytes(32), value=federation.terms().demand_deposit
    ).transact()
    [demand] = paid.json("job", "show", job)["rounds"][0]["demands"]
    assert (demand["node"], demand["chunk"], demand["demander"]) == (0, 1, federation.clients[0])
    assert paid.run("job", "show", job) == 0
    assert re.search(r"1 chunks demanded, until \d{4}-", paid.out)
    federation.travel(WINDOW)
    paid.fails(11, "1 demands on round 1 wait for an answer until", "job", "settle", job, "--account", "dev:9")


def test_a_bond_is_shown_and_taken_back_when_it_is_free(paid, federation):
    job, own = federation.job, f"dev:{federation.node.accounts.index(federation.server)}"
    assert paid.run("bond", "show", job, federation.server) == 0
    assert re.search(r"bond 1 ether, 0 demands to answer; locked until \d{4}-.*; balance 0 ether", paid.out)
    paid.fails(11, r"the time for it comes at \d{4}-", "bond", "withdraw", job, "--account", own)
    federation.travel(WINDOW)
    assert paid.run("bond", "withdraw", job, "--account", own) == 0
    assert paid.json("bond", "show", job, federation.server)["bond"] == 0


def test_the_books_add_up_after_a_lie(federation):
    federation.job = job = federation.register(server=federation.server, rounds=3)
    ledger = federation.ledger(federation.owner)
    ledger.fund(job, value=10 * ETHER + 1).transact()
    follower = JobFollower(ledger, job)
    for round in (1, 2):
        federation.submit(0, 1, 2, seed=round)
        federation.commit(made_up(9) if round == 2 else None)
        follower.poll()
        found = books(follower.history)
        assert found.open == follower.history.allotted
        assert found.paid + found.claimable + found.open + found.dust + found.rest == found.pool == 10 * ETHER + 1
    assert isinstance(federation.serve(), LedgerServerCoordinator)
    assert follower.history.terms.chunk_parameters == CHUNK
