"""HTTP servers and proxies of a few lines on real sockets, which send whatever bytes a test wants."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Self

__all__ = ["Server", "answering", "http"]

Reply = Callable[[bytes, bytes], Iterable[bytes]]
"""From the head and the body of a request to what is sent, piece by piece."""


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def answering(*headers: str, result: str = "0x1", packed: bool = False) -> Reply:
    """What a node does whose every answer is the same."""

    def reply(head: bytes, body: bytes) -> Iterable[bytes]:
        answer = json.dumps({"jsonrpc": "2.0", "id": json.loads(body)["id"], "result": result}).encode()
        yield http(gzip.compress(answer), "Content-Encoding: gzip", *headers) if packed else http(answer, *headers)

    return reply


class Server:
    """Listens on loopback, in a `with` block.

    Args:
        reply: What it does with a request; with CONNECT, it connects its client to where that wants to go.
        tls: For a server that is asked by TLS.
        ends: Whether it ends a connection after an answer.

    Attributes:
        asked: The number of the connection and the head of each request, in order.
    """

    def __init__(self, reply: Reply, tls: ssl.SSLContext | None = None, *, ends: bool = False) -> None:
        self._reply = reply
        self._ends = ends
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http{'' if tls is None else 's'}://127.0.0.1:{self.port}"
        self.asked: list[tuple[int, bytes]] = []
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._begin(self._serve)
        return self

    def __exit__(self, *_: Any) -> None:
        for each in (self._socket, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        for each in (self._socket, *self._open):
            each.close()

    @property
    def heads(self) -> list[bytes]:
        """Those of the requests."""
        return [head for _, head in self.asked]

    def _begin(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        number = 0
        with suppress(OSError):
            while True:
                self._open.append(self._socket.accept()[0])
                self._begin(self._answer, number, self._open[-1])
                number += 1

    def _answer(self, number: int, connection: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            reader = connection.makefile("rb")
            while head := b"".join(iter(reader.readline, b"\r\n") if reader.peek(1) else ()):
                self.asked.append((number, head))
                if head.startswith(b"CONNECT "):
                    self._connect(head, connection)
                    return
                lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                for piece in self._reply(head, reader.read(int(lengths[0]))):
                    connection.sendall(piece)
                if self._ends:
                    connection.shutdown(socket.SHUT_WR)
                    return

    def _connect(self, head: bytes, connection: socket.socket) -> None:
        host, _, port = head.split()[1].partition(b":")
        beyond = socket.create_connection((host.decode(), int(port)))
        self._open.append(beyond)
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        self._begin(_pass_on, beyond, connection)
        _pass_on(connection, beyond)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
