"""A node that is down, lies or stammers: a real HTTP server that answers what the test says."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from galaxy_chain.exceptions import NoLedgerError, RpcError, WrongChainError
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.events import Event
from galaxy_chain.rpc import transport
from galaxy_chain.rpc.errors import RpcAnswerError, TooMuchError, UnreliableAnswerError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.rpc.values import Block

HASH = "0x" + "ab" * 32
PARENT = "0x" + "cd" * 32
HEADER = {"number": "0x7", "hash": HASH, "parentHash": PARENT, "timestamp": "0x3"}


class Liar(HTTPServer):
    """Answers every request with `status` and `body`, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.body = b""
        self.asked: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def says(self, result: Any) -> Rpc:
        self.body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
        return Rpc(self.url)


class Handler(BaseHTTPRequestHandler):
    server: Liar

    def do_POST(self) -> None:
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture
def liar() -> Iterator[Liar]:
    with Liar() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_request_is_json_rpc(liar):
    assert liar.says("0x10").number("eth_chainId", 1, "x") == 16
    assert liar.asked == [{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [1, "x"]}]


def test_the_embedded_chain_answers(node):
    rpc = Rpc(node.url)
    assert rpc.number("eth_chainId") == node.chain_id
    block = rpc.block(0)
    assert isinstance(block, Block)
    assert (block.number, rpc.block("earliest")) == (0, block)


def test_nobody_there():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(RpcError, match=f"no Ethereum node answers at {url}.*galaxy-chain node.*--rpc") as caught:
            Rpc(url).request("eth_chainId")
    assert caught.value.exit_code == 20


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "http://",
        "ftp://127.0.0.1",
        "ws://127.0.0.1",
        "http://[",
        "http://127.0.0.1:99999",
        "http://a b",
    ],
)
def test_what_is_no_url_of_a_node(url):
    with pytest.raises(RpcError, match="no Ethereum node answers at"):
        Rpc(url).request("eth_chainId")


def test_a_node_that_never_answers():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(RpcError, match="has not answered eth_chainId after 0.1 s"):
            Rpc(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1).request("eth_chainId")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"", "not JSON"),
        (200, b"<html>hello</html>", "HTTP status 200 and something that is not JSON, '<html>"),
        (404, b"not found", "HTTP status 404"),
        (502, b"\xff\xfe", "HTTP status 502"),
        (200, b"[]", "not JSON-RPC"),
        (200, b"5", "not JSON-RPC"),
        (200, b"null", "not JSON-RPC"),
        (200, b"{}", "neither result nor error"),
        (200, b'{"error": null}', "neither result nor error"),
        (200, b'{"result": "0x1", "id": 2}', "the answer to another request"),
        (200, b"[" * 100_000, "not JSON"),
        (503, b"", "HTTP status 503: it has too much to do"),
    ],
)
def test_what_is_no_answer(liar, status, body, said):
    liar.status, liar.body = status, body
    with pytest.raises(RpcError, match=said):
        Rpc(liar.url).request("eth_chainId")


@pytest.mark.parametrize(
    ("error", "code", "reason", "data"),
    [
        ({"code": 3, "message": "reverted", "data": "0x1234"}, 3, "reverted", b"\x12\x34"),
        ({"code": 3, "message": "reverted", "data": {"data": "0x1234"}}, 3, "reverted", b"\x12\x34"),
        ({"code": 3, "message": "reverted", "data": "0x123"}, 3, "reverted", b""),
        ({"code": 3, "message": "reverted", "data": ["0x12"]}, 3, "reverted", b""),
        ({"code": "x"}, 0, "None", b""),
        ("it hurts", 0, "it hurts", b""),
    ],
)
def test_an_error_has_code_reason_and_revert_data(liar, error, code, reason, data):
    liar.status, liar.body = 400, json.dumps({"error": error}).encode()
    with pytest.raises(RpcAnswerError, match=f"the node refuses eth_call: {reason}") as caught:
        Rpc(liar.url).request("eth_call")
    assert (caught.value.code, caught.value.reason, caught.value.data) == (code, reason, data)


@pytest.mark.parametrize("result", [None, "", "0x", "0xg", 5, [], {}, "hello"])
def test_what_is_no_quantity(liar, result):
    with pytest.raises(RpcError, match="which is not a quantity"):
        liar.says(result).number("eth_gasPrice")


@pytest.mark.parametrize("result", [None, "0x1", "0xgg", 5, [], {}])
def test_what_is_no_data(liar, result):
    with pytest.raises(RpcError, match="which is not hexadecimal"):
        liar.says(result).data("eth_getCode")


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        "0x",
        {},
        {"number": "0x7", "hash": HASH},
        HEADER | {"number": 7},
        HEADER | {"hash": "0x2"},
        HEADER | {"hash": None},
        HEADER | {"parentHash": HASH + "00"},
        HEADER | {"baseFeePerGas": "x"},
        HEADER | {"logsBloom": "x"},
    ],
)
def test_what_is_no_block(liar, result):
    with pytest.raises(RpcError, match="has no block 7"):
        liar.says(result).block(7)


def test_a_block_before_base_fees_and_without_a_bloom_filter(liar):
    assert liar.says(HEADER).block(7) == Block(7, HASH, PARENT, 3, None, 0)


def test_a_block_of_another_number(liar):
    with pytest.raises(UnreliableAnswerError, match="gives block 7 for block 8"):
        liar.says(HEADER).block(8)


def test_a_block_by_its_hash(liar):
    assert liar.says(HEADER).block_of(HASH).number == 7
    with pytest.raises(UnreliableAnswerError, match=f"gives block {HASH} for block {PARENT}"):
        liar.says(HEADER).block_of(PARENT)
    with pytest.raises(UnreliableAnswerError, match=f"has no block {HASH}"):
        liar.says(None).block_of(HASH)


def test_another_chain(node):
    with pytest.raises(WrongChainError, match="is a node of chain 1337, but the ledger is on chain 5") as caught:
        LedgerContract(Rpc(node.url), "0x" + "11" * 20, chain_id=5)
    assert caught.value.exit_code == 21


@pytest.mark.parametrize("secret", ["/v3/secret", "/?key=secret"])
def test_an_error_does_not_show_a_providers_key(secret):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(RpcError, match=f"answers at http://127.0.0.1:{port}/… ") as caught:
            Rpc(f"http://127.0.0.1:{port}{secret}").request("eth_chainId")
    assert "secret" not in str(caught.value)


def test_an_answer_without_end(liar, monkeypatch):
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 1000)
    rpc = liar.says("0x" + "00" * 600)
    with pytest.raises(RpcError, match="answers eth_call with more than 1,000 bytes"):
        rpc.data("eth_call")
    with pytest.raises(TooMuchError, match="more than 1,000 bytes"):
        rpc.request("eth_getLogs", {})


def test_an_address_without_code(node):
    with pytest.raises(NoLedgerError, match="no contract at 0x1111.*galaxy-chain deploy") as caught:
        LedgerContract(Rpc(node.url), "0x" + "11" * 20)
    assert caught.value.exit_code == 22


@pytest.mark.parametrize("result", [None, 5, {}])
def test_logs_that_are_no_list(federation, liar, result):
    ledger = federation.ledger()
    ledger.rpc = liar.says(result)
    with pytest.raises(RpcError, match="which is not a list"):
        ledger.events(Event, 0, 1)


def test_logs_that_are_no_logs(federation, liar):
    ledger = federation.ledger()
    ledger.rpc = liar.says([{"topics": 5}])
    with pytest.raises(RpcError, match="malformed"):
        ledger.events(Event, 0, 1)


def test_an_answer_of_another_contract(federation, liar):
    ledger = federation.ledger()
    ledger.rpc = liar.says("0x1234")
    with pytest.raises(RpcError, match="jobOf can't have answered 1234"):
        ledger.job_of(1)
