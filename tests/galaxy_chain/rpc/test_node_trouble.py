"""A node in trouble, through a real TCP proxy: what is retried, what is not, and how it ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from eth_account import Account

from galaxy_chain.exceptions import RpcError, WrongChainError
from galaxy_chain.node import Node
from galaxy_chain.rpc.errors import RpcAnswerError, TooMuchError
from galaxy_chain.rpc.rpc import Rpc
from tests.tcp_proxy import TcpProxy, Trouble, cut_off, drop, malformed, refusal, reset, stall, status, truncated

BREAKING = [reset, cut_off, drop, truncated, malformed, stall, status(429), status(503), status(502)]


class Clock:
    """Time that passes when somebody sleeps, so that pauses cost none."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def proxy(node: Node) -> Iterator[TcpProxy]:
    with TcpProxy(node.url) as proxy:
        yield proxy


@pytest.fixture
def second(node: Node) -> Iterator[TcpProxy]:
    with TcpProxy(node.url) as proxy:
        yield proxy


@pytest.fixture
def clock() -> Clock:
    return Clock()


def timeout_for(trouble: Trouble) -> float:
    """Seconds: as short as a busy machine allows where it is to pass, and never passed elsewhere."""
    return 1.0 if trouble is stall else 30.0


def connected(clock: Clock, *proxies: TcpProxy, patience: float = 60, timeout: float = 30.0) -> Rpc:
    """An Rpc that has been answered."""
    urls = [proxy.url for proxy in proxies]
    rpc = Rpc(urls, timeout, patience, clock=clock, sleep=clock.sleep, random=lambda: 0.5)
    rpc.check_chain(1337)
    for proxy in proxies:
        proxy.asked.clear()
    return rpc


@pytest.mark.parametrize("trouble", BREAKING)
def test_a_request_is_repeated_until_it_is_answered(node, proxy, clock, trouble):
    rpc = connected(clock, proxy, timeout=timeout_for(trouble))
    proxy.trouble(trouble, times=3)
    assert rpc.block("latest").number >= 0
    assert proxy.asked[:4] == ["eth_getBlockByNumber"] * 4
    assert clock.slept == pytest.approx([0.05, 0.1, 0.2])


@pytest.mark.parametrize("trouble", BREAKING)
def test_another_node_is_asked_at_once(node, proxy, second, clock, trouble):
    rpc = connected(clock, proxy, second, timeout=timeout_for(trouble))
    proxy.trouble(trouble, times=100)
    for _ in range(5):
        rpc.block("latest")
    assert proxy.asked == ["eth_getBlockByNumber"], "the one in trouble was asked again"
    assert clock.slept == []


def test_it_stays_with_the_node_that_answers_and_comes_back_when_that_one_fails(node, proxy, second, clock):
    rpc = connected(clock, proxy, second)
    assert rpc.url == proxy.url
    proxy.down()
    rpc.number("eth_blockNumber")
    assert rpc.url == second.url
    proxy.up()
    rpc.number("eth_blockNumber")
    assert rpc.url == second.url
    second.down()
    rpc.number("eth_blockNumber")
    assert rpc.url == proxy.url


def test_several_nodes_are_separated_by_commas(node, proxy, second):
    assert Rpc(f"{proxy.url}, {second.url}").urls == (proxy.url, second.url)
    proxy.down()
    rpc = Rpc(f"{proxy.url},{second.url}")
    assert rpc.number("eth_chainId") == 1337


def test_a_node_that_starts_again_is_waited_for(node, proxy):
    rpc = Rpc(proxy.url, timeout=60)
    rpc.check_chain(1337)
    proxy.down()
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(rpc.number, "eth_blockNumber")
        with pytest.raises(TimeoutError):
            answer.result(0.2)
        proxy.up()
        assert answer.result(300) >= 0


def test_patience_has_an_end(node, proxy, clock):
    rpc = connected(clock, proxy, patience=10)
    proxy.down()
    with pytest.raises(
        RpcError, match=rf"no Ethereum node answers at {proxy.url} .*tried for \d+ s\): start one"
    ) as caught:
        rpc.number("eth_blockNumber")
    assert 5 < clock() <= 10
    assert caught.value.exit_code == 20


def test_the_error_names_every_node_and_what_is_wrong_with_it(node, proxy, second, clock):
    rpc = connected(clock, proxy, second, patience=1)
    proxy.trouble(malformed, times=1000)
    second.down()
    with pytest.raises(
        RpcError, match=rf"{proxy.url} answers eth_blockNumber .*not JSON.*; no Ethereum node answers at {second.url}"
    ):
        rpc.number("eth_blockNumber")


def test_before_the_first_answer_each_node_is_tried_once(node, proxy, second, clock):
    proxy.down()
    second.trouble(drop, times=2)
    with pytest.raises(RpcError, match="no Ethereum node answers"):
        Rpc([proxy.url, second.url], clock=clock, sleep=clock.sleep).request("eth_chainId")
    assert (clock.slept, len(second.asked)) == ([], 1)


def test_a_revert_is_an_answer(node, proxy, second, clock):
    rpc = connected(clock, proxy, second)
    with pytest.raises(RpcAnswerError):
        rpc.request("eth_call", {"to": "0x" + "00" * 19 + "01", "gas": "0x1"})
    with pytest.raises(RpcAnswerError):
        rpc.request("eth_nonsense")
    assert (proxy.asked, second.asked, clock.slept) == (["eth_call", "eth_nonsense"], [], [])


BEHIND = [
    refusal(-32602, "BlockOutOfRangeError: block height is 12 but requested was 14"),
    refusal(-32000, "header not found"),
    refusal(-32000, "header for hash not found"),
    refusal(-32000, "Unknown block"),
    refusal(-32001, "block not found: latest"),
    refusal(-32000, "missing trie node 5f1b (path ) state 0x5f1b is not available"),
    refusal(-32000, "World state unavailable"),
]
"""What nodes say of a block that they do not have; even of their latest, in the middle of a reorganisation."""
STATE = [
    ("eth_call", {"data": "0x"}, "latest"),
    ("eth_call", {"data": "0x"}, "0x0"),
    ("eth_estimateGas", {"data": "0x"}),
    ("eth_getCode", "0x" + "00" * 20, "latest"),
    ("eth_getBalance", "0x" + "00" * 20, "latest"),
    ("eth_getTransactionCount", "0x" + "00" * 20, "pending"),
]


@pytest.mark.parametrize("trouble", BEHIND)
def test_a_node_without_the_block_is_asked_again(proxy, clock, trouble):
    rpc = connected(clock, proxy)
    for method, *parameters in STATE:
        proxy.trouble(trouble, times=2, only=method)
        assert rpc.request(method, *parameters).startswith("0x")
        assert proxy.asked.count(method) % 3 == 0
    assert clock.slept == pytest.approx([0.05, 0.1] * len(STATE))


def test_another_node_may_have_the_block(proxy, second, clock):
    rpc = connected(clock, proxy, second)
    proxy.trouble(BEHIND[0], times=1000)
    assert rpc.request("eth_call", {"data": "0x"}, "latest") == "0x"
    assert (rpc.url, clock.slept) == (second.url, [])


def test_a_block_that_no_node_has_is_not_waited_for_for_ever(proxy, clock):
    rpc = connected(clock, proxy, patience=10)
    proxy.trouble(BEHIND[1], times=1000, only="eth_call")
    with pytest.raises(
        RpcError, match=r"eth_call that it does not have the block: header not found \(tried for"
    ) as caught:
        rpc.request("eth_call", {"data": "0x"}, "latest")
    assert caught.value.temporary
    assert 5 < clock() <= 10


@pytest.mark.parametrize(
    ("answer", "method"),
    [
        (refusal(3, "execution reverted: block not found"), "eth_call"),
        (refusal(3, "block not found"), "eth_call"),
        (refusal(-32000, "execution reverted: block not found"), "eth_call"),
        (refusal(-32015, "block not found", data="0x08c379a0"), "eth_estimateGas"),
        (refusal(-32000, "One of the blocks specified in filter cannot be found: unknown block"), "eth_getLogs"),
    ],
)
def test_a_contracts_words_and_answers_about_logs_are_answers(proxy, clock, answer, method):
    rpc = connected(clock, proxy)
    proxy.trouble(answer, times=1000)
    with pytest.raises(RpcAnswerError):
        rpc.request(method, {})
    assert (proxy.asked, clock.slept) == ([method], [])


@pytest.mark.parametrize("code", [429, 503])
def test_a_node_says_when_it_wants_to_be_asked_again(node, proxy, clock, code):
    rpc = connected(clock, proxy)
    proxy.trouble(status(code, 7))
    rpc.number("eth_blockNumber")
    assert clock.slept == [7]


def test_when_may_be_a_date(node, proxy, clock):
    rpc = connected(clock, proxy)
    proxy.trouble(status(429, format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)))
    rpc.number("eth_blockNumber")
    assert 10 < clock() <= 20


@pytest.mark.parametrize("nonsense", ["soon", "-5", "1e99", "Thu, 99 Foo 2026"])
def test_when_may_be_nonsense(node, proxy, clock, nonsense):
    rpc = connected(clock, proxy)
    proxy.trouble(status(429, nonsense))
    rpc.number("eth_blockNumber")
    assert clock() < 1


def test_a_pause_that_is_longer_than_patience_is_not_waited_for(node, proxy, clock):
    rpc = connected(clock, proxy)
    proxy.trouble(status(429, 3600))
    for _ in range(2):
        with pytest.raises(RpcError, match="HTTP status 429"):
            rpc.number("eth_blockNumber")
    assert (clock.slept, proxy.asked) == ([], ["eth_blockNumber"])


def test_a_rate_limit_is_waited_out_from_the_first_request_on(node, proxy, clock):
    proxy.trouble(status(429, 2), times=3)
    assert Rpc(proxy.url, clock=clock, sleep=clock.sleep).number("eth_chainId") == 1337
    assert clock() == 6


def test_a_range_that_takes_too_long_is_for_the_caller_to_halve(node, proxy, clock):
    rpc = connected(clock, proxy, timeout=timeout_for(stall))
    proxy.trouble(stall)
    with pytest.raises(TooMuchError, match="eth|answers"):
        rpc.request("eth_getLogs", {"fromBlock": "0x0"})


def transfer(node: Node) -> dict[str, str]:
    return {"from": node.accounts[7], "to": node.accounts[8], "value": "0x1"}


@pytest.mark.parametrize("trouble", [reset, drop, malformed, stall, status(503)])
def test_what_a_development_node_may_have_sent_is_not_sent_again(node, web3, proxy, clock, trouble):
    rpc = connected(clock, proxy, timeout=timeout_for(trouble))
    sent = rpc.number("eth_getTransactionCount", node.accounts[7], "latest")
    proxy.asked.clear()
    proxy.trouble(trouble)
    with pytest.raises(RpcError, match="it may have been done all the same"):
        rpc.request("eth_sendTransaction", transfer(node))
    assert proxy.asked == ["eth_sendTransaction"]
    assert rpc.number("eth_getTransactionCount", node.accounts[7], "latest") == sent + 1


def test_what_a_development_node_has_not_sent_is_sent_again(node, web3, proxy, second, clock):
    rpc = connected(clock, proxy, second)
    proxy.down()
    assert rpc.request("eth_sendTransaction", transfer(node))


def signed(node: Node, rpc: Rpc, **changed: int) -> str:
    transaction = {
        "chainId": 1337, "nonce": rpc.number("eth_getTransactionCount", node.accounts[7], "latest"), "gas": 21_000,
        "to": node.accounts[8], "value": 1, "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9, "type": 2,
    }  # fmt: skip
    raw = Account.from_key(node.private_keys[7]).sign_transaction(transaction | changed).raw_transaction
    return "0x" + bytes(raw).hex()


@pytest.mark.parametrize("trouble", [reset, drop, truncated, stall, status(503)])
def test_a_signed_transaction_whose_answer_was_lost_is_sent_again_and_is_in_once(node, web3, proxy, clock, trouble):
    rpc = connected(clock, proxy, timeout=timeout_for(trouble))
    raw = signed(node, rpc)
    before = rpc.number("eth_getBalance", node.accounts[8], "latest")
    proxy.trouble(trouble, only="eth_sendRawTransaction")
    identity = rpc.request("eth_sendRawTransaction", raw)
    assert rpc.request("eth_getTransactionReceipt", identity)["status"] == "0x1"
    assert rpc.number("eth_getBalance", node.accounts[8], "latest") == before + 1
    assert proxy.asked.count("eth_sendRawTransaction") == 2


def test_a_signed_transaction_that_is_refused_twice_is_refused(node, web3, proxy, clock):
    rpc = connected(clock, proxy)
    proxy.trouble(drop, only="eth_sendRawTransaction")
    with pytest.raises(RpcAnswerError, match="intrinsic gas too low"):
        rpc.request("eth_sendRawTransaction", signed(node, rpc, gas=20_000))


@pytest.fixture(scope="module")
def other_chain() -> Iterator[Node]:
    with Node(port=0, accounts=1, chain_id=4242) as running:
        yield running


def test_a_node_that_starts_again_with_another_chain_is_refused(node, other_chain, proxy, clock):
    rpc = connected(clock, proxy)
    proxy.upstream = other_chain.url
    proxy.disconnect()
    for _ in range(2):
        with pytest.raises(WrongChainError, match=f"{proxy.url} is a node of chain 4242, but this is about chain 1337"):
            rpc.block("latest")


def test_a_second_node_of_another_chain_is_refused(node, other_chain, proxy, second, clock):
    second.upstream = other_chain.url
    rpc = connected(clock, proxy, second)
    proxy.down()
    with pytest.raises(WrongChainError, match=f"{second.url} is a node of chain 4242"):
        rpc.number("eth_blockNumber")


def test_a_node_whose_chain_could_not_be_asked_for_is_asked_again(node, other_chain, proxy, clock):
    rpc = connected(clock, proxy)
    proxy.upstream = other_chain.url
    proxy.disconnect()
    proxy.trouble(status(429), only="eth_chainId")
    with pytest.raises(WrongChainError):
        rpc.number("eth_blockNumber")


def test_a_connection_is_asked_for_its_chain_once(node, proxy, clock):
    rpc = connected(clock, proxy)
    for _ in range(3):
        rpc.number("eth_blockNumber")
    proxy.disconnect()
    for _ in range(3):
        rpc.number("eth_blockNumber")
    assert proxy.asked.count("eth_chainId") == 1
    assert proxy.asked.count("eth_blockNumber") in (6, 7)  # the last answer on the old connection may be lost


def test_a_node_that_dribbles_is_given_up(clock):
    """The whole answer has to come in time, not only the next byte of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def dribble() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                try:
                    while True:
                        connection.sendall(b" ")
                        time.sleep(0.01)
                except OSError:
                    pass

        thread = threading.Thread(target=dribble)
        thread.start()
        with pytest.raises(RpcError, match=r"has not answered eth_chainId after 1 s"):
            Rpc(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=1).request("eth_chainId")
        thread.join()
