"""A server's answers to demands: beside everything else, many at once, and none kept up by another."""

from __future__ import annotations

import logging
import threading
import time
from types import SimpleNamespace

import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator
from galaxy_chain.exceptions import InsufficientFundsError
from galaxy_chain.following import follower, view
from galaxy_chain.ledger.contract import ContractCall
from galaxy_chain.ledger.events import ChunkAnswered, ChunkDemanded
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_chain.verify import proofs
from galaxy_fl.vectors import ChunkTree
from tests.adversary.arena import events, fine_job, server, stranger
from tests.galaxy_chain.federation import PATIENCE, Federation, made_up, said

DEPOSIT = 10**16
LONG = 300.0


@pytest.fixture
def fine(federation: Federation) -> Federation:
    """A job of 19 chunks whose first round is committed."""
    federation.job = fine_job(federation)
    federation.submit(0, 1, 2)
    federation.commit()
    return federation


def demand(federation: Federation, *chunks: int, round: int = 1) -> None:
    """Demands of a stranger's, each dearer than the one before."""
    ledger = federation.ledger(stranger(federation))
    record = server(federation).history.commits[round].record
    for chunk in chunks:
        value = DEPOSIT * (1 + ledger.account_of(federation.job, record.server).demands)
        ledger.demand(federation.job, record, 0, chunk, bytes(32), value=value).transact()


def answered(federation: Federation) -> list[int]:
    return [event.index for event in events(federation, ChunkAnswered)]


def wait_until(condition) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def test_many_are_answered_in_one_block_the_dearest_first(fine):
    demand(fine, 3, 17, 0, 18, 9)
    serving = server(fine)
    fine.rpc.request("evm_setAutomine", False)
    serving.answering.start()
    wait_until(lambda: len(fine.rpc.request("eth_getBlockByNumber", "pending", False)["transactions"]) == 5)
    fine.rpc.request("evm_mine")
    assert answered(fine) == [9, 18, 0, 17, 3]
    assert len({event.block for event in events(fine, ChunkAnswered)}) == 1
    serving.close()


def test_a_tree_is_made_once_for_all_chunks_and_let_go_with_its_window(fine, monkeypatch):
    made = []

    class Counted(ChunkTree):
        def __init__(self, *arguments):
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(proofs, "ChunkTree", Counted)
    serving = server(fine)
    for chunks in ((0, 18), (5,)):
        demand(fine, *chunks)
        serving.round()
    assert answered(fine) == [18, 0, 5]
    assert len(made) == 5  # two models and three updates
    assert len(serving.answering._proofs._trees) == 5
    fine.travel(90_000)
    serving.round()
    assert not serving.answering._proofs._trees


def test_a_clock_that_is_ahead_gives_no_demand_up(fine, monkeypatch):
    demand(fine, 4)
    ahead = SimpleNamespace(time=lambda: time.time() + 100_000, monotonic=time.monotonic)
    monkeypatch.setattr(view, "time", ahead)
    server(fine).round()
    assert answered(fine) == [4]


def test_a_chunk_that_is_demanded_again_is_answered_again(fine, tmp_path):
    serving = server(fine)
    serving.ledger.transactions = Transactions(fine.rpc, NodeSigner(fine.server), tmp_path / "journal.sqlite")
    # As on chains with several blocks a second: all demands have the same time to be answered by.
    fine.rpc.request("anvil_setBlockTimestampInterval", 0)
    for _ in range(3):
        demand(fine, 7)
        serving.round()
    fine.rpc.request("anvil_removeBlockTimestampInterval")
    assert len({event.answer_by for event in events(fine, ChunkDemanded)}) == 1
    assert answered(fine) == [7, 7, 7]


def test_what_is_lost_of_one_round_keeps_no_answer_for_another_up(fine, caplog):
    fine.submit(0, 1, 2, seed=2)
    fine.commit()
    path = fine.content(server(fine).history.commits[1].entries[0].update.content)
    lost = path.read_bytes()
    path.unlink()
    demand(fine, 1)
    demand(fine, 2, round=2)
    demand(fine, 3)
    serving = server(fine)
    with caplog.at_level(logging.WARNING):
        serving.round()
        serving.round()
    assert answered(fine) == [2]
    assert len(said(caplog)) == 2, "each is said once"
    assert all(
        "of round 1 can't be answered" in message and "is not in the store" in message for message in said(caplog)
    )
    fine.store.put(lost)
    serving.round()
    assert sorted(answered(fine)) == [1, 2, 3]


def test_a_server_that_can_not_pay_says_so_and_answers_as_soon_as_it_can(fine, monkeypatch, caplog):
    demand(fine, 3)
    serving, begin = server(fine), ContractCall.begin

    def poor(call, once):
        if call.name == "answer":
            raise InsufficientFundsError(f"{fine.server} can't pay for it: send it some ether first")
        return begin(call, once)

    with monkeypatch.context() as patched:
        patched.setattr(ContractCall, "begin", poor)
        serving.round()
        serving.round()
    assert [message for message in caplog.messages if "send it some ether first" in message and "chunk 3" in message]
    assert answered(fine) == []
    serving.round()
    assert answered(fine) == [3]


def test_the_thread_goes_on_after_any_error(fine, monkeypatch, tmp_path):
    ledger = fine.ledger(fine.server)
    serving = LedgerServerCoordinator(ledger, fine.store, fine.job, PATIENCE, own=tmp_path / "own")
    failed = []
    look = serving.answering.look

    def fails_twice(*arguments):
        if len(failed) < 2:
            failed.append(arguments)
            raise MemoryError
        return look(*arguments)

    monkeypatch.setattr(serving.answering, "look", fails_twice)
    demand(fine, 6)
    serving.answering.start()
    wait_until(lambda: answered(fine) == [6])
    assert len(failed) == 2
    serving.close()


def test_once_it_is_closed_no_thread_is_left_that_could_spoil_the_end_of_the_program(fine, monkeypatch):
    serving, looking, poll = server(fine), threading.Event(), follower.JobFollower.poll

    def slow(self):
        looking.set()
        time.sleep(0.3)
        return poll(self)

    monkeypatch.setattr(follower.JobFollower, "poll", slow)
    serving.answering.start()
    assert looking.wait(LONG)
    serving.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("answers in job")]


@pytest.fixture
def helper(fine):
    """A client that stands in; the commit's server is gone."""
    return fine.client(1)


def test_a_client_answers_for_a_server_that_is_gone_and_has_the_deposit(fine, helper):
    demand(fine, 4)
    helper.round()
    fine.travel(900)
    helper.round()
    assert answered(fine) == []
    fine.travel(700)  # the third quarter is over; looking for the first time then, it waits for nothing
    helper.round()
    helper.round()
    assert answered(fine) == [4]
    assert helper.history.account(helper.address).balance == DEPOSIT


def test_each_client_waits_for_a_time_of_its_own_within_the_third_quarter(fine, helper):
    demand(fine, *range(8))
    helper.round()
    waiting = helper.history.open_demands(helper.history.commits[1].word)
    word = helper.history.commits[1].word
    times = [helper.answering._standing_in.answer_from(word, each) - each.answer_by for each in waiting]
    assert all(-1_000 <= time < -500 for time in times)
    assert len(set(times)) > 1
    assert [helper.answering._standing_in.answer_from(word, each) - each.answer_by for each in waiting] == times


def test_where_the_server_answers_nobody_else_pays_for_it(fine, helper):
    demand(fine, 4)
    server(fine).round()
    fine.travel(1_600)
    helper.round()
    assert [event.sender for event in events(fine, ChunkAnswered)] == [fine.server]


def test_a_client_answers_for_a_superseded_commit_too(fine):
    fine.job = fine_job(fine, rounds=3)
    fine.submit(0, 1, 2)
    fine.commit()
    record = server(fine).history.commits[1].record
    other = fine.serve(fine.clients[0])
    fine.travel(7_300)
    fine.ledger(fine.clients[0]).supersede(fine.job, record).transact()
    other.round()
    (void,) = other.history.void.values()
    value = DEPOSIT
    fine.ledger(stranger(fine)).demand(fine.job, record, 0, 3, bytes(32), value=value).transact()
    helper = fine.client(1)
    fine.travel(1_600)
    helper.round()
    helper.round()
    assert answered(fine) == [3]
    assert list(helper.history.answers) == [void.word]


def test_what_is_wrong_or_not_to_be_had_others_see_to(fine, caplog):
    fine.submit(0, 1, 2, seed=2)
    fine.commit(next_model=made_up(5))
    demand(fine, 4, round=2)
    helper = fine.client(1)
    fine.travel(1_600)
    with caplog.at_level(logging.WARNING):
        helper.answering.look(helper.history, helper._follower.time)
    assert answered(fine) == []
    assert said(caplog) == []


def test_a_client_answers_in_a_thread_while_it_trains(fine, tmp_path):
    ledger = fine.ledger(fine.clients[1])
    helper = LedgerClientCoordinator(ledger, fine.store, fine.job, PATIENCE, own=tmp_path / "own")
    helper.answering._poll = 0.02
    demand(fine, 6)
    fine.travel(1_600)
    helper.answering.start()
    wait_until(lambda: answered(fine) == [6])
    helper.close()
