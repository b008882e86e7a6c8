"""The ways to the nodes: one request at a time by HTTP or WebSocket, and what each failure means for the request."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import count
from typing import Any

import httpx

from galaxy_chain.rpc.answers import read_answer
from galaxy_chain.rpc.errors import Trouble
from galaxy_chain.rpc.websocket import WebSocket, is_websocket

__all__ = ["LARGEST_ANSWER", "Transport", "shown"]

LARGEST_ANSWER = 64 * 2**20
"""Bytes. The logs of 100,000 updates are about as large."""
CONNECT_SECONDS = 10.0
AT_ONCE = 8
"""Requests by HTTP at a time. More would not be answered sooner, and each looks at every connection that is open."""
KEEP_ALIVE_SECONDS = 60.0
"""Less than a node's own: geth closes an idle connection after 120 s."""


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds; 0 where the header is missing or makes no sense (RFC 9110, section 10.2.3)."""
    try:
        value = headers.get("Retry-After", "").strip()
        if value.isdecimal():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (LookupError, TypeError, ValueError, OverflowError):  # the first where it is there twice
        return 0.0


def shown(url: str) -> str:
    """A url without what may be a secret: a password, or the key of a provider in its path or its query."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return url
    secret = parsed.path.strip("/") or parsed.query or parsed.userinfo
    return f"{parsed.scheme}://{parsed.netloc.decode()}/…" if secret and parsed.host else url


def _nobody(name: str, error: Exception) -> str:
    return f"no Ethereum node answers at {name} ({str(error) or type(error).__name__})"


class Transport:
    """The connections to some nodes, which are known by their index.

    Args:
        urls: Of the nodes.
        timeout: Seconds that one request may take.
        connecting: Called with a node before each new connection: it may be another one than before.
        clock: As `time.monotonic`.
    """

    def __init__(
        self, urls: Sequence[str], timeout: float, connecting: Callable[[int], None], clock: Callable[[], float]
    ) -> None:
        self._urls = urls
        self._timeout = timeout
        self._connecting = connecting
        self._clock = clock
        connect_seconds = min(timeout, CONNECT_SECONDS)
        self._client = httpx.Client(
            # certificates take 30 ms to load, which would be wasted where there is no TLS
            verify=any(url.startswith("https:") for url in urls),
            timeout=httpx.Timeout(timeout, connect=connect_seconds),
            headers={"Content-Type": "application/json", "Accept-Encoding": "gzip"},
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS),
        )
        self._sockets = {
            node: WebSocket(url, connect_seconds, LARGEST_ANSWER, partial(connecting, node))
            for node, url in enumerate(urls)
            if is_websocket(url)
        }
        self._identities = count(1)
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        connections = ExitStack()
        connections.callback(self._client.close)
        for each in self._sockets.values():
            connections.callback(each.close)
        weakref.finalize(self, connections.close)

    def ask(self, node: int, method: str, parameters: Sequence[Any]) -> dict[str, Any]:
        """A node's answer to one request.

        Raises:
            Trouble: there is none.
        """
        name = shown(self._urls[node])
        identity = next(self._identities)  # of this request: threads share the transport
        request = {"jsonrpc": "2.0", "id": identity, "method": method, "params": parameters}
        if node not in self._sockets:
            status, body = self._by_http(node, name, method, request)
            return read_answer(name, method, identity, body, f"HTTP status {status} and something")
        body = self._by_websocket(node, name, method, request)
        try:
            return read_answer(name, method, identity, body, "something")
        except Trouble:
            self._sockets[node].close()  # what comes next may be the answer to this
            raise

    def _by_http(self, node: int, name: str, method: str, request: dict[str, Any]) -> tuple[int, bytes]:
        """The status and the body of an HTTP answer."""

        def trace(event: str, details: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.started":  # the node may be another one than before
                self._connecting(node)

        with self._turns:
            return self._exchanged(node, name, method, request, trace)

    def _exchanged(
        self, node: int, name: str, method: str, request: dict[str, Any], trace: Callable[[str, Any], None]
    ) -> tuple[int, bytes]:
        began = self._clock()
        try:
            with self._client.stream("POST", self._urls[node], json=request, extensions={"trace": trace}) as response:
                status = response.status_code
                if status in (429, 503):
                    raise self._busy(name, method, status, response.headers)
                if response.headers.get("Content-Encoding", "gzip").lower() not in ("gzip", "identity"):
                    raise Trouble(f"{name} answers {method} in an encoding that was not asked for")
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > LARGEST_ANSWER:
                        raise Trouble(f"{name} answers {method} with more than {LARGEST_ANSWER:,} bytes", too_much=True)
                    if self._clock() - began > self._timeout:
                        raise Trouble(f"{name} has not answered {method} after {self._timeout} s", too_much=True)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # the last of a redirect's host name
            nothing_sent = (
                httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol,
                httpx.LocalProtocolError, httpx.InvalidURL,
            )  # fmt: skip
            raise Trouble(
                _nobody(name, error),
                acted=not isinstance(error, nothing_sent),
                too_much=isinstance(error, httpx.ReadTimeout),
            ) from error
        return status, bytes(body)

    def _by_websocket(self, node: int, name: str, method: str, request: dict[str, Any]) -> bytes:
        """The next message of a node."""
        from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

        sent = False

        def sending() -> None:
            nonlocal sent
            sent = True

        try:
            return self._sockets[node].ask(json.dumps(request).encode(), self._timeout, sending)
        except InvalidStatus as error:
            if error.response.status_code in (429, 503):
                raise self._busy(
                    name, method, error.response.status_code, error.response.headers, sent=False
                ) from error
            raise Trouble(_nobody(name, error), acted=False) from error
        except TimeoutError as error:
            if not sent:
                raise Trouble(_nobody(name, error), acted=False) from error
            raise Trouble(f"{name} has not answered {method} after {self._timeout} s", too_much=True) from error
        except (OSError, ValueError, WebSocketException) as error:
            if isinstance(error, ConnectionClosed) and error.sent is not None and error.sent.code == 1009:
                text = f"{name} answers {method} with more than {LARGEST_ANSWER:,} bytes"
                raise Trouble(text, too_much=True) from error
            raise Trouble(_nobody(name, error), acted=sent) from error

    def _busy(self, name: str, method: str, status: int, headers: Mapping[str, str], sent: bool = True) -> Trouble:
        """What an HTTP status of 429 or 503 says."""
        return Trouble(
            f"{name} answers {method} with HTTP status {status}: it has too much to do",
            acted=sent and status != 429,
            retry_after=_retry_after(headers),
            there=status == 429,
        )
