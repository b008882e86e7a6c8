"""The way to a node by HTTP: what its url and the environment say of host, proxy and password."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

__all__ = ["Proxy", "Route", "route_to", "shown"]

_PORTS = {"http": 80, "https": 443}
_SAFE = "/?:@!$&'()*+,;=~%"
"""What stays as it is in a path and a query, with what is quoted already."""


class Proxy(NamedTuple):
    """A proxy, and what it is told before a connection through it to a node that is asked by TLS."""

    host: str
    port: int
    tls: bool
    opening: bytes


class Route(NamedTuple):
    """Where a node is, and the head of each request up to the length of its body."""

    host: str
    port: int
    tls: bool
    proxy: Proxy | None
    head: bytes


def shown(url: str) -> str:
    """A url without what may be a secret: a password, or the key of a provider in its path or its query."""
    scheme, separator, rest = url.partition("://")
    try:
        parsed = urlsplit(url)
    except ValueError:
        return f"{scheme}://…" if separator else url
    if "@" in rest and "@" not in parsed.netloc:  # a password with a slash ends the host too early
        return f"{scheme}://…"
    secret = parsed.path.strip("/") or parsed.query or parsed.fragment or "@" in parsed.netloc
    return f"{scheme}://{parsed.netloc.rpartition('@')[2]}/…" if secret and parsed.netloc else url


def route_to(url: str) -> Route:
    """The way to a node.

    Raises:
        ValueError: the url, or that of a proxy in the environment, can't be used. The message has no part of it that
            may be a secret.
    """
    parsed, host, port = _place(url, "the url")
    tls = parsed.scheme == "https"
    named = _bracketed(host) + (f":{port}" if port != _PORTS[parsed.scheme] else "")
    target = quote(parsed.path or "/", _SAFE) + (f"?{quote(parsed.query, _SAFE)}" if parsed.query else "")
    headers = [f"Host: {named}", *_password(parsed, "Authorization")]
    proxy = None
    if (found := _proxy_of(parsed.scheme, host)) is not None:
        proxy_url, proxy_host, proxy_port = found
        password = _password(proxy_url, "Proxy-Authorization")
        if not tls:
            target = f"http://{named}{target}"
            headers += password
        address = f"{_bracketed(host)}:{port}"
        opening = "\r\n".join([f"CONNECT {address} HTTP/1.1", f"Host: {address}", *password, "", ""])
        proxy = Proxy(proxy_host, proxy_port, proxy_url.scheme == "https", opening.encode("ascii"))
    head = "\r\n".join(
        [
            f"POST {target} HTTP/1.1",
            *headers,
            "User-Agent: galaxy-chain",
            "Accept-Encoding: gzip",
            "Content-Type: application/json",
            "Content-Length: ",
        ]
    )
    return Route(host, port, tls, proxy, head.encode("ascii"))


def _place(url: str, what: str) -> tuple[SplitResult, str, int]:
    """A url with its host, as it is looked up, and its port."""
    parsed = urlsplit(url)
    if parsed.scheme not in _PORTS:
        raise ValueError(f"{what} does not begin with http:// or https://")
    host = parsed.hostname or ""
    if not re.fullmatch(r"[^\s\x00-\x20\x7f]+", host):
        raise ValueError(f"{what} names no host" if not host else f"{what} has a space in its host")
    try:
        port = parsed.port
    except ValueError:  # its message may have a part of a password
        raise ValueError(f"{what} has a port that is no number from 0 to 65535") from None
    return (
        parsed,
        host if host.isascii() else host.encode("idna").decode(),
        _PORTS[parsed.scheme] if port is None else port,
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _password(parsed: SplitResult, header: str) -> list[str]:
    """The header that says what a url has before its host."""
    if parsed.username is None and parsed.password is None:
        return []
    pair = f"{unquote(parsed.username or '')}:{unquote(parsed.password or '')}"
    return [f"{header}: Basic {b64encode(pair.encode()).decode()}"]


def _proxy_of(scheme: str, host: str) -> tuple[SplitResult, str, int] | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names, unless NO_PROXY has the host."""
    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or proxy_bypass(host):
        return None
    variable = f"{scheme.upper() if proxies.get(scheme) else 'ALL'}_PROXY"
    return _place(url if "://" in url else f"http://{url}", f"the proxy that {variable} names")
