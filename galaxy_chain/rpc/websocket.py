"""One connection to a node by WebSocket: a request at a time, each answered or the connection is over."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from galaxy_chain.rpc.http import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.sync.client import ClientConnection

__all__ = ["WebSocket", "is_websocket"]


def is_websocket(url: str) -> bool:
    """Whether a node is asked by WebSocket."""
    return url.lower().startswith(("ws:", "wss:"))


class WebSocket:
    """A connection that is made when it is needed, and again after it has ended.

    Args:
        url: `ws://` or `wss://`.
        connect_seconds: Time for making the connection.
        largest: Bytes of an answer that are read at most.
        connecting: Called before each new connection.
    """

    def __init__(self, url: str, connect_seconds: float, largest: int, connecting: Callable[[], None]) -> None:
        self._url = url
        self._connect_seconds = connect_seconds
        self._largest = largest
        self._connecting = connecting
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._connection: ClientConnection | None = None

    def ask(self, request: bytes, timeout: float, sending: Callable[[], None]) -> bytes:
        """The next message of the node after a request.

        Args:
            timeout: Seconds, with those for connecting.
            sending: Called once there is a connection: the node may get the request from now on.

        Raises:
            TimeoutError: it did not answer in time.
            OSError, ValueError, websockets.WebSocketException: no connection can be made, or it has ended.
        """
        with self._lock:
            deadline = time.monotonic() + timeout
            connection = self._connected()
            sending()
            try:
                connection.send(request, text=True)
                answer = connection.recv(max(0.0, deadline - time.monotonic()), decode=False)
            except BaseException:  # an answer that comes later must not be taken for that of the next request
                self._close()
                raise
        assert isinstance(answer, bytes)
        return answer

    def close(self) -> None:
        """End the connection, where there is one."""
        with self._lock:
            self._close()

    def abandon(self) -> None:
        """Forget the connection in a process that was forked: what it says would be said for the other process."""
        if self._connection is not None:
            self._connection.socket.close()

    def _close(self) -> None:
        self._connection = None
        self._open.close()

    def _connected(self) -> ClientConnection:
        from websockets.protocol import State  # 40 ms
        from websockets.sync.client import connect

        if self._connection is None or self._connection.protocol.state is not State.OPEN:
            self._close()
            self._connecting()
            self._connection = self._open.enter_context(
                connect(
                    self._url,
                    ssl=tls_context() if self._url.lower().startswith("wss:") else None,
                    open_timeout=self._connect_seconds,
                    close_timeout=0,  # what matters has been answered by then
                    ping_interval=None,  # a node that is gone is noticed by the next request
                    max_size=self._largest,
                )
            )
        return self._connection
