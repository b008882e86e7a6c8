"""A socket to listen on, for every server of Galaxy's."""

from __future__ import annotations

import socket

from galaxy_fl.exceptions import ConfigurationError

__all__ = ["listen"]


def listen(host: str, port: int) -> socket.socket:
    """A TCP socket that listens; port 0 is a free one.

    Raises:
        ConfigurationError: the address can't be had.
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
        raise ConfigurationError(
            f"can't listen on {host} port {port}: {error}; choose another port, or stop what is using this one"
        ) from error
    return listener
