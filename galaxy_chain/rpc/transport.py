"""The ways to the nodes: one request at a time by HTTP or WebSocket, and what each failure means for the request."""

from __future__ import annotations

import json
import os
import threading
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import count
from typing import Any

from pydantic_core import from_json

from galaxy_chain.rpc.answers import check_form, read_answer
from galaxy_chain.rpc.batches import Batch, Batches, may_share
from galaxy_chain.rpc.errors import Trouble
from galaxy_chain.rpc.http import HttpNode, shown
from galaxy_chain.rpc.http_answer import BUSY, Answer, TooLarge
from galaxy_chain.rpc.websocket import WebSocket, is_websocket

__all__ = ["LARGEST_ANSWER", "Transport"]

LARGEST_ANSWER = 64 * 2**20
"""Bytes. The logs of 100,000 updates are about as large."""
CONNECT_SECONDS = 10.0
AT_ONCE = 8
"""Requests by HTTP at a time. More would not be answered sooner, and each needs a connection."""


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds; 0 where the header is missing or makes no sense (RFC 9110, section 10.2.3)."""
    try:
        value = headers.get("retry-after", "").strip()
        if value.isdecimal():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (LookupError, TypeError, ValueError, OverflowError):  # the first where it is there twice
        return 0.0


def _nobody(name: str, error: Exception) -> str:
    return f"no Ethereum node answers at {name} ({str(error) or type(error).__name__})"


def _too_large(name: str, method: str) -> str:
    return f"{name} answers {method} with more than {LARGEST_ANSWER:,} bytes"


class Transport:
    """The connections to some nodes, which are known by their index.

    Args:
        urls: Of the nodes.
        timeout: Seconds that one request may take.
        connecting: Called with a node before each new connection: it may be another one than before.
    """

    def __init__(self, urls: Sequence[str], timeout: float, connecting: Callable[[int], None]) -> None:
        self._urls = urls
        self._names = tuple(map(shown, urls))
        self._timeout = timeout
        self._connecting = connecting
        self._identities = count(1)
        self._begin()
        _TRANSPORTS.add(self)

    def _begin(self) -> None:
        """Begin without connections."""
        connect_seconds = min(self._timeout, CONNECT_SECONDS)
        self._nodes: dict[int, HttpNode] = {}
        self._batches: dict[int, Batches] = {}
        self._sockets: dict[int, WebSocket] = {}
        connections = ExitStack()
        for node, url in enumerate(self._urls):
            connecting = partial(self._connecting, node)
            if is_websocket(url):
                self._sockets[node] = WebSocket(url, connect_seconds, LARGEST_ANSWER, connecting)
                connections.callback(self._sockets[node].close)
            else:
                self._nodes[node] = HttpNode(url, connect_seconds, AT_ONCE, connecting)
                connections.callback(self._nodes[node].close)
                self._batches[node] = Batches()
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._end = weakref.finalize(self, connections.close)

    def begin_again(self) -> None:
        """Leave the connections to the process that this one was forked from, and begin with none."""
        self._end.detach()
        for node in self._nodes.values():
            node.abandon()
        for each in self._sockets.values():
            each.abandon()
        self._begin()

    def ask(self, node: int, method: str, parameters: Sequence[Any]) -> dict[str, Any]:
        """A node's answer to one request.

        Raises:
            Trouble: there is none.
        """
        name = self._names[node]
        identity = next(self._identities)  # of this request: threads share the transport
        request = {"jsonrpc": "2.0", "id": identity, "method": method, "params": parameters}
        if node not in self._sockets:

            def alone() -> dict[str, Any]:
                status, body = self._by_http(node, name, method, request)
                return read_answer(name, method, identity, body, f"HTTP status {status} and something")

            if not may_share(method):
                return alone()
            return check_form(name, method, self._batches[node].ask(request, alone, partial(self._together, node)))
        body = self._by_websocket(node, name, method, request)
        try:
            return read_answer(name, method, identity, body, "something")
        except Trouble:
            self._sockets[node].close()  # what comes next may be the answer to this
            raise

    def _together(self, node: int, batch: Batch) -> list[Any] | None:
        """What comes back for several requests; None where that is no list."""
        what = f"a batch of {len(batch)} requests"
        try:
            answers = from_json(self._by_http(node, self._names[node], what, batch)[1])
        except ValueError:  # each is asked for by itself, which tells what is wrong
            return None
        return answers if isinstance(answers, list) else None

    def _by_http(self, node: int, name: str, method: str, request: Any) -> tuple[int, bytes]:
        """The status and the body of an HTTP answer."""
        sent = False

        def sending() -> None:
            nonlocal sent
            sent = True

        try:
            with self._turns:
                answer = self._nodes[node].ask(json.dumps(request).encode(), self._timeout, LARGEST_ANSWER, sending)
            if answer.status in BUSY:
                raise self._busy(name, method, answer.status, answer.headers)
            return answer.status, self._decoded(name, method, answer)
        except TimeoutError as error:
            raise self._timed_out(name, method, sent, error) from error
        except TooLarge as error:
            raise Trouble(_too_large(name, method), acted=sent, too_much=sent) from error
        except (OSError, ValueError, zlib.error) as error:
            raise Trouble(_nobody(name, error), acted=sent) from error

    def _decoded(self, name: str, method: str, answer: Answer) -> bytes:
        encoding = answer.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("gzip", "identity"):
            raise Trouble(f"{name} answers {method} in an encoding that was not asked for")
        if encoding == "identity" or not answer.body:
            return answer.body
        unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        body = unpacking.decompress(answer.body, LARGEST_ANSWER + 1)
        if len(body) > LARGEST_ANSWER:
            raise TooLarge
        if not unpacking.eof:
            raise ValueError("its answer ends in the middle")
        return body

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
            if error.response.status_code in BUSY:
                raise self._busy(
                    name, method, error.response.status_code, error.response.headers, sent=False
                ) from error
            raise Trouble(_nobody(name, error), acted=False) from error
        except TimeoutError as error:
            raise self._timed_out(name, method, sent, error) from error
        except (OSError, ValueError, WebSocketException) as error:
            if isinstance(error, ConnectionClosed) and error.sent is not None and error.sent.code == 1009:
                raise Trouble(_too_large(name, method), too_much=True) from error
            raise Trouble(_nobody(name, error), acted=sent) from error

    def _timed_out(self, name: str, method: str, sent: bool, error: TimeoutError) -> Trouble:
        if not sent:
            return Trouble(_nobody(name, error), acted=False)
        return Trouble(f"{name} has not answered {method} after {self._timeout} s", too_much=True)

    def _busy(self, name: str, method: str, status: int, headers: Mapping[str, str], sent: bool = True) -> Trouble:
        """What an HTTP status of 429 or 503 says."""
        return Trouble(
            f"{name} answers {method} with HTTP status {status}: it has too much to do",
            acted=sent and status != 429,
            retry_after=_retry_after(headers),
            there=status == 429,
        )


_TRANSPORTS: weakref.WeakSet[Transport] = weakref.WeakSet()


def _begin_again() -> None:
    """In a process that was forked: two that write on one connection get each other's answers."""
    for each in tuple(_TRANSPORTS):
        each.begin_again()


os.register_at_fork(after_in_child=_begin_again)
