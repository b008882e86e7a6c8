"""One node by HTTP, on connections that urllib3 makes (through proxies, and with TLS) and keeps."""

from __future__ import annotations

import io
import logging
import threading
import time
import weakref
from base64 import b64encode
from collections.abc import Callable
from functools import cached_property
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util import Url, parse_url

from galaxy_chain.rpc.http_answer import Answer, TooLarge, read_answer

if TYPE_CHECKING:
    import socket
    import ssl

    from _typeshed import WriteableBuffer

__all__ = ["HttpNode", "shown", "tls_context"]

KEEP_ALIVE_SECONDS = 60.0
"""Less than a node's own: geth closes an idle connection after 120 s."""
# What they say otherwise has whole urls, and so the keys of providers.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
logging.getLogger("urllib3.connectionpool").setLevel(logging.WARNING)


def tls_context() -> ssl.SSLContext:
    """What checks certificates, with the authorities that SSL_CERT_FILE or SSL_CERT_DIR names, or those of certifi."""
    from httpx import create_ssl_context  # 100 ms, and certificates take 30 ms to load

    context = create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def shown(url: str) -> str:
    """A url without what may be a secret: a password, or the key of a provider in its path or its query."""
    scheme, separator, rest = url.partition("://")
    try:
        parsed = parse_url(url)
    except ValueError:
        return f"{scheme}://…" if separator else url
    if "@" in rest and parsed.auth is None:  # a password with a slash ends the host too early
        return f"{scheme}://…"
    secret = (parsed.path or "").strip("/") or parsed.query or parsed.fragment or parsed.auth
    return f"{scheme}://{parsed.netloc}/…" if secret and parsed.netloc else url


class HttpNode:
    """The connections to one node, for any number of threads: each request has one for itself.

    Args:
        url: `http://` or `https://`. A proxy is what HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names, unless NO_PROXY has
            the host.
        connect_seconds: Time for making a connection.
        at_once: How many connections are kept.
        connecting: Called before each new connection.
    """

    def __init__(self, url: str, connect_seconds: float, at_once: int, connecting: Callable[[], None]) -> None:
        self._url = url
        self._connect_seconds = connect_seconds
        self._at_once = at_once
        self._bounds = _Bounds()
        self._connections: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._connecting = connecting

    def ask(self, request: bytes, timeout: float, largest: int, sending: Callable[[], None]) -> Answer:
        """The answer to one request.

        Args:
            timeout: Seconds from sending until all of the answer is here.
            largest: Bytes of a body that are read at most.
            sending: Called once there is a connection: the node may get the request from now on.

        Raises:
            TooLarge: there is more.
            TimeoutError: it did not answer in time.
            OSError, ValueError: no connection can be made, or it has ended, or what comes is not HTTP. No message has a
                part of the url that may be a secret.
        """
        self._bounds.set(timeout, largest, sending)
        try:
            pool = self._connections_to
            connection = pool._get_conn()
            try:
                if connection.sock is None:
                    connection.timeout = self._connect_seconds
                    if pool.proxy is not None and pool.scheme == "https":
                        pool._prepare_proxy(connection)
                    else:
                        connection.connect()
                whole = b"%b%d\r\n\r\n%b" % (self._head, len(request), request)  # two packets would wake the node twice
                answer: Answer
                answer, again = connection.exchange(whole, largest)
            except BaseException:
                again = False  # an answer that comes later must not be taken for that of the next request
                raise
            finally:
                if not again:
                    connection.close()
                pool._put_conn(connection)
        except BaseException as error:
            raise _plain(error) from error
        return answer

    def close(self) -> None:
        """End the connections that no request has."""
        vars(self).pop("_connections_to", None)
        if "_manager" in vars(self):
            self._manager.clear()

    def abandon(self) -> None:
        """Leave the connections to the process that this one was forked from, which keeps its own of them."""
        for connection in tuple(self._connections):
            if connection.sock is not None:
                connection.sock.close()
        vars(self).pop("_connections_to", None)
        _abandoned.append(vars(self).pop("_manager", None))

    @cached_property
    def _place(self) -> Url:
        """The url without its password."""
        return _parsed(self._url, "the url")._replace(auth=None, fragment=None)

    @cached_property
    def _head(self) -> bytes:
        """Of a request, up to how long it is."""
        place, proxy = self._place, _proxy_of(self._place)
        target, more = place.request_uri, _password(_parsed(self._url, "the url"), "Authorization")
        if proxy is not None and place.scheme == "http":
            target, more = place.url, more | _password(proxy, "Proxy-Authorization")
        headers = {
            "Host": place.netloc,
            "Accept-Encoding": "gzip",
            "Content-Type": "application/json",
            "User-Agent": "galaxy-chain",
            **more,
        }
        lines = [
            f"POST {target} HTTP/1.1",
            *(f"{name}: {value}" for name, value in headers.items()),
            "Content-Length: ",
        ]
        return "\r\n".join(lines).encode()

    @cached_property
    def _connections_to(self) -> Any:
        """The pool of the manager that has the connections; urllib3's, of which this asks for connections alone."""
        return self._manager.connection_from_url(self._place.url)

    @cached_property
    def _manager(self) -> urllib3.PoolManager:
        place, proxy = self._place, _proxy_of(self._place)
        encrypts = place.scheme == "https" or (proxy is not None and proxy.scheme == "https")
        options: dict[str, Any] = {"maxsize": self._at_once, "block": True}
        if encrypts:
            options["ssl_context"] = tls_context()
        if proxy is None:
            manager = urllib3.PoolManager(**options)
        else:
            manager = urllib3.ProxyManager(
                proxy._replace(auth=None).url,
                proxy_headers=_password(proxy, "Proxy-Authorization"),
                proxy_ssl_context=options.get("ssl_context"),
                **options,
            )
        manager.pool_classes_by_scheme = {
            "http": _pool(HTTPConnectionPool, HTTPConnection, self),
            "https": _pool(HTTPSConnectionPool, HTTPSConnection, self),
        }
        return manager


_abandoned: list[urllib3.PoolManager | None] = []
"""Of processes that this one was forked from: letting go of one takes locks that threads over there may hold."""


class _Bounds(threading.local):
    """What bounds a thread's request."""

    deadline = float("inf")

    def set(self, timeout: float, largest: int, sending: Callable[[], None]) -> None:
        """Note them for the request that comes next."""
        self.timeout, self.sending = timeout, sending
        self.deadline = time.monotonic() + timeout
        self.most = 2 * largest + 2**16  # parts have heads of their own

    def begin(self) -> None:
        """Let the time run from now on: the request is sent."""
        self.deadline = time.monotonic() + self.timeout
        self.sending()


def _pool(kind: type[HTTPConnectionPool], connection: type[HTTPConnection], node: HttpNode) -> type[HTTPConnectionPool]:
    """A kind of pool whose connections report to a node, and whose answers are bounded."""

    class Bounded(connection):  # type: ignore[misc, valid-type]
        used = float("-inf")

        def connect(self) -> None:
            node._connecting()
            node._connections.add(self)
            super().connect()

        def exchange(self, request: bytes, largest: int) -> tuple[Answer, bool]:
            """The answer to a request, and whether there may be another on this connection."""
            node._bounds.begin()
            self.used = time.monotonic()
            self.sock.settimeout(node._bounds.timeout)
            self.sock.sendall(request)
            return read_answer(self.sock, node._bounds.deadline, largest)

        @property
        def is_connected(self) -> bool:
            return super().is_connected and time.monotonic() - self.used < KEEP_ALIVE_SECONDS

        def response_class(self, sock: socket.socket, **options: Any) -> HTTPResponse:
            return HTTPResponse(_OfProxy(sock, node._bounds), **options)  # type: ignore[arg-type]

    return type(kind.__name__, (kind,), {"ConnectionCls": Bounded})


class _OfProxy(io.RawIOBase):
    """What a proxy answers that is to connect further, until a deadline, and no more than so many bytes.

    It takes a socket's place, of which the standard library asks only for its file, and bounds neither interim answers
    nor the time.
    """

    def __init__(self, sock: socket.socket, bounds: _Bounds) -> None:
        self._socket = sock
        self._file = sock.makefile("rb", buffering=0)
        self._deadline, self._left = bounds.deadline, bounds.most

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        if self._left <= 0:
            raise TooLarge
        self._socket.settimeout(seconds)
        count = self._file.readinto(buffer)
        self._left -= count or 0
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _parsed(url: str, what: str) -> Url:
    """A url's parts.

    Raises:
        ValueError: it can't be used. The message has no part of it.
    """
    try:
        parsed = parse_url(url)
    except ValueError:
        raise ValueError(f"{what} can't be read") from None
    if parsed.scheme not in ("http", "https"):
        raise ValueError(f"{what} does not begin with http:// or https://")
    if not parsed.host:
        raise ValueError(f"{what} names no host")
    return parsed


def _proxy_of(place: Url) -> Url | None:
    """The proxy that the environment names for a place."""
    scheme, host, proxies = str(place.scheme), str(place.host), getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or proxy_bypass(host):
        return None
    variable = f"{scheme.upper() if proxies.get(scheme) else 'ALL'}_PROXY"
    return _parsed(url if "://" in url else f"http://{url}", f"the proxy that {variable} names")


def _password(parsed: Url, header: str) -> dict[str, str]:
    """The header that says what a url has before its host."""
    if parsed.auth is None:
        return {}
    return {header: f"Basic {b64encode(unquote(parsed.auth).encode()).decode()}"}


def _plain(error: BaseException) -> BaseException:
    """An error of urllib3 as one of Python's, with the words of what caused it."""
    if not isinstance(error, HTTPError) or isinstance(error, ValueError):
        return error
    if isinstance(error, urllib3.exceptions.TimeoutError) and not isinstance(error, NewConnectionError):
        return TimeoutError("timed out")
    cause: BaseException = error
    while (under := cause.__cause__ or cause.__context__) is not None:
        cause = under
    return OSError(str(cause) or type(cause).__name__)
