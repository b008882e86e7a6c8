"""settle, claim, withdraw and bonds: money is what settled records say."""

from __future__ import annotations

import pytest

from tests.contracts.ledger import ETHER, NOBODY, SALT, Chain, Commit, Job


@pytest.fixture
def job(chain: Chain) -> Job:
    """Four rounds of 250 wei each, of which a fifth is the server's and 66 each of three clients'."""
    return Job(chain, pool=1000, rounds=4).prepare()


def _round(job: Job, **how: object) -> Commit:
    job.collect()
    return job.commit(**how)  # type: ignore[arg-type]


def _balances(job: Job) -> list[int]:
    return [job.account(address).balance for address in (job.server, *job.clients)]


# -------------------------------------------------------------------------------------------------------------- settle


def test_settling_credits_the_committer(chain: Chain, job: Job) -> None:
    commit = _round(job)
    job.collect()
    receipt = job.settle(commit, chain.accounts[8])
    assert receipt.event("RoundSettled") == {
        "job": job.id,
        "round": 1,
        "server": job.server,
        "serverAmount": 50,
        "clientAmount": 66,
        "closesAt": job.state.closesAt,
        "time": receipt.time,
    }
    assert (job.state.settled, job.state.activeAt) == (1, receipt.time)
    assert _balances(job) == [50, 0, 0, 0]


def test_a_commit_without_a_share_leaves_the_clients_the_whole_reward(chain: Chain) -> None:
    job = Job(chain, pool=1000, rounds=4, server=NOBODY).prepare()
    commit = _round(job)
    job.collect()
    settled = job.settle(commit).event("RoundSettled")
    assert (settled["serverAmount"], settled["clientAmount"]) == (0, 83)


def test_settling_waits_for_the_window(chain: Chain, job: Job) -> None:
    commit = _round(job)
    job.collect()
    ends = job.window_end(commit)
    chain.travel(ends - 1)
    assert job.refusal(job.owner, "settle", commit.record) == ("WindowOpen", {"endsAt": ends})
    assert job.send(job.owner, "settle", commit.record).time == ends


def test_records_settle_in_order_and_once(job: Job) -> None:
    first, second = _round(job), _round(job)
    job.collect()
    job.chain.travel(job.window_end(second))
    assert job.refusal(job.owner, "settle", second.record) == ("WrongRound", {"round": 2, "required": 1})
    job.settle(first)
    assert job.refusal(job.owner, "settle", first.record) == ("WrongRound", {"round": 1, "required": 2})
    job.settle(second)


@pytest.mark.parametrize("how", ["by entries", "by time"])
def test_what_is_built_upon(chain: Chain, how: str) -> None:
    job = Job(chain, rounds=4, idleSeconds=10_000, challengeSeconds=9000).prepare()
    commit = _round(job)
    job.submit(job.clients[0])
    chain.travel(job.window_end(commit))
    built = commit.time + 2 * 10_000
    refused = ("NotBuiltUpon", {"round": 1, "builtAt": built})
    assert job.refusal(job.owner, "settle", commit.record) == refused
    if how == "by entries":
        job.submit(job.clients[1])
    else:
        chain.travel(built - 1)
        assert job.refusal(job.owner, "settle", commit.record) == refused
    job.send(job.owner, "settle", commit.record)


def test_the_last_round_settles_with_nothing_built_upon_it(chain: Chain) -> None:
    job = Job(chain, rounds=1, idleSeconds=2**31).prepare()
    job.settle(_round(job))


def test_a_rolled_back_round_leaves_the_one_before_it_built_upon(chain: Chain) -> None:
    job = Job(chain, rounds=4, idleSeconds=100_000).prepare()
    first = _round(job)
    job.collect()
    job.challenge(chain.accounts[8], job.commit_wrong())
    job.settle(first)


def test_a_record_that_does_not_stand_does_not_settle(chain: Chain, job: Job) -> None:
    job.collect()
    wrong = job.commit_wrong()
    job.challenge(chain.accounts[8], wrong)
    chain.travel(job.window_end(wrong))
    unknown = ("UnknownRecord", {"job": job.id, "round": 1})
    assert job.refusal(job.owner, "settle", wrong.record) == unknown
    assert job.refusal(job.owner, "claim", wrong.record, wrong.submissions()) == unknown


# --------------------------------------------------------------------------------------------------------------- claim


def test_anyone_claims_for_all(chain: Chain, job: Job) -> None:
    commit = _round(job)
    job.collect()
    job.settle(commit)
    receipt = job.claim(commit, sender=chain.accounts[8])
    event = {"job": job.id, "round": 1, "word": 0, "amount": 66, "entries": 0b111}
    assert receipt.event("RewardsClaimed") == event
    assert _balances(job) == [50, 66, 66, 66]
    assert chain.view("claimedOf", job.id, 1, 0) == 0b111


def test_a_claim_settles_on_the_way(job: Job) -> None:
    first, second = _round(job), _round(job)
    job.collect()
    job.chain.travel(job.window_end(second))
    refused = ("WrongRound", {"round": 2, "required": 1})
    assert job.refusal(job.owner, "claim", second.record, second.submissions()) == refused
    for commit in (first, second):
        names = [event.name for event in job.claim(commit).events]
        assert names == ["RoundSettled", "RewardsClaimed"]
    assert _balances(job) == [100, 132, 132, 132]


def test_nothing_is_claimed_of_a_round_that_is_not_settled(job: Job) -> None:
    commit = _round(job)
    ends = job.window_end(commit)
    assert job.refusal(job.owner, "claim", commit.record, commit.submissions()) == ("WindowOpen", {"endsAt": ends})


def test_an_entry_is_credited_once_in_whatever_order(chain: Chain, job: Job) -> None:
    commit = _round(job)
    job.collect()
    job.settle(commit)
    assert job.claimed_by(job.claim(commit, [1])) == [1]
    assert job.claimed_by(job.claim(commit, [1, 2])) == [2]
    assert job.claimed_by(job.claim(commit)) == [0]
    refusal = job.refusal(chain.accounts[8], "claim", commit.record, commit.submissions())
    assert refusal == ("NothingToPay", {"account": chain.accounts[8]})
    assert _balances(job) == [50, 66, 66, 66]


def test_a_claim_that_shows_nothing_is_refused(job: Job) -> None:
    commit = _round(job)
    job.collect()
    job.settle(commit)
    refusal = job.refusal(job.owner, "claim", commit.record, commit.submissions(()))
    assert refusal == ("NothingToPay", {"account": job.owner})


def test_an_excluded_entry_is_not_paid_and_the_others_share_its_part(job: Job) -> None:
    commit = _round(job, excluded=[1])
    job.collect()
    job.settle(commit)
    assert job.claimed_by(job.claim(commit)) == [0, 2]
    assert job.refusal(job.owner, "claim", commit.record, commit.submissions([1]))[0] == "NothingToPay"
    assert _balances(job) == [50, 100, 0, 100]


def test_submissions_of_another_round_pay_nothing(job: Job) -> None:
    first, second = _round(job), _round(job)
    job.collect()
    job.settle(first)
    refusal = job.refusal(job.owner, "claim", first.record, second.submissions())
    assert refusal[0] == "WrongSubmissions"
    assert refusal[1]["head"] == first.attempt.head


def test_a_round_without_a_reward_has_nothing_to_claim(chain: Chain) -> None:
    job = Job(chain).prepare()
    commit = _round(job)
    job.collect()
    job.settle(commit)
    assert job.refusal(job.owner, "claim", commit.record, commit.submissions())[0] == "NothingToPay"


def test_entries_are_claimed_over_segments_and_words(crowd: Job) -> None:
    """129 entries: two full segments and one more; the rest shut, or hidden within an open segment."""
    for client in crowd.clients[:129]:
        crowd.submit(client)
    crowd.chain.travel(crowd.state.closesAt)
    excluded = {5, 64, 128}
    commit = crowd.commit(next=crowd.attempt.model, excluded=excluded)
    crowd.collect(crowd.clients[:2])
    crowd.settle(commit)
    paid: set[int] = set()
    for numbers in ([0], [63, 64], [127], [128], [1, 65], range(129)):
        due = set(numbers) - excluded - paid
        if not due:
            assert crowd.refusal(crowd.owner, "claim", commit.record, commit.submissions(numbers))[0] == "NothingToPay"
            continue
        assert set(crowd.claimed_by(crowd.claim(commit, list(numbers)))) == due
        paid |= due
    assert crowd.chain.view("claimedOf", crowd.id, 1, 0) == sum(1 << number for number in paid)
    balances = [crowd.account(client).balance for client in crowd.clients[:129]]
    assert balances == [0 if i in excluded else commit.client_amount for i in range(129)]


def test_entries_are_claimed_over_two_words_of_bits() -> None:
    """258 entries: what is paid and what is left out is kept right on both sides of the 256th."""
    chain = Chain(accounts=260)
    terms = {"maxUpdates": 258, "maxExcluded": 258, "collectSeconds": 10_000, "idleSeconds": 11_000}
    job = Job(chain, rounds=1, pool=ETHER, **terms)
    job.clients = chain.accounts[2:]
    job.prepare()
    for client in job.clients:
        job.submit(client)
    excluded = {0, 254, 257}
    commit = job.commit(next=job.attempt.model, excluded=excluded)
    job.settle(commit)
    assert job.claimed_by(job.claim(commit, [1, 256])) == [1, 256]
    assert job.refusal(job.owner, "claim", commit.record, commit.submissions([257]))[0] == "NothingToPay"
    receipt = job.claim(commit)
    events = [event.args for event in receipt.events if event.name == "RewardsClaimed"]
    # Of the second word nothing is left: no event tells of it.
    assert [event["word"] for event in events] == [0]
    assert set(job.claimed_by(receipt)) == set(range(258)) - excluded - {1, 256}
    first = (1 << 256) - 1 - (1 << 0) - (1 << 254)
    assert [chain.view("claimedOf", job.id, 1, word) for word in (0, 1)] == [first, 1]
    assert job.refusal(job.owner, "claim", commit.record, commit.submissions())[0] == "NothingToPay"
    balances = [job.account(client).balance for client in job.clients]
    assert balances == [0 if i in excluded else commit.client_amount for i in range(258)]


# ------------------------------------------------------------------------------------------------ balances and bonds


def test_a_balance_is_free_at_any_time_and_the_bond_is_not(chain: Chain, job: Job) -> None:
    commit = _round(job)
    job.collect()
    job.settle(commit)
    newest = job.commit()
    assert job.refusal(job.server, "withdrawBond") == ("WindowOpen", {"endsAt": job.window_end(newest)})
    before = chain.balance(job.server)
    receipt = job.send(job.server, "withdraw")
    assert receipt.event("BalanceWithdrawn") == {"job": job.id, "account": job.server, "amount": 50}
    assert chain.balance(job.server) == before + 50 - receipt.fee
    assert job.account(job.server).bond == ETHER
    assert job.refusal(job.server, "withdraw") == ("NothingToPay", {"account": job.server})


def test_anybody_pays_out_a_balance_to_whom_it_belongs(chain: Chain, job: Job) -> None:
    commit = _round(job)
    job.collect()
    job.settle(commit)
    stranger = chain.accounts[-1]
    before = chain.balance(job.server)
    receipt = job.send(stranger, "withdrawFor", [job.server])
    assert receipt.event("BalanceWithdrawn") == {"job": job.id, "account": job.server, "amount": 50}
    assert chain.balance(job.server) == before + 50
    assert job.refusal(stranger, "withdrawFor", [job.server]) == ("NothingToPay", {"account": job.server})
    assert job.refusal(job.server, "withdraw") == ("NothingToPay", {"account": job.server})


def test_balances_of_many_are_paid_out_in_one_call_and_who_has_none_is_left_out(chain: Chain, job: Job) -> None:
    commit = _round(job)
    job.collect()
    job.settle(commit)
    job.claim(commit)
    stranger, *paid = chain.accounts[-1], job.server, *job.clients
    balances = {account: job.account(account).balance for account in paid}
    before = {account: chain.balance(account) for account in paid}
    assert all(balances.values())
    receipt = job.send(stranger, "withdrawFor", [stranger, *paid, paid[0]])
    withdrawn = [event.args for event in receipt.events if event.name == "BalanceWithdrawn"]
    assert withdrawn == [{"job": job.id, "account": account, "amount": balances[account]} for account in paid]
    assert {account: chain.balance(account) - before[account] for account in paid} == balances
    assert job.refusal(stranger, "withdrawFor", [stranger, *paid]) == ("NothingToPay", {"account": stranger})
    assert job.refusal(stranger, "withdrawFor", []) == ("NothingToPay", {"account": "0x" + "0" * 40})


def test_a_balance_is_no_bond(chain: Chain) -> None:
    job = Job(chain, bond=50, pool=1000, rounds=4).prepare()
    commit = _round(job)
    job.collect()
    job.settle(commit)
    job.send(job.server, "withdrawBond")
    assert job.account(job.server).balance == 50
    refusal = job.refusal(job.server, "commitRound", *job.commit_arguments(job.aggregate()))
    assert refusal == ("BondTooSmall", {"bond": 0, "required": 50})


def test_bonds_add_up(job: Job) -> None:
    event = job.bond(job.server, 5).event("BondDeposited")
    assert event == {"job": job.id, "server": job.server, "amount": 5}
    assert job.account(job.server).bond == ETHER + 5


def test_rewards_are_claimed_and_paid_to_the_last_wei_but_dust(chain: Chain) -> None:
    """Two rounds of 5 wei for three clients: what can't be split stays in the ledger, which owes it to nobody."""
    job = Job(chain, pool=10, rounds=2, serverShare=0).prepare()
    for _ in range(2):
        _round(job)
    for commit in list(job.commits.values()):
        job.settle(commit)
        job.claim(commit)
    assert job.send(job.owner, "finalizeJob").event("JobFinalized")["rest"] == 0
    for client in job.clients:
        job.send(client, "withdraw")
    job.send(job.server, "withdrawBond")
    assert chain.balance(chain.ledger.address) == 10 - 2 * 3


def test_a_committer_by_announcement_is_paid_its_share(chain: Chain, job: Job) -> None:
    other = chain.accounts[8]
    job.bond(other)
    job.collect()
    chain.travel(job.state.closesAt + job.terms["aggregateSeconds"])
    commit = job.commit(other, salt=SALT)
    job.collect()
    job.settle(commit)
    assert job.account(other).balance == 50
