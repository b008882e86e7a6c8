"""One node by HTTP: each request in one piece, on connections that stay open, with an answer bounded in time and bytes.

On plain sockets, with the standard library's reader of answers. A participant asks its node many times a second, and a
library's layers of pools and events cost five times what the request itself does.
"""

from __future__ import annotations

import io
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from functools import cached_property
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, NamedTuple, cast

from galaxy_chain.rpc.route import Route, route_to

if TYPE_CHECKING:
    from email.message import Message

    from _typeshed import WriteableBuffer

__all__ = ["BUSY", "Answer", "HttpNode", "TooLarge", "tls_context"]

BUSY = (429, 503)
"""The statuses of a node that has too much to do. What else it says then is not read."""
KEEP_ALIVE_SECONDS = 60.0
"""Less than a node's own: geth closes an idle connection after 120 s."""

PIECE = 2**18
"""Bytes of an answer for which memory is taken at a time."""


def tls_context() -> ssl.SSLContext:
    """What checks certificates, with the authorities that SSL_CERT_FILE or SSL_CERT_DIR names, or those of certifi."""
    from httpx import create_ssl_context  # 100 ms, and certificates take 30 ms to load

    context = create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class TooLarge(Exception):
    """An answer is larger than what is read."""


class Answer(NamedTuple):
    """What came back, the body as it was sent."""

    status: int
    headers: Message
    body: bytes


class HttpNode:
    """The connections to one node, for any number of threads: each request has one for itself.

    Args:
        url: `http://` or `https://`.
        connect_seconds: Time for making a connection.
        connecting: Called before each new connection.
    """

    def __init__(self, url: str, connect_seconds: float, connecting: Callable[[], None]) -> None:
        self._url = url
        self._connect_seconds = connect_seconds
        self._connecting = connecting
        self._idle: deque[tuple[float, socket.socket]] = deque()
        """When each was used, the last at the end."""

    @cached_property
    def _route(self) -> Route:
        return route_to(self._url)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return tls_context()

    def ask(self, request: bytes, timeout: float, largest: int, sending: Callable[[], None]) -> Answer:
        """The answer to one request.

        Args:
            timeout: Seconds from sending until all of the answer is here.
            largest: Bytes of a body that are read at most.
            sending: Called once there is a connection: the node may get the request from now on.

        Raises:
            TooLarge: there is more.
            TimeoutError: it did not answer in time.
            OSError, ValueError, http.client.HTTPException: no connection can be made, or it has ended, or what comes
                is not HTTP.
        """
        connection = self._still_open() or self._connected()
        sending()
        try:
            deadline = time.monotonic() + timeout
            connection.settimeout(timeout)
            connection.sendall(b"%s%d\r\n\r\n%s" % (self._route.head, len(request), request))
            response = _response(connection, deadline, 2 * largest + 2**16, "POST")  # parts have heads of their own
            if response.status in BUSY:
                connection.close()
                return Answer(response.status, response.headers, b"")
            body = _body(response, largest)
            if response.isclosed() and not response.will_close:
                self._idle.append((time.monotonic(), connection))
            else:
                connection.close()
        except BaseException:  # an answer that comes later must not be taken for that of the next request
            connection.close()
            raise
        return Answer(response.status, response.headers, body)

    def close(self) -> None:
        """End the idle connections in this process; one that shares them by a fork keeps its own."""
        while self._idle:
            self._idle.pop()[1].close()

    def _still_open(self) -> socket.socket | None:
        """An idle connection that the node has not ended; nor has it said anything there that was not asked for."""
        while True:
            try:
                used, connection = self._idle.pop()
            except IndexError:
                return None
            readable = select.poll()
            readable.register(connection, select.POLLIN)
            if time.monotonic() - used < KEEP_ALIVE_SECONDS and not readable.poll(0):
                return connection
            connection.close()

    def _connected(self) -> socket.socket:
        route, proxy = self._route, self._route.proxy
        self._connecting()
        deadline = time.monotonic() + self._connect_seconds
        first = route if proxy is None else proxy
        connection = socket.create_connection((first.host, first.port), self._connect_seconds)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if proxy is not None:
                if proxy.tls:
                    connection = self._tls.wrap_socket(connection, server_hostname=proxy.host)
                if route.tls:
                    connection.sendall(proxy.opening)
                    answer = _response(connection, deadline, 2**16, "CONNECT")
                    if answer.status != 200:
                        raise HTTPException(f"the proxy {proxy.host} refuses with HTTP status {answer.status}")
            if route.tls:
                connection = self._encrypted(connection, route.host)
        except BaseException:
            connection.close()
            raise
        return connection

    def _encrypted(self, connection: socket.socket, host: str) -> socket.socket:
        if not isinstance(connection, ssl.SSLSocket):
            return self._tls.wrap_socket(connection, server_hostname=host)
        from urllib3.util.ssltransport import SSLTransport  # the ssl module's own can't be one in another

        return cast(socket.socket, SSLTransport(connection, self._tls, host))


def _response(connection: socket.socket, deadline: float, most: int, method: str) -> HTTPResponse:
    """The head of an answer, from which the rest can be read."""
    response = HTTPResponse(_Incoming(connection, deadline, most), method=method)  # type: ignore[arg-type]
    response.begin()
    return response


def _body(response: HTTPResponse, largest: int) -> bytes:
    """The body of an answer, of which no piece is read before the one before it has come: a size is only said."""
    if (response.length or 0) > largest:
        raise TooLarge
    body = bytearray()
    while piece := response.read(PIECE):
        body += piece
        if len(body) > largest:
            raise TooLarge
    if response.length:
        raise IncompleteRead(bytes(body), response.length)
    return bytes(body)


class _Incoming(io.RawIOBase):
    """What a connection still gives until a deadline, which no single byte moves, and no more than so many bytes.

    The standard library asks only for the file of a socket. It reads trailers and interim answers without end.
    """

    def __init__(self, connection: socket.socket, deadline: float, most: int) -> None:
        self._connection = connection
        self._deadline = deadline
        self._left = most

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        if self._left <= 0:
            raise TooLarge
        self._connection.settimeout(seconds)
        count = self._connection.recv_into(buffer)
        self._left -= count
        return count
