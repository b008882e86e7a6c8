"""Nodes that are asked by WebSocket: anvil itself, and real servers that answer what the test says."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import pytest
from eth_account import Account
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

import galaxy_chain
from galaxy_chain.exceptions import RpcError, WrongChainError
from galaxy_chain.ledger.deployment import deploy
from galaxy_chain.rpc import transport
from galaxy_chain.rpc.errors import RpcAnswerError, TooMuchError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.manager import Transactions
from tests.end_to_end.processes import anvil
from tests.galaxy_chain.rpc import forking

DEAD = "ws://127.0.0.1:1"
Reply = Callable[[ServerConnection, dict[str, Any]], None]
"""What a server does with a request."""


@pytest.fixture(scope="module")
def anvils() -> Iterator[str]:
    """Anvil's url; one port is for HTTP and WebSocket."""
    with anvil() as url:
        yield url.replace("http:", "ws:")


@contextmanager
def replying(reply: Reply, status: int | None = None, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A WebSocket server; with a status, one that refuses each connection with it."""

    def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            for message in connection:
                reply(connection, json.loads(message))

    def refuse(connection: ServerConnection, _: Request) -> Response | None:
        if status is None:
            return None
        response = connection.respond(status, "too much\n")
        response.headers["Retry-After"] = "7"
        return response

    server = serve(handle, "127.0.0.1", 0, process_request=refuse, max_size=None, close_timeout=1, ssl=tls)
    with server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"{'ws' if tls is None else 'wss'}://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(60)
        assert not thread.is_alive()


def result(value: Any) -> Reply:
    def reply(connection: ServerConnection, request: dict[str, Any]) -> None:
        connection.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}))

    return reply


def says(text: str | bytes) -> Reply:
    return lambda connection, request: connection.send(text)


def hang_up(connection: ServerConnection, request: dict[str, Any]) -> None:
    connection.close()


def silence(connection: ServerConnection, request: dict[str, Any]) -> None:
    """Says nothing."""


def test_anvil_answers_as_it_does_by_http(anvils):
    rpc, by_http = Rpc(anvils), Rpc(anvils.replace("ws:", "http:"))
    assert rpc.number("eth_chainId") == by_http.number("eth_chainId")
    assert rpc.block(0) == by_http.block(0)
    with pytest.raises(RpcAnswerError, match="the node refuses eth_call") as caught:
        rpc.request("eth_call", {"data": "0xfe"}, "latest")
    with pytest.raises(RpcAnswerError) as as_by_http:
        by_http.request("eth_call", {"data": "0xfe"}, "latest")
    assert str(caught.value) == str(as_by_http.value)


def test_threads_get_their_own_answers(anvils):
    rpc, accounts = Rpc(anvils), Rpc(anvils).request("eth_accounts")
    for index, account in enumerate(accounts):
        rpc.request("anvil_setBalance", account, hex(1000 + index))
    with ThreadPoolExecutor(8) as threads:
        balances = list(threads.map(lambda account: rpc.number("eth_getBalance", account, "latest"), accounts * 20))
    assert balances == [1000 + index for index in range(len(accounts))] * 20


def test_a_ledger_is_deployed_and_read_by_websocket(tmp_path):
    with anvil() as url:
        ledger = galaxy_chain.Ledger([DEAD, url.replace("http:", "ws:")], home=tmp_path, account="dev:0")
        rpc = ledger.rpc()
        deployment, _ = deploy(rpc, Transactions(rpc, ledger.signer, ledger.journal))
        deployment.write(ledger.deployment_file)
        with ledger:
            assert ledger.jobs() == {}


def test_fail_over_to_a_node_by_http_and_back():
    with anvil() as first, anvil() as second:
        by_websocket = first.replace("http:", "ws:")
        rpc = Rpc([DEAD, by_websocket, second])
        assert rpc.number("eth_chainId") == 31337
        assert rpc.url == by_websocket
        rpc.fail_over()
        rpc.fail_over()
        assert rpc.number("eth_blockNumber") == 0


def test_a_node_that_ends_is_left_for_the_next(anvils):
    with anvil() as url:
        rpc = Rpc([url.replace("http:", "ws:"), anvils])
        rpc.number("eth_blockNumber")
        assert rpc.url != anvils
    assert rpc.number("eth_chainId") == 31337
    assert rpc.url == anvils


def test_each_new_connection_is_asked_for_its_chain():
    chains = iter(["0x1", "0x1", "0x2"])

    def reply(connection: ServerConnection, request: dict[str, Any]) -> None:
        result(next(chains) if request["method"] == "eth_chainId" else "0x5")(connection, request)
        if request["method"] == "eth_blockNumber":
            connection.close()

    with replying(reply) as url:
        rpc = Rpc(url)
        rpc.check_chain(1)
        rpc.number("eth_blockNumber")
        assert rpc.number("eth_gasPrice") == 5
        rpc.number("eth_blockNumber")
        with pytest.raises(WrongChainError, match="is a node of chain 2, but this is about chain 1"):
            rpc.number("eth_gasPrice")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (says(""), "with something that is not JSON"),
        (says(b"\xff\xfe"), "with something that is not JSON"),
        (says("[" * 100_000), "with something that is not JSON"),
        (says("[]"), "not JSON-RPC"),
        (says("{}"), "neither result nor error"),
        (says('{"result": "0x1", "id": 99}'), "the answer to another request"),
        (hang_up, "no Ethereum node answers at ws://"),
        (silence, "has not answered eth_chainId after 0.5 s"),
    ],
)
def test_what_is_no_answer(reply, said):
    with replying(reply) as url, pytest.raises(RpcError, match=said):
        Rpc(url, timeout=0.5 if reply is silence else 30.0).request("eth_chainId")


def test_an_answer_that_comes_late_is_not_taken_for_that_of_the_next_request():
    late, asked = Event(), []

    def reply(connection: ServerConnection, request: dict[str, Any]) -> None:
        asked.append(connection)
        if len(asked) == 2:
            late.wait(60)
        result(hex(len(asked)))(connection, request)

    with replying(reply) as url:
        rpc = Rpc(url, timeout=5.0)
        assert rpc.number("eth_chainId") == 1
        with pytest.raises(TooMuchError, match="has not answered eth_getLogs after 5.0 s"):
            rpc.request("eth_getLogs", {})
        late.set()
        rpc._chain_id = None  # this server's answers are no chain's
        assert rpc.number("eth_gasPrice") == 3
    assert asked[1] is asked[0]
    assert asked[2] is not asked[0]


def test_an_answer_without_end(monkeypatch):
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 1000)
    with replying(result("0x" + "00" * 600)) as url:
        with pytest.raises(RpcError, match="answers eth_call with more than 1,000 bytes"):
            Rpc(url).data("eth_call")
        with pytest.raises(TooMuchError, match="more than 1,000 bytes"):
            Rpc(url).request("eth_getLogs", {})


def test_a_transaction_of_a_nodes_account_is_not_sent_twice():
    asked = []

    def reply(connection: ServerConnection, request: dict[str, Any]) -> None:
        asked.append(request["method"])
        (hang_up if request["method"] == "eth_sendTransaction" else result("0x1"))(connection, request)

    with replying(reply) as url:
        rpc = Rpc(url)
        rpc.check_chain(1)
        with pytest.raises(RpcError, match="it may have been done all the same: it is not sent again"):
            rpc.request("eth_sendTransaction", {})
    assert asked.count("eth_sendTransaction") == 1


def test_a_signed_transaction_whose_answer_is_lost_is_found_again(anvils):
    """A server in front of anvil that delivers the first, and ends the connection before it has said so."""
    lost = []

    def reply(connection: ServerConnection, request: dict[str, Any]) -> None:
        with connect(anvils) as upstream:
            upstream.send(json.dumps(request))
            answer = upstream.recv(60)
        if request["method"] == "eth_sendRawTransaction" and not lost:
            lost.append(request)
            connection.close()
        else:
            connection.send(answer)

    with replying(reply) as url:
        rpc, account = Rpc(url), Account.create()
        rpc.request("anvil_setBalance", account.address, hex(10**18))
        price = 10 * rpc.number("eth_gasPrice")
        signed = account.sign_transaction(
            {"to": account.address, "value": 1, "nonce": 0, "gas": 21_000, "gasPrice": price, "chainId": 31337}
        )
        assert rpc.request("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex()) == "0x" + signed.hash.hex()
    assert len(lost) == 1


def test_a_server_that_has_too_much_to_do_is_left_alone():
    slept: list[float] = []
    with replying(silence, status=503) as busy, replying(result("0x1")) as other:
        rpc = Rpc([busy, other], sleep=slept.append)
        assert rpc.number("eth_chainId") == 1
        assert rpc.url == other
        assert 6 < rpc._rotation._ready[0] - rpc.clock() <= 7
        with pytest.raises(RpcError, match="with HTTP status 503: it has too much to do"):
            Rpc(busy).request("eth_chainId")


@pytest.mark.parametrize(
    "url",
    ["ws://", "ws://[", "ws://127.0.0.1:99999", "ws://127.0.0.1:1", "wss://127.0.0.1:1", "ws://" + "a" * 70 + ".b"],
)
def test_nobody_there(url):
    with pytest.raises(RpcError, match="no Ethereum node answers at ws") as caught:
        Rpc(url).request("eth_chainId")
    assert caught.value.exit_code == 20


def test_a_node_without_websockets_is_named(node):
    with pytest.raises(RpcError, match="no Ethereum node answers at ws://127.*HTTP"):
        Rpc(node.url.replace("http:", "ws:")).request("eth_chainId")


def test_a_providers_key_is_not_shown():
    with pytest.raises(RpcError, match="answers at ws://127.0.0.1:1/… ") as caught:
        Rpc(f"{DEAD}/v3/secret").request("eth_chainId")
    assert "secret" not in str(caught.value)


def test_certificates_are_checked(certified, monkeypatch):
    with replying(result("0x1"), tls=certified.tls()) as url:
        with pytest.raises(RpcError, match="certificate verify failed"):
            Rpc(url).request("eth_chainId")
        monkeypatch.setenv("SSL_CERT_FILE", str(certified.certificate))
        assert Rpc(url).number("eth_chainId") == 1


def test_a_process_that_was_forked_has_a_connection_of_its_own():
    asked: list[ServerConnection] = []

    def reply(connection: ServerConnection, request: dict[str, Any]) -> None:
        asked.append(connection)
        result("0x1")(connection, request)

    with replying(reply) as url:
        forking.check(url)
    assert [asked.index(each) for each in asked] == [0, 1, 0]
