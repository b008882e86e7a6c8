"""What the watchtower does apart from catching liars, which is played in tests/adversary."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from galaxy_chain.exceptions import LedgerRefusedError, RpcError, UnknownJobError, UnsoundTermsError
from galaxy_chain.following import follower as follower_module
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.jobs.terms import Limits
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_chain.ledger.structs import Record
from galaxy_chain.verify import acting as acting_module
from galaxy_chain.verify import challenge as challenge_module
from galaxy_chain.verify import flat_check as flat_module
from galaxy_chain.verify.proofs import Proofs
from galaxy_chain.verify.verifier import Unexplained
from galaxy_chain.verify.watchtower import Finding, Watchtower
from galaxy_fl.aggregation import RULES as REAL_RULES
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.jobs.document import RuleChoice
from tests.galaxy_chain.federation import CHUNK, DOCUMENT, PARAMETERS, Federation, made_up

DEPOSIT = 10**16


def watch(federation: Federation, account: int = 6, grace: float = 0, **more: Any) -> Watchtower:
    """A watchtower of one of the chain's accounts."""
    ledger = federation.ledger(federation.node.accounts[account])
    return Watchtower(ledger, federation.store, federation.job, grace, **more)


def commit_wrong(federation: Federation) -> Record:
    """A wrong commit of the current round, and its record."""
    federation.submit(0, 1, 2)
    federation.commit(made_up(99))
    return JobFollower(federation.ledger(), federation.job).history.commits[1].record


def withhold(federation: Federation, record: Record) -> bytes:
    """Takes a committed model out of the store, and gives it."""
    path = federation.content(record.next.content)
    content = path.read_bytes()
    path.unlink()
    return content


def test_a_right_commit_is_found_right_once(federation):
    watching = watch(federation)
    assert watching.look() == []
    federation.submit(0, 1, 2)
    federation.commit()
    assert watching.look() == [Finding(1, "right")]
    assert watching.look() == []


def test_it_ends_when_nothing_more_can_be_challenged(federation):
    federation.job = federation.register(rounds=1)
    watching = watch(federation)
    assert not watching.over
    federation.submit(0, 1, 2)
    federation.commit()
    assert not watching.over
    watching.look()
    assert not watching.over  # another may be wrong about it still, and be heard
    federation.travel(86_500)
    assert watching.look() == []
    assert not watching.over  # its server has a turn to settle it
    federation.travel(600)
    assert watching.look() == [Finding(1, "settled")]
    assert watching.over
    assert watching.ledger.job_of(federation.job).state.settled == 1


def test_it_ends_with_a_cancelled_job(federation):
    watching = watch(federation)
    federation.ledger(federation.owner).cancel_job(federation.job).transact()
    watching.look()
    assert not watching.over  # it goes on to the end of the round
    federation.travel(2 * 7_200 + 100)
    watching.look()
    assert watching.over


def test_what_is_wrong_and_can_not_be_challenged_any_more_is_passed_over(federation):
    federation.job = federation.register(rounds=1)
    commit_wrong(federation)
    federation.travel(86_500)
    watching = watch(federation)
    assert watching.look() == []
    assert watching.over
    assert not federation.ledger().account_of(federation.job, federation.server).barred


def test_content_may_take_its_time_before_it_counts_as_withheld(federation):
    content = withhold(federation, commit_wrong(federation))
    watching = watch(federation, grace=1_000)
    assert watching.look() == []
    federation.travel(900)
    assert watching.look() == []
    federation.store.put(content)
    assert [finding.verdict for finding in watching.look()] == ["challenged"]


def test_withheld_content_is_demanded_after_the_grace(federation):
    withhold(federation, commit_wrong(federation))
    watching = watch(federation, grace=1_000)
    federation.travel(1_100)
    (finding,) = watching.look()
    assert (finding.verdict, finding.round, finding.chunk) == ("demanded", 1, 0)
    assert finding.reason.startswith("it is wrong and withheld: the model after round 1")
    assert not watching.over


def test_a_demand_of_another_neither_stops_a_challenge_nor_is_paid_for(federation):
    record = commit_wrong(federation)
    other = federation.ledger(federation.node.accounts[7])
    other.demand(federation.job, record, 0, 2, bytes(32), value=DEPOSIT).transact()
    assert [finding.verdict for finding in watch(federation).look()] == ["challenged"]
    assert other.account_of(federation.job, federation.server).demands == 1  # the other's deposit waits for it


def test_the_deposits_of_demands_that_became_void_come_back(federation):
    record = commit_wrong(federation)
    content = withhold(federation, record)
    patient = watch(federation)
    assert [finding.verdict for finding in patient.look()] == ["demanded"]
    patient.ledger.demand(federation.job, record, 0, 2, bytes(32), value=2 * DEPOSIT).transact()
    federation.store.put(content)
    assert [finding.verdict for finding in watch(federation, 7).look()] == ["challenged"]
    refunded = [finding for finding in patient.look() if finding.verdict == "refunded"]
    assert [(finding.round, finding.chunk) for finding in refunded] == [(1, 0), (1, 2)]
    assert patient.ledger.account_of(federation.job, federation.node.accounts[6]).balance == 3 * DEPOSIT
    assert patient.look() == []
    assert patient.ledger.account_of(federation.job, federation.server).demands == 0


def test_two_watchtowers_that_want_the_same_chunk_pay_for_it_once(federation):
    withhold(federation, commit_wrong(federation))
    first, second = watch(federation), watch(federation, 7)
    assert [finding.verdict for finding in first.look()] == ["demanded"]
    assert second.look() == []
    assert second.look() == []
    assert first.ledger.account_of(federation.job, federation.server).demands == 1
    federation.travel(3_700)
    assert [finding.verdict for finding in second.look()] == ["expired"]
    assert first.look() == []
    amounts = [first.ledger.account_of(federation.job, federation.node.accounts[index]).balance for index in (6, 7)]
    assert amounts == [10**18 // 4 + DEPOSIT, 0]


def test_an_overdue_demand_of_another_is_ended_for_it(federation):
    record = commit_wrong(federation)
    withhold(federation, record)
    other = federation.node.accounts[7]
    federation.ledger(other).demand(federation.job, record, 0, 2, bytes(32), value=DEPOSIT).transact()
    federation.travel(3_700)
    assert watch(federation).look() == [Finding(1, "expired", 2, "nobody answered")]
    # It was not announced, and so has its deposit back and nothing else.
    assert federation.ledger().account_of(federation.job, other).balance == DEPOSIT


def test_there_is_nothing_to_watch_in_a_job_that_is_not_there(federation):
    federation.job = 999
    with pytest.raises(UnknownJobError):
        watch(federation)


# ---- What it does for others


def test_it_answers_for_a_server_that_is_gone_and_not_before_that_has_had_its_time(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    watching = watch(federation)
    assert watching.look() == [Finding(1, "right")]
    record = watching.history.commits[1].record
    griefer = federation.ledger(federation.node.accounts[7])
    griefer.demand(federation.job, record, 0, 1, bytes(32), value=DEPOSIT).transact()
    assert watching.look() == []
    federation.travel(1_400)
    assert watching.look() == []  # the server has half of 3,000 s alone
    federation.travel(900)
    assert watching.look() == [Finding(1, "answered", 1, f"for {federation.server}")]
    account = watching.ledger.account_of(federation.job, federation.server)
    assert (account.demands, account.bond, account.barred) == (0, 10**18, False)
    assert watching.ledger.account_of(federation.job, federation.node.accounts[6]).balance == DEPOSIT
    assert watching.look() == []


def test_it_answers_for_no_liar(federation):
    record = commit_wrong(federation)
    withhold(federation, record)
    watching = watch(federation)
    assert [finding.verdict for finding in watching.look()] == ["demanded"]
    federation.travel(2_400)
    assert watching.look() == []
    federation.travel(700)
    assert [finding.verdict for finding in watching.look()] == ["expired"]


def test_it_settles_what_nobody_settles_and_only_for_so_much(federation):
    federation.job = federation.register(rounds=1)
    federation.ledger(federation.owner).fund(federation.job, value=10**18).transact()
    federation.submit(0, 1, 2)
    federation.commit()
    watching = watch(federation, max_settle=10)
    assert watching.look() == [Finding(1, "right")]
    federation.travel(87_200)
    (finding,) = watching.look()
    assert finding.verdict == "unaffordable"
    assert "raise --max-settle" in finding.reason
    assert watching.over
    never = watch(federation, 7, max_settle=0)
    assert never.look() == []
    assert never.over


def test_a_job_whose_server_is_gone_is_cancelled_and_the_watch_ends(federation):
    federation.submit(0, 1, 2)
    watching = watch(federation)
    federation.travel(100 + 2 * 7_200)
    assert watching.look() == []
    federation.travel(7_200 + 700)
    assert watching.look() == [Finding(1, "cancelled", None, "nobody brings it to its end")]
    assert watching.purse.spent > 0
    assert not watching.over
    federation.travel(2 * 7_200 + 100)
    assert watching.look() == []
    assert watching.over


def test_a_job_that_waits_for_more_clients_is_not_cancelled_nor_any_for_which_that_is_too_dear(federation):
    federation.submit(0)
    federation.travel(10 * 7_200)
    assert watch(federation).look() == []
    federation.submit(1, 2)
    federation.travel(10 * 7_200)
    dear, never = watch(federation, max_settle=10), watch(federation, 7, max_settle=0)
    assert [finding.verdict for finding in dear.look()] == ["unaffordable"]
    assert dear.look() == never.look() == []
    assert not watch(federation).history.cancelled


def test_a_watchtower_that_died_while_it_demanded_goes_on_with_that_chunk(federation, tmp_path, monkeypatch):
    federation.submit(0, 1, 2)
    federation.commit()
    withhold_update(federation)

    class Dies(BaseException):
        pass

    def dies(*arguments):
        raise Dies

    chosen = iter([2, 0])
    monkeypatch.setattr(
        flat_module.random, "SystemRandom", lambda: SimpleNamespace(randrange=lambda most: next(chosen))
    )
    watching = watch(federation, own=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(acting_module, "demand", dies)
        with pytest.raises(Dies):
            watching.look()
    watching.close()
    again = watch(federation, own=tmp_path)
    assert [(finding.verdict, finding.chunk) for finding in again.look()] == [("demanded", 2)]
    assert again.ledger.account_of(federation.job, federation.server).demands == 1
    assert DEPOSIT < again.purse.spent < 2 * DEPOSIT


def test_what_is_not_known_to_be_right_is_not_settled(federation):
    federation.job = federation.register(rounds=1)
    commit_wrong(federation)
    federation.travel(90_000)
    watching = watch(federation)
    assert watching.look() == []
    assert watching.over
    assert watching.ledger.job_of(federation.job).state.settled == 0


def test_a_superseded_lie_is_challenged_as_if_it_stood(federation):
    content = withhold(federation, commit_wrong(federation))
    other = federation.serve(federation.node.accounts[5])
    federation.travel(7_300)
    commit = other.history.commits[1]
    other.ledger.supersede(federation.job, commit.record).transact()
    federation.store.put(content)
    watching = watch(federation)
    assert [(f.round, f.verdict) for f in watching.look()] == [(1, "challenged")]
    assert watching.ledger.account_of(federation.job, federation.server).barred
    assert watching.ledger.account_of(federation.job, federation.node.accounts[6]).balance == 10**18 // 4
    assert watching.look() == []


RULES = [RuleChoice(name="coordinate_median"), RuleChoice(name="trimmed_mean", parameters=1), RuleChoice()]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_of_a_hidden_update_exactly_the_chunks_are_demanded_that_no_content_of_it_explains(federation, rule):
    document = DOCUMENT.model_copy(update={"rule": rule})
    federation.job = federation.register(document, min_clients=3)
    vectors = [made_up(7), made_up(8), made_up(9)]
    for index, vector in enumerate(vectors):
        client = federation.client(index)
        client.submit(client.round(), vector, 1)
    twin = REAL_RULES[rule.name]
    word, weights = rule.rule_word, (1, 1, 1)
    lie = twin.aggregate(word, federation.initial, vectors, weights)
    lie[CHUNK + 3] = 2**31 - 1  # beyond what two small ones and one of any size make
    # As far as the hidden one reaches, which nobody can tell from its having been so.
    reach = np.full(PARAMETERS, 2**31 - 1, np.int32)
    lie[3] = twin.aggregate(word, federation.initial, [*vectors[:2], reach], weights)[3]
    federation.commit(lie)
    watching = watch(federation)
    hidden = watching.history.commits[1].entries[2].update.content
    federation.content(hidden).unlink()
    verifier = watching.verifier
    found = verifier.unexplained(watching.history, watching.history.commits[1])
    assert found == Unexplained((federation.clients[2],), (1,))
    (finding,) = watching.look()
    assert (finding.verdict, finding.chunk) == ("demanded", 1)
    assert "does not explain this chunk" in finding.reason
    federation.travel(3_100)
    assert [finding.verdict for finding in watching.look()] == ["expired"]
    assert watching.ledger.account_of(federation.job, federation.server).barred


def test_a_hidden_update_explains_what_it_has_made(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    watching = watch(federation)
    withhold_update(federation)
    assert watching.verifier.unexplained(watching.history, watching.history.commits[1]).chunks == ()


# ---- Nothing ends it


def test_a_node_that_fails_and_comes_back_does_not_end_it(federation):
    federation.job = federation.register(rounds=1)
    watching = watch(federation)
    federation.submit(0, 1, 2)
    federation.commit()
    request, failures = watching.ledger.rpc.request, iter([RpcError("away"), RpcError("away"), OSError("no route")])

    def failing(method, *parameters):
        for failure in failures:
            raise failure
        return request(method, *parameters)

    watching.ledger.rpc.request = failing
    findings, troubles = [], []

    def report(finding):
        findings.append(finding)
        federation.travel(88_000)

    watching.watch(report, troubles.append, 0.01)
    assert troubles == ["RpcError: away", "OSError: no route"]
    assert findings == [Finding(1, "right"), Finding(1, "settled")]


def test_what_fails_for_one_commit_does_not_keep_it_from_another(federation):
    federation.job = federation.register(rounds=3)
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)
    federation.commit(made_up(99))
    watching = watch(federation)
    first = watching.history.commits[1].entries[0].update.content
    path = watching.store.path
    broken = [True]

    def failing(content):
        if content.digest == first and broken:
            raise OSError("the disk has a bad day")
        return path(content)

    watching.store.path = failing
    found = watching.look()
    assert [(f.round, f.verdict) for f in found] == [(1, "failed"), (2, "challenged")]
    assert found[0].reason == "OSError: the disk has a bad day"
    assert watching.look() == []  # once is enough
    broken.clear()
    assert watching.look() == [Finding(1, "right")]


def test_a_job_whose_rounds_nobody_can_recompute_is_refused_by_the_ledger(federation):
    document = DOCUMENT.model_copy(update={"rule": RuleChoice(name="trimmed_mean", parameters=1)})
    with pytest.raises(LedgerRefusedError, match="can't aggregate every number of updates from 2 to 3"):
        federation.register(document)


def test_another_demand_and_its_end_in_the_same_block(federation, monkeypatch):
    """They change the price of the demand between them, and at the block's end nothing of that is to be seen."""
    federation.submit(0, 1, 2)
    federation.commit()
    server = federation.serve()
    commit = server.history.commits[1]
    openings = Proofs(server.verifier).openings(server.history, commit, 0, 2).pack()
    withhold_update(federation)
    watching = watch(federation)
    send = federation.rpc.request

    def transaction(account: str, name: str, *arguments: Any, value: int = 0) -> None:
        data = "0x" + ledger_abi().functions[name].encode(federation.job, commit.record, 0, 2, *arguments).hex()
        fields = {"from": account, "to": watching.ledger.address, "data": data, "value": hex(value)}
        send("eth_sendTransaction", fields | {"gas": hex(3_000_000)})

    announce = challenge_module.announce_finding

    def announced(*arguments):
        salt = announce(*arguments)
        send("evm_setAutomine", False)
        transaction(federation.node.accounts[7], "demand", bytes(32), value=DEPOSIT)
        return salt

    monkeypatch.setattr(challenge_module, "announce_finding", announced)
    found = []
    looking = threading.Thread(target=lambda: found.append(watching.look()))
    looking.start()
    while looking.is_alive() and len(send("eth_getBlockByNumber", "pending", False)["transactions"]) < 2:
        time.sleep(0.01)
    transaction(federation.server, "answer", openings)
    send("evm_mine")
    looking.join()
    send("evm_setAutomine", True)
    monkeypatch.undo()
    assert found == [[]]
    assert 0 < watching.purse.spent < DEPOSIT  # the gas of what came too late
    assert watching.ledger.account_of(federation.job, federation.server).demands == 0
    assert [finding.verdict for finding in watching.look()] == ["demanded"]


# ---- It goes by the chain's time


@pytest.fixture
def ahead(monkeypatch):
    """This machine's clock is two days ahead."""
    right = time.time
    monkeypatch.setattr(follower_module.time, "time", lambda: right() + 2 * 86_400)


def test_a_clock_ahead_passes_no_commit_over_that_can_be_challenged(federation, ahead):
    commit_wrong(federation)
    watching = watch(federation)
    assert not watching.over
    assert [finding.verdict for finding in watching.look()] == ["challenged"]


def test_a_clock_ahead_takes_no_young_content_for_withheld(federation, ahead):
    content = withhold(federation, commit_wrong(federation))
    watching = watch(federation, grace=1_000)
    assert watching.look() == []
    federation.store.put(content)
    assert [finding.verdict for finding in watching.look()] == ["challenged"]


def test_a_clock_ahead_keeps_it_from_nothing_where_a_demand_waits(federation, ahead):
    record = commit_wrong(federation)
    federation.ledger(federation.node.accounts[7]).demand(
        federation.job, record, 0, 2, bytes(32), value=DEPOSIT
    ).transact()
    assert [finding.verdict for finding in watch(federation).look()] == ["challenged"]


# ---- What it spends, and what it remembers


def test_terms_that_would_ruin_it_are_refused_before_anything_is_paid(federation):
    federation.limits = Limits(deposit=100 * 10**18, any_terms=True)
    federation.job = federation.register(demand_deposit=50 * 10**18)
    withhold(federation, commit_wrong(federation))
    with pytest.raises(UnsoundTermsError, match="deposit"):
        watch(federation)
    watching = watch(federation, limits=federation.limits)
    (finding,) = watching.look()
    assert finding.verdict == "unaffordable"
    assert "50 ether" in finding.reason
    assert "raise --max-spend" in finding.reason
    assert watching.look() == []  # said once
    assert watching.purse.spent == 0
    assert watching.ledger.account_of(federation.job, federation.server).demands == 0


def test_a_price_that_others_have_driven_up_is_not_paid_until_it_falls(federation):
    record = commit_wrong(federation)
    content = withhold(federation, record)
    other = federation.ledger(federation.node.accounts[7])
    for deposits, chunk in enumerate((1, 2), 1):
        other.demand(federation.job, record, 0, chunk, bytes(32), value=deposits * DEPOSIT).transact()
    watching = watch(federation, max_spend=2 * DEPOSIT)
    (finding,) = watching.look()
    assert (finding.verdict, finding.chunk) == ("unaffordable", None)
    assert watching.look() == []
    federation.store.put(content)  # a challenge costs no deposit
    assert [finding.verdict for finding in watching.look()] == ["challenged"]
    assert 0 < watching.purse.spent < DEPOSIT


def test_what_it_has_spent_counts_when_it_starts_again_and_deposits_come_back(federation, tmp_path):
    record = commit_wrong(federation)
    withhold(federation, record)
    watching = watch(federation, own=tmp_path)
    assert [finding.verdict for finding in watching.look()] == ["demanded"]
    with pytest.raises(ConfigurationError):  # one at a time
        watch(federation, own=tmp_path)
    watching.close()
    again = watch(federation, own=tmp_path)
    assert again.purse.spent == watching.purse.spent > DEPOSIT
    federation.travel(3_700)
    assert [finding.verdict for finding in again.look()] == ["expired"]
    again.look()
    assert 0 < again.purse.spent < DEPOSIT
    again.close()
    assert watch(federation, own=tmp_path).purse.spent == again.purse.spent


def test_an_answer_to_its_demand_counts_when_it_starts_again(federation, tmp_path):
    """It pays for one proof of a commit that can't be recomputed, not for one a start."""
    federation.submit(0, 1, 2)
    federation.commit()
    hidden = withhold_update(federation)
    watching = watch(federation, own=tmp_path)
    assert [finding.verdict for finding in watching.look()] == ["demanded"]
    watching.close()
    federation.store.put(hidden)
    federation.serve().round()  # answers
    withhold_update(federation)
    again = watch(federation, own=tmp_path)
    assert [finding.verdict for finding in again.look()] == ["unknown"]
    assert again.look() == []
    assert again.purse.spent > DEPOSIT
    federation.store.put(hidden)
    assert again.look() == [Finding(1, "right")]
    again.close()
    assert watch(federation, own=tmp_path).look() == []


def withhold_update(federation: Federation) -> bytes:
    """Takes an included update out of the store, and gives it."""
    commit = watch(federation).history.commits[1]
    path = federation.content(commit.entries[1].update.content)
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.mark.parametrize("text", ["", "{", '{"gas": -1}', '{"gas": 1.5}', '{"other": 1}', "\0\xff"])
def test_a_file_that_is_not_its_own_is_named_and_nothing_is_forgotten(federation, tmp_path, text):
    watching = watch(federation, own=tmp_path)
    watching.close()
    (tmp_path / "watch").mkdir(exist_ok=True)
    name = f"{watching.ledger.address}-{federation.job}-{federation.node.accounts[6]}.json"
    (tmp_path / "watch" / name).write_text(text, encoding="latin-1")
    with pytest.raises(ConfigurationError, match="does not say what a watchtower has spent"):
        watch(federation, own=tmp_path)
