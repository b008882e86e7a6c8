"""An HTTP server that answers whatever it is told, byte for byte, on a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["HostileServer", "http"]

Answers = Callable[[bytes], bytes]
"""From the body of a request to all the bytes that are sent back."""


class HostileServer:
    """Listens on loopback, and closes each connection after its one answer."""

    def __init__(self) -> None:
        self.answers: Answers = lambda body: b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection, suppress(OSError):  # the client may hang up at any time
                connection.settimeout(5)
                connection.sendall(self.answers(_body(connection)))


def _body(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        if not (piece := connection.recv(65_536)):
            return b""
        request += piece
    head, _, body = request.partition(b"\r\n\r\n")
    lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0]):
        if not (piece := connection.recv(65_536)):
            break
        body += piece
    return body


def http(body: bytes) -> bytes:
    """A well-formed response."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
    return head + str(len(body)).encode() + b"\r\n\r\n" + body
