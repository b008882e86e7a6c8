"""A real TCP proxy in front of a node, which makes the trouble that networks, providers and dying nodes make.

Every connection is a real one: what the client under test sees is what its own sockets give it.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

__all__ = [
    "Change",
    "TcpProxy",
    "Trouble",
    "cut_off",
    "drop",
    "malformed",
    "refusal",
    "reset",
    "stall",
    "status",
    "truncated",
]

Trouble = Callable[["TcpProxy", socket.socket, bytes], None]
"""Gets the client's connection and the node's whole HTTP answer, which it may or may not deliver."""
LAST = b"Connection: close\r\n"
Change = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
"""Makes another JSON-RPC answer of a request and the node's answer."""


def reset(proxy: TcpProxy, client: socket.socket, answer: bytes) -> None:
    """Half of the answer, then a TCP reset."""
    client.sendall(answer[: len(answer) // 2])
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cut_off(proxy: TcpProxy, client: socket.socket, answer: bytes) -> None:
    """Half of the answer, then an orderly end."""
    client.sendall(answer[: len(answer) // 2])


def drop(proxy: TcpProxy, client: socket.socket, answer: bytes) -> None:
    """No answer at all: the connection ends."""


def truncated(proxy: TcpProxy, client: socket.socket, answer: bytes) -> None:
    """A complete HTTP answer with half of the JSON."""
    body = answer.partition(b"\r\n\r\n")[2]
    client.sendall(_http(200, body[: len(body) // 2], LAST))


def malformed(proxy: TcpProxy, client: socket.socket, answer: bytes) -> None:
    """A complete HTTP answer that is no JSON."""
    client.sendall(_http(200, b"<html>we are moving</html>", LAST))


def stall(proxy: TcpProxy, client: socket.socket, answer: bytes) -> None:
    """Nothing, for as long as the proxy runs: it is for the client to lose patience."""
    proxy.over.wait()


def status(code: int, retry_after: float | str | None = None) -> Trouble:
    """An HTTP status instead of the answer; `retry_after` in seconds or as a date."""

    def trouble(proxy: TcpProxy, client: socket.socket, answer: bytes) -> None:
        more = b"" if retry_after is None else f"Retry-After: {retry_after}\r\n".encode()
        client.sendall(_http(code, b"try again later", LAST + more))

    return trouble


def refusal(code: int, message: str, **more: Any) -> Trouble:
    """An error of JSON-RPC."""

    def trouble(proxy: TcpProxy, client: socket.socket, answer: bytes) -> None:
        error = {"code": code, "message": message, **more}
        client.sendall(_http(200, json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}).encode(), LAST))

    return trouble


def _http(code: int, body: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d Said By The Proxy\r\nContent-Length: %d\r\n%s\r\n%s" % (code, len(body), more, body)


class TcpProxy:
    """Forwards HTTP requests to a node, in a `with` block.

    Args:
        upstream: The node's `http://host:port`; may be changed at any time.

    Attributes:
        url: Where the proxy listens; stays the same over `down` and `up`.
        asked: The JSON-RPC methods that came in, in order.
        change: Makes another answer of each; None for the node's own.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.asked: list[str] = []
        self.change: Change | None = None
        self.over = threading.Event()
        self._troubles: list[tuple[Trouble, str | None]] = []
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._port = 0
        self.up()
        self.url = f"http://127.0.0.1:{self._port}"

    def trouble(self, what: Trouble, times: int = 1, only: str | None = None) -> None:
        """The next requests, or the next of one method only, end in trouble."""
        with self._lock:
            self._troubles += [(what, only)] * times

    def heal(self) -> None:
        """No more trouble, and the node's own answers."""
        with self._lock:
            self._troubles.clear()
        self.change = None

    def down(self) -> None:
        """As if the node had ended: connections break, new ones are refused."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.disconnect()

    def disconnect(self) -> None:
        """Ends every connection."""
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):  # it has ended by itself
                    connection.shutdown(socket.SHUT_RDWR)

    def up(self) -> None:
        """Listens again, at the same port as before."""
        listener = socket.create_server(("127.0.0.1", self._port), backlog=64)
        self._listener, self._port = listener, listener.getsockname()[1]
        threading.Thread(target=self._listen, args=(listener,), daemon=True).start()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *exception: object) -> None:
        self.over.set()
        self.down()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed by `down`
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client:
            with self._lock:
                self._connections.add(client)
            try:
                while self._request(client):
                    pass
            except OSError:  # either side has gone
                pass
            finally:
                with self._lock:
                    self._connections.discard(client)

    def _request(self, client: socket.socket) -> bool:
        """Whether the connection goes on."""
        head, body = _message(client)
        if not head:
            return False
        sent = json.loads(body)
        requests = sent if isinstance(sent, list) else [sent]  # several threads' requests may come as one batch
        with self._lock:
            methods = [request["method"] for request in requests]
            self.asked += methods
            trouble = next(filter(None, map(self._next_trouble, methods)), None)
        if trouble is None and self.change is None:
            client.sendall(self._forward(body))
            return True
        if trouble is not None:
            trouble(self, client, self._forward(body))
            return False
        answer = json.loads(self._forward(body).partition(b"\r\n\r\n")[2])
        assert self.change is not None
        if isinstance(sent, list):
            answers = {each["id"]: each for each in answer}
            changed: Any = [self.change(request, answers[request["id"]]) for request in requests]
        else:
            changed = self.change(sent, answer)
        client.sendall(_http(200, json.dumps(changed).encode()))
        return True

    def _next_trouble(self, method: str) -> Trouble | None:
        for index, (trouble, only) in enumerate(self._troubles):
            if only in (None, method):
                del self._troubles[index]
                return trouble
        return None

    def _forward(self, body: bytes) -> bytes:
        """The node's whole HTTP answer."""
        where = urlsplit(self.upstream)
        head = b"POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        with socket.create_connection((where.hostname, where.port or 80)) as node:
            node.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            node.sendall(head % (where.netloc.encode(), len(body)) + body)
            return b"".join(_message(node))


def _message(connection: socket.socket) -> tuple[bytes, bytes]:
    """An HTTP message's head with the empty line, and its body; nothing where the connection has ended."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        if not piece:
            return b"", b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].partition(b":")[2]) if lengths else 0
    while len(body) < length:
        piece = connection.recv(65_536)
        if not piece:
            break
        body += piece
    return head + b"\r\n\r\n", body
