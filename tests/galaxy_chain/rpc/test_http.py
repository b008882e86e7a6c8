"""How a node is asked by HTTP: connections that are kept, proxies, TLS, passwords, and answers without end."""

from __future__ import annotations

import gzip
import itertools
import json
from base64 import b64encode
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from web3 import EthereumTesterProvider, Web3

from galaxy_chain.exceptions import RpcError
from galaxy_chain.rpc import http as http_node
from galaxy_chain.rpc import transport
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.rpc.web3_rpc import Web3Rpc
from tests.galaxy_chain.rpc import forking
from tests.galaxy_chain.rpc.http_server import Server, answering, http


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def once(*pieces: bytes) -> Server:
    """A server that sends the same to everybody."""
    return Server(lambda head, body: pieces)


def test_a_connection_is_kept():
    with Server(answering()) as server:
        rpc = Rpc(server.url)
        for _ in range(3):
            assert rpc.number("eth_gasPrice") == 1
    assert [number for number, _ in server.asked] == [0, 0, 0]


def test_a_connection_that_was_idle_for_long_is_not_used(monkeypatch):
    with Server(answering()) as server:
        rpc = Rpc(server.url)
        rpc.number("eth_gasPrice")
        monkeypatch.setattr(http_node, "KEEP_ALIVE_SECONDS", 0.0)
        rpc.number("eth_gasPrice")
    assert [number for number, _ in server.asked] == [0, 1]


@pytest.mark.parametrize("end", ["Connection: close", "Connection: Close"])
def test_a_connection_that_the_node_ends_is_not_used(end):
    with Server(answering(end)) as server:
        rpc = Rpc(server.url)
        for _ in range(3):
            rpc.number("eth_gasPrice")
    assert [number for number, _ in server.asked] == [0, 1, 2]


def test_what_nobody_asked_for_is_nobodys_answer():
    # In one piece: one that comes once the second request is sent is an answer to it.
    with once(http(b'{"id": 1, "result": "0x1"}') + http(b'{"id": 2, "result": "0x2"}')) as server:
        rpc = Rpc(server.url, patience=0.0)
        assert rpc.number("eth_gasPrice") == 1
        with pytest.raises(RpcError, match="the answer to another request"):
            rpc.number("eth_gasPrice")


def test_each_thread_gets_its_own_answer_on_few_connections():
    met = Barrier(8)

    def reply(head: bytes, body: bytes) -> Iterable[bytes]:
        asked = json.loads(body)
        if asked["params"][0] < 8:
            met.wait(60)
        yield http(json.dumps({"id": asked["id"], "result": hex(asked["params"][0])}).encode())

    with Server(reply) as server:
        rpc = Rpc(server.url)
        with ThreadPoolExecutor(16) as threads:
            assert list(threads.map(lambda each: rpc.number("eth_get", each), range(100))) == list(range(100))
    assert {number for number, _ in server.asked} == set(range(8))


def test_a_process_that_was_forked_has_a_connection_of_its_own():
    with Server(answering()) as server:
        forking.check(server.url)
    assert [number for number, _ in server.asked] == [0, 1, 0]


def test_an_answer_may_be_packed(monkeypatch):
    with Server(answering(packed=True, result="0x" + "0" * 5000)) as server:
        assert len(Rpc(server.url).request("eth_getCode")) == 5002
        assert b"\r\nAccept-Encoding: gzip\r\n" in server.heads[0]
        monkeypatch.setattr(transport, "LARGEST_ANSWER", 1000)
        with pytest.raises(RpcError, match="answers eth_getCode with more than 1,000 bytes"):
            Rpc(server.url).request("eth_getCode")


@pytest.mark.parametrize(
    ("body", "encoding", "said"),
    [
        (gzip.compress(b"[]" * 1000)[:-9], "gzip", "ends in the middle"),
        (b"[]", "gzip", "no Ethereum node answers.*incorrect header check"),
        (b"[]", "br", "in an encoding that was not asked for"),
        (gzip.compress(gzip.compress(b"[]")), "gzip, gzip", "in an encoding that was not asked for"),
    ],
    ids=["cut off", "not packed", "brotli", "packed twice"],
)
def test_what_can_not_be_unpacked(body, encoding, said):
    with once(http(body, f"Content-Encoding: {encoding}")) as server, pytest.raises(RpcError, match=said):
        Rpc(server.url).request("eth_chainId")


def test_an_answer_in_parts():
    body = b'{"id": 1, "result": "0x10"}'
    parts = b"".join(b"%x;more=1\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    with once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", parts, b"0\r\nX: y\r\n\r\n") as server:
        assert Rpc(server.url).number("eth_gasPrice") == 16


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-More: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 10_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD, b"1\r\n \r\n"),
        (HEAD + b"1;", b"x" * 10_000),
        (HEAD + b"0\r\n", b"X-More: y\r\n"),
        (HEAD + b"-1\r\n", b" " * 10_000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 10_000),
    ],
)
def test_no_part_of_an_answer_is_without_end(monkeypatch, first, again):
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 1000)
    endless = Server(lambda head, body: itertools.chain([first], itertools.repeat(again * 100)))
    with (
        endless as server,
        pytest.raises(RpcError, match=r"answers eth_chainId with more than|no Ethereum node answers"),
    ):
        Rpc(server.url, timeout=600).request("eth_chainId")


CHAIN = b'{"id": 1, "result": "0x1"}'


@pytest.mark.parametrize(
    ("head", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 1),
        (b"HTTP/1.1 200\nCONTENT-LENGTH:%d \n\n", 1),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: %d\r\n\r\n", 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n", 2),
    ],
    ids=["usual", "line feeds alone", "hints before", "ended", "HTTP/1.0"],
)
def test_heads_that_are_understood(head, connections):
    def reply(asked: bytes, body: bytes) -> Iterable[bytes]:
        answer = json.dumps({"id": json.loads(body)["id"], "result": "0x1"}).encode()
        return [head % len(answer) + answer]

    with Server(reply) as server:
        rpc = Rpc(server.url)
        assert [rpc.number("eth_gasPrice") for _ in range(2)] == [1, 1]
    assert len({number for number, _ in server.asked}) == connections


def test_a_body_may_end_with_the_connection():
    with Server(lambda head, body: [b"HTTP/1.1 200 OK\r\n\r\n" + CHAIN], ends=True) as server:
        assert Rpc(server.url).number("eth_chainId") == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "its answer is not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nno field\r\n\r\n", "a field of the head"),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n folded: z\r\n\r\n", "a field of the head"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "another protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "transfer encoding that was not asked for"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nfives", "is no number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nfives", "is no number"),
        ("HTTP/1.1 200 OK\r\nContent-Length: ²\r\n\r\nfives".encode("latin-1"), "is no number"),
        (HEAD + b"2\r\nfive\r\n", "longer than it says"),
    ],
)
def test_what_is_not_http(answer, said):
    with once(answer) as server, pytest.raises(RpcError, match=f"no Ethereum node answers at .*{said}"):
        Rpc(server.url).request("eth_chainId")


@pytest.mark.parametrize("size", [b"7fffffffffffffff", b"f" * 40, b"-5", b"nonsense", b""])
def test_a_part_of_a_size_that_can_not_be(size):
    with once(HEAD + size + b"\r\n[]\r\n", b"0\r\n\r\n") as server, pytest.raises(RpcError):
        Rpc(server.url, timeout=1.0).request("eth_chainId")


def test_an_answer_that_is_longer_than_may_be_is_not_read():
    endless = once(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n")
    with endless as server, pytest.raises(RpcError, match="with more than 67,108,864 bytes"):
        Rpc(server.url).request("eth_chainId")


def test_a_redirect_is_not_followed():
    with Server(answering()) as other:
        moved = http(b"over there", f"Location: {other.url}", status="307 Temporary Redirect")
        with once(moved) as server, pytest.raises(RpcError, match="HTTP status 307 and something that is not JSON"):
            Rpc(server.url).request("eth_chainId")
    assert other.asked == []


def test_a_path_a_query_and_a_password_are_sent_and_not_shown():
    with Server(answering()) as server:
        url = f"http://us%40er:pass%3Aw%C3%B6rd@127.0.0.1:{server.port}/v3/a key?x=y%20z&u=é"
        rpc = Rpc(url)
        assert rpc.number("eth_gasPrice") == 1
    head = server.heads[0]
    assert head.startswith(b"POST /v3/a%20key?x=y%20z&u=%C3%A9 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAuthorization: Basic " + b64encode("us@er:pass:wörd".encode()) + b"\r\n" in head
    with pytest.raises(RpcError) as caught:
        Rpc(url).request("eth_chainId")
    assert f" http://127.0.0.1:{server.port}/… " in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret/1@127.0.0.1",
        "http://127.0.0.1:99999/secret",
        "http://[secret",
        "http://user:secret@[::1",
        "http://a b/secret",
        "ftp://user:secret@127.0.0.1",
        "http://" + "a" * 70 + ".b/secret",
    ],
)
def test_a_url_that_is_wrong_shows_no_secret(url):
    with pytest.raises(RpcError, match="no Ethereum node answers at") as caught:
        Rpc(url).request("eth_chainId")
    assert "secret" not in str(caught.value)


def test_certificates_are_checked(certified, monkeypatch):
    with Server(answering(), certified.tls()) as server:
        with pytest.raises(RpcError, match="no Ethereum node answers at https://.*certificate verify failed"):
            Rpc(server.url).request("eth_chainId")
        monkeypatch.setenv("SSL_CERT_FILE", str(certified.certificate))
        rpc = Rpc(server.url)
        assert [rpc.number("eth_chainId") for _ in range(2)] == [1, 1]
        with pytest.raises(RpcError, match="no Ethereum node answers at https://localhost.*localhost"):
            Rpc(server.url.replace("127.0.0.1", "localhost")).request("eth_chainId")
    assert [number for number, _ in server.asked] == [1, 1]


def test_blanks_in_a_field_cost_no_more_than_other_bytes():
    hint = b"HTTP/1.1 103 Early Hints\r\nX: y" + b" " * 60_000 + b"y\r\n\r\n"
    with once(hint * 20, http(CHAIN)) as server:  # the square of the blanks' number would take minutes
        assert Rpc(server.url, timeout=60).number("eth_chainId") == 1


def test_a_connection_is_not_kept_whose_answer_has_two_lengths():
    def reply(head: bytes, body: bytes) -> Iterable[bytes]:
        answer = json.dumps({"id": json.loads(body)["id"], "result": "0x1"}).encode()
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
        yield b"%x\r\n%s\r\n0\r\n\r\n" % (len(answer), answer)

    with Server(reply) as server:
        rpc = Rpc(server.url)
        assert [rpc.number("eth_chainId") for _ in range(2)] == [1, 1]
    assert [number for number, _ in server.asked] == [0, 1]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_proxy_of_the_environment(monkeypatch, variable):
    with Server(answering()) as proxy:
        monkeypatch.setenv(variable, f"http://user:word@127.0.0.1:{proxy.port}")
        assert Rpc("http://node.example:8545/v3/key").number("eth_gasPrice") == 1
    assert proxy.heads[0].startswith(b"POST http://node.example:8545/v3/key HTTP/1.1\r\n")
    assert b"\r\nHost: node.example:8545\r\n" in proxy.heads[0]
    assert b"\r\nProxy-Authorization: Basic " + b64encode(b"user:word") + b"\r\n" in proxy.heads[0]


@pytest.mark.parametrize("spared", ["127.0.0.1", "*", "example.com, 127.0.0.1"])
def test_a_host_that_needs_no_proxy(monkeypatch, spared):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with Server(answering()) as server:
        with pytest.raises(RpcError, match="no Ethereum node answers at http://127"):
            Rpc(server.url).request("eth_chainId")
        monkeypatch.setenv("NO_PROXY", spared)
        assert Rpc(server.url).number("eth_chainId") == 1


@pytest.mark.parametrize("encrypted", [False, True])
def test_tls_goes_through_a_proxy(certified, monkeypatch, encrypted):
    monkeypatch.setenv("SSL_CERT_FILE", str(certified.certificate))
    with (
        Server(answering(), certified.tls()) as server,
        Server(answering(), certified.tls() if encrypted else None) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://user:word@"))
        rpc = Rpc(server.url.replace("://", "://for:node@"))
        assert [rpc.number("eth_chainId") for _ in range(2)] == [1, 1]
        del rpc
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.".encode())
    assert b"\r\nProxy-Authorization: Basic " + b64encode(b"user:word") + b"\r\n" in head
    assert b64encode(b"for:node") not in head
    assert b"Proxy-" not in server.heads[0]
    assert b"\r\nAuthorization: Basic " + b64encode(b"for:node") in server.heads[0]


def test_a_proxy_that_refuses(monkeypatch):
    refusing = [b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"]
    with Server(lambda head, body: refusing) as proxy:
        proxy._connect = lambda head, connection: connection.sendall(refusing[0])
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(
            RpcError, match=r"https://node.example \(Tunnel connection failed: 407 Proxy Authentication Required"
        ):
            Rpc("https://node.example").request("eth_chainId")


def test_a_proxy_of_another_kind(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:1080")
    with pytest.raises(
        RpcError, match="the proxy that ALL_PROXY names does not begin with http:// or https://"
    ) as caught:
        Rpc("http://node.example").request("eth_chainId")
    assert "secret" not in str(caught.value)


def test_a_web3_is_asked_by_its_own_provider_alone():
    rpc = Web3Rpc(Web3(EthereumTesterProvider()))
    assert rpc.number("eth_blockNumber") == 0
    assert "_transport" not in vars(rpc)
