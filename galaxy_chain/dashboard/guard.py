"""What keeps the dashboard to those who are meant to read it, as an ASGI application around another.

It has no key and changes nothing, but what it shows may be for this machine alone, and a web page that the user happens
to visit reaches 127.0.0.1 by a name of its own that it lets point here: hence the Host header is checked. Whatever a
ledger names is hostile, so that no script but the package's own may run, and nothing is fetched from elsewhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from galaxy_fl.content.problem import PROBLEM_TYPE, Problem

__all__ = ["HEADERS", "MOST_BYTES", "Guard", "named"]

MOST_BYTES = 16_384
"""Of a request's target and headers. None has a body."""
_SHOWN = 100

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Event, Receive, Send], Awaitable[None]]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PACKED = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


def named(host: str) -> str:
    """The name or address in a Host header, in small letters, without its port and brackets."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    return name.strip("[]").lower()


class Guard:
    """An application that answers `GET` and `HEAD` alone, and only those who ask for it by its own name.

    Args:
        application: What is guarded.
        names: What it may be called besides any address and `localhost`.
    """

    def __init__(self, application: Application, names: Collection[str]) -> None:
        self._application = application
        self._names = {"localhost", *(named(each) for each in names)}

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def guarded(event: Event) -> None:
            if event["type"] == "http.response.start":
                own = {name.lower() for name, _ in event.get("headers", ())}
                event["headers"] = [*event.get("headers", ()), *(each for each in _PACKED if each[0] not in own)]
            await send(event)

        refused = self._refusal(scope)
        if refused is None:
            await self._application(scope, receive, guarded)
        else:
            await _answer(scope, guarded, *refused)

    def _refusal(self, scope: Event) -> tuple[int, str, str] | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            shown = ", ".join(hosts)[:_SHOWN]
            return 403, "host", f"{shown!r} is not this dashboard's name: use localhost or an address, or --name"
        size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if size + sum(len(name) + len(value) for name, value in headers) > MOST_BYTES:
            return 413, "too_large", f"a request has at most {MOST_BYTES} bytes"
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "method", "the dashboard only shows: ask with GET"
        if any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers
        ):
            return 413, "too_large", "a request has no body"
        return None

    def _is_ours(self, host: str) -> bool:
        """A name must be known; an address is the one that was connected to, since no name points there."""
        name = named(host)
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


async def _answer(scope: Event, send: Send, status: int, kind: str, detail: str) -> None:
    body = Problem.of(status, kind, detail, str(scope["path"])[:_SHOWN]).model_dump_json().encode()
    headers = [(b"content-type", PROBLEM_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    if status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    headers.append((b"connection", b"close"))  # what else the request brings is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
