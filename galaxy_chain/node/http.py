"""JSON-RPC over HTTP, as an ASGI application.

The accounts are unlocked, so a web page that the user happens to visit must not be able to use them. It can
reach 127.0.0.1 in two ways: by a request that needs no preflight (hence the content type must be JSON, and
OPTIONS is refused), and by a name of its own that it lets point here (hence the Host header is checked).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from galaxy_chain.node.rpc import Dispatcher

__all__ = ["Application"]

MAX_BODY = 5 * 2**20

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class Application:
    """The ASGI application of a node that listens on `host`."""

    def __init__(self, dispatcher: Dispatcher, host: str) -> None:
        self._dispatcher = dispatcher
        self._names = {"localhost", host.lower()}

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await _respond(send, *refusal)
            return
        body = await _read(receive)
        if body is None:
            await _respond(send, 413, f"the body is larger than {MAX_BODY} bytes".encode())
            return
        answer = await self._dispatcher.answer(body)
        if answer is None:
            await _respond(send, 204, b"")
        else:
            await _respond(send, 200, answer, b"application/json")

    def _refusal(self, method: str, headers: dict[bytes, bytes]) -> tuple[int, bytes] | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_ours(host):
            return 403, f"the host {host!r} is not this node's: use localhost or an IP address".encode()
        if method != "POST":
            return 405, b"JSON-RPC requests are POST requests"
        content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if content_type != b"application/json":
            return 415, b"the content type must be application/json"
        return None

    def _is_ours(self, host: str) -> bool:
        """A name must be known; an address is the one that was connected to, since no name points there."""
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True


async def _read(receive: Receive) -> bytes | None:
    """The body, or None if it is too large: all of it is read, or the client would not read the answer."""
    body, size = bytearray(), 0
    while True:
        event = await receive()
        size += len(event.get("body", b""))
        if size <= MAX_BODY:
            body += event.get("body", b"")
        if not event.get("more_body"):
            return bytes(body) if size <= MAX_BODY else None


async def _respond(send: Send, status: int, body: bytes, content_type: bytes = b"text/plain") -> None:
    headers = [(b"content-length", str(len(body)).encode())] if status != 204 else []
    if body:
        headers.append((b"content-type", content_type))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
