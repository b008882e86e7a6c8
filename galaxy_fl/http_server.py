"""HTTP servers: a socket to listen on, and an application that answers in a thread or in the foreground."""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from galaxy_fl.exceptions import ConfigurationError

__all__ = ["HttpServer", "is_loopback", "listen", "serve", "url_of"]


def listen(host: str, port: int) -> socket.socket:
    """Returns a TCP socket that listens; port 0 is a free one.

    Raises:
        ConfigurationError: the address is unavailable.
    """
    if not 0 <= port <= 65_535:
        raise ConfigurationError(f"port {port} is out of range: expected 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without, each answer takes 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, UnicodeError) as error:
        listener.close()
        elsewhere = isinstance(error, (socket.gaierror, UnicodeError)) or error.errno == errno.EADDRNOTAVAIL
        raise ConfigurationError(
            f"can't listen on {host} port {port}: {error}; "
            + (
                "name an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them"
                if elsewhere
                else "choose another port, or stop what is using this one"
            )
        ) from error
    return listener


def is_loopback(host: str) -> bool:
    """Returns whether only programs of this machine reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url_of(listener: socket.socket, host: str, encrypted: bool = False) -> str:
    """Returns the address of a listening socket, without a slash at the end."""
    shown = f"[{host}]" if ":" in host else host
    return f"http{'s' if encrypted else ''}://{shown}:{listener.getsockname()[1]}"


class HttpServer:
    """An application on a listening socket. It answers between `start` and `stop`, or in a `with` block.

    Args:
        listener: As `listen` returns it; closed by `stop`.
        host: The one that it listens on.
        application: ASGI.
        ending_seconds: How long what is being answered may take when the server stops.
        certificate, key: Files in PEM format for HTTPS; None for HTTP.
        settings: More of uvicorn's.

    Attributes:
        port: The port that it listens on.
        url: The address.

    Raises:
        ConfigurationError: the certificate can't be used; the socket is closed.
    """

    def __init__(
        self,
        listener: socket.socket,
        host: str,
        application: Any,
        ending_seconds: int,
        certificate: Path | None = None,
        key: Path | None = None,
        **settings: Any,
    ) -> None:
        import uvicorn  # slow, and only for those who serve

        config = uvicorn.Config(
            application,
            **{"http": "h11", "ws": "none", "lifespan": "off", "log_config": None} | settings,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=ending_seconds,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        try:
            config.load()
        except OSError as error:  # ssl.SSLError is one
            listener.close()
            raise ConfigurationError(f"{certificate} and {key} can't be used for HTTPS: {error}") from error
        self.port: int = listener.getsockname()[1]
        self.url = url_of(listener, host, encrypted=certificate is not None)
        self._listener = listener
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to answer, in a thread of its own."""
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, name=f"server {self.url}", daemon=True
        )
        self._thread.start()

    def interrupt(self) -> None:
        """Asks it to stop; for signal handlers, which must not wait."""
        self._server.should_exit = True

    def wait(self) -> None:
        """Waits until it has stopped answering."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Stops answering and closes the socket; harmless if it never started."""
        self.interrupt()
        self.wait()
        self._listener.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


AnyServer = TypeVar("AnyServer", bound=HttpServer)


def serve(server: AnyServer, ready: Callable[[AnyServer], object]) -> None:
    """Runs a server in the foreground until SIGINT or SIGTERM. Only in a main thread.

    Args:
        ready: Called once it answers, and these signals end it and nothing else.
    """

    def end(_signal: int, _frame: Any) -> None:
        server.interrupt()

    before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        with server:
            ready(server)
            server.wait()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
