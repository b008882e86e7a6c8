"""Requests of many threads to one node: who is alone sends what it always sent, and whoever waits shares a batch."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eth_utils.crypto import keccak

from galaxy_chain.exceptions import RpcError
from galaxy_chain.rpc import batches
from galaxy_chain.rpc.batches import MOST_FAILURES, Batches
from galaxy_chain.rpc.errors import RpcAnswerError, Trouble
from galaxy_chain.rpc.rpc import Rpc
from tests.galaxy_chain.rpc.http_server import Server, http

THREADS = 40


@pytest.fixture(autouse=True)
def no_node_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here; on a busy machine any may be."""
    monkeypatch.setattr(batches, "SLOW_SECONDS", float("inf"))


def answer_of(request: dict[str, Any]) -> dict[str, Any]:
    """What a node says: of a block number twice that, and of number 13 that it does not like it."""
    if request["method"] == "eth_sendRawTransaction":
        return {"id": request["id"], "result": "0x" + keccak(hexstr=request["params"][0]).hex()}
    number = request["params"][0]
    if number == 13:
        return {"id": request["id"], "error": {"code": 3, "message": "execution reverted", "data": "0x0d"}}
    return {"id": request["id"], "result": hex(2 * number)}


class Node:
    """Answers once so many requests wait at it as may be on their way, so that all others have to wait.

    Args:
        together: What it does with a batch.
    """

    def __init__(self, together: Callable[[list[Any]], bytes]) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.alone: list[dict[str, Any]] = []
        self.go_on = threading.Event()
        self._together = together

    def __call__(self, head: bytes, body: bytes) -> Iterable[bytes]:
        asked = json.loads(body)
        if isinstance(asked, list):
            self.batches.append(asked)
            yield self._together(asked)
        else:
            self.alone.append(asked)
            assert self.go_on.wait(60)
            yield http(json.dumps(answer_of(asked)).encode())


def ask_all(node: Node, ask: Callable[[Rpc, int], Any], count: int = THREADS) -> list[Any]:
    """What so many threads are told, all of which ask while the first requests are on their way."""
    with Server(node) as server:
        rpc = Rpc(server.url, patience=30.0)
        with ThreadPoolExecutor(count) as threads:
            asked = [threads.submit(ask, rpc, number) for number in range(count)]
            waiting = rpc._transport._batches[0]
            while len(waiting._waiting) + len(node.alone) < count:
                threading.Event().wait(0.01)
            node.go_on.set()
            return [each.exception(60) or each.result() for each in asked]


def number(rpc: Rpc, number: int) -> int:
    return rpc.number("eth_getBalance", number)


def test_whoever_waits_goes_together_and_gets_its_own_answer():
    node = Node(lambda batch: http(json.dumps([answer_of(each) for each in reversed(batch)]).encode()))
    told = ask_all(node, number)
    assert isinstance(told[13], RpcAnswerError)
    assert (told[13].code, told[13].data) == (3, b"\x0d")
    assert [each for place, each in enumerate(told) if place != 13] == [2 * n for n in range(THREADS) if n != 13]
    # Two that came first, and perhaps one of the two that were next to send: the other took all that waited.
    assert 2 <= len(node.alone) <= 3
    assert sum(map(len, node.batches)) == THREADS - len(node.alone)
    assert len(node.batches) <= 2


def test_a_batch_is_not_larger_than_nodes_take():
    node = Node(lambda batch: http(json.dumps([answer_of(each) for each in batch]).encode()))
    told = ask_all(node, lambda rpc, n: rpc.number("eth_getBalance", n + 100), 120)
    assert told == [2 * (n + 100) for n in range(120)]
    assert max(map(len, node.batches)) == 50


def test_a_node_that_works_long_at_each_request_is_sent_no_batch_for_a_while(monkeypatch):
    monkeypatch.setattr(batches, "SLOW_SECONDS", 0.0)
    node = Node(lambda batch: http(json.dumps([answer_of(each) for each in batch]).encode()))
    told = ask_all(node, lambda rpc, n: rpc.number("eth_getBalance", n + 100), 120)
    assert told == [2 * (n + 100) for n in range(120)]
    assert 1 <= len(node.batches) <= batches.AT_ONCE  # those that were on their way; all others went by themselves


def test_who_is_alone_sends_what_it_always_sent():
    node = Node(lambda batch: http(b"[]"))
    node.go_on.set()
    with Server(node) as server:
        rpc = Rpc(server.url)
        assert [rpc.number("eth_getBalance", n) for n in range(5)] == [0, 2, 4, 6, 8]
    assert (len(node.alone), node.batches) == (5, [])


@pytest.mark.parametrize(
    "refusal",
    [
        http(b'{"id": null, "error": {"code": -32600, "message": "no batches here"}}'),
        http(b"<html>", status="400 Bad Request"),
        http(b"[]"),
        http(b'[null, 7, {}, {"id": true, "result": "0x0"}, {"id": "1", "result": "0x0"}]'),
    ],
    ids=["an error", "not JSON", "nothing in it", "nonsense in it"],
)
def test_a_node_that_takes_no_batches_is_asked_one_by_one(refusal):
    node = Node(lambda batch: refusal)
    told = ask_all(node, lambda rpc, n: rpc.number("eth_getBalance", n + 100))
    assert told == [2 * (n + 100) for n in range(THREADS)]
    assert len(node.alone) == THREADS


def test_a_transaction_is_in_no_batch_of_a_node_that_may_not_take_any():
    node = Node(lambda batch: http(b'{"error": {"code": -32600, "message": "no batches here"}}'))
    told = ask_all(node, lambda rpc, n: rpc.request("eth_sendRawTransaction", f"0x{n:02x}"))
    assert told == ["0x" + keccak(bytes([n])).hex() for n in range(THREADS)]
    assert node.batches == []


def test_an_answer_without_its_form_is_nobodys():
    def together(batch: list[Any]) -> bytes:
        return http(json.dumps([{"id": each["id"]} for each in batch]).encode())

    node = Node(together)
    told = ask_all(node, lambda rpc, n: _impatient(rpc).number("eth_getBalance", n + 100), 8)
    errors = [str(each) for each in told if isinstance(each, RpcError)]
    assert len(errors) >= 5
    assert all("with neither result nor error" in each for each in errors)


def _impatient(rpc: Rpc) -> Rpc:
    rpc.patience = 0.0
    return rpc


def test_trouble_is_told_to_all_whom_it_concerns():
    node = Node(lambda batch: b"not HTTP at all\r\n\r\n")
    told = ask_all(node, lambda rpc, n: _impatient(rpc).number("eth_getBalance", n + 100), 8)
    assert sum(isinstance(each, RpcError) for each in told) == sum(map(len, node.batches)) == 8 - len(node.alone) >= 5


def test_who_is_interrupted_leaves_nobody_waiting():
    batches, go_on = Batches(), threading.Event()

    def alone() -> str:
        assert go_on.wait(60)
        return "alone"

    def interrupted(batch: Any) -> None:
        raise KeyboardInterrupt

    with ThreadPoolExecutor(9) as threads:
        asked = [threads.submit(batches.ask, {"id": n, "method": "eth_call"}, alone, interrupted) for n in range(9)]
        while len(batches._waiting) < 7:
            threading.Event().wait(0.01)
        go_on.set()
        ends = [each.exception(60) or each.result() for each in asked]
    interrupts = sum(isinstance(each, KeyboardInterrupt) for each in ends)
    assert interrupts >= 1
    assert ends.count("alone") == 9 - interrupts
    assert (list(batches._waiting), batches._on_their_way) == ([], 0)


@pytest.mark.parametrize("code", [-32600, -32003, -32005])
def test_an_error_about_the_batch_is_nobodys(code):
    def together(batch: list[Any]) -> bytes:
        return http(json.dumps([{"id": batch[0]["id"], "error": {"code": code, "message": "too large"}}]).encode())

    told = ask_all(Node(together), lambda rpc, n: rpc.number("eth_getBalance", n + 100), 8)
    assert told == [2 * (n + 100) for n in range(8)]


def together_at(
    batches: Batches, method: str, exchange: Callable[[Any], Any], takes: bool | None = True
) -> tuple[list[Any], list[int]]:
    """What nine threads are told that wait while two requests are on their way, and who has asked by itself."""
    go_on, lonely = threading.Event(), list[int]()
    batches._takes = takes

    def asking(number: int) -> Any:
        def alone() -> str:
            assert go_on.wait(60)
            lonely.append(number)
            return "alone"

        return batches.ask({"id": number, "method": "eth_call" if number < 2 else method}, alone, exchange)

    with ThreadPoolExecutor(9) as threads:
        asked = [threads.submit(asking, number) for number in range(2)]
        while batches._on_their_way < 2:
            threading.Event().wait(0.01)
        asked += [threads.submit(asking, number) for number in range(2, 9)]
        while len(batches._waiting) < 7:
            threading.Event().wait(0.01)
        go_on.set()
        return [each.exception(60) or each.result() for each in asked], lonely


def test_a_transaction_of_a_batch_whose_thread_is_interrupted_may_have_been_done():
    def interrupted(batch: Any) -> None:
        raise KeyboardInterrupt

    batches = Batches()
    told, lonely = together_at(batches, "eth_sendRawTransaction", interrupted)
    troubles = [each for each in told if isinstance(each, Trouble)]
    assert len(troubles) >= 5
    assert all(each.acted for each in troubles)  # else "already known" would be taken for a refusal
    assert sum(isinstance(each, KeyboardInterrupt) for each in told) + len(troubles) + len(lonely) == 9
    assert (list(batches._waiting), batches._on_their_way) == ([], 0)


def test_a_refused_transaction_of_a_batch_is_refused_and_one_without_answer_goes_by_itself_next():
    def refused(batch: Any) -> list[Any]:
        return [{"id": each["id"], "error": {"code": -32003, "message": "rejected"}} for each in batch]

    told, _ = together_at(Batches(), "eth_sendRawTransaction", refused)
    assert sum(isinstance(each, dict) and each["error"]["message"] == "rejected" for each in told) >= 5
    batches = Batches()
    told, lonely = together_at(batches, "eth_sendRawTransaction", lambda batch: [])
    assert sum(isinstance(each, Trouble) and each.acted for each in told) + len(lonely) == 9
    assert batches.ask({"id": 10, "method": "eth_sendRawTransaction"}, lambda: "alone", lambda batch: []) == "alone"


def test_what_a_failed_batch_took_with_it_is_asked_one_by_one():
    def fails(batch: Any) -> None:
        raise Trouble("timed out", too_much=True)

    batches = Batches()
    told, lonely = together_at(batches, "eth_call", fails)
    assert sum(isinstance(each, Trouble) for each in told) == 9 - len(lonely) >= 5
    all_here = threading.Barrier(9, timeout=60)  # which no batch reaches
    with ThreadPoolExecutor(9) as threads:
        asked = [threads.submit(batches.ask, {"id": n, "method": "eth_call"}, all_here.wait, fails) for n in range(9)]
        assert sorted(each.result(60) for each in asked) == list(range(9))


def test_a_node_at_which_every_batch_fails_is_sent_none_any_more(monkeypatch):
    monkeypatch.setattr("galaxy_chain.rpc.batches.PAUSE_SECONDS", 0.0)
    batches, sent = Batches(), []

    def fails(batch: Any) -> None:
        sent.append(batch)
        raise Trouble("it has ended the connection")

    while len(sent) < MOST_FAILURES:
        together_at(batches, "eth_call", fails, takes=None)
    assert batches._takes is False
