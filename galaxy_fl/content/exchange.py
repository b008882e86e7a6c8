"""Requests to one HTTP server: repeated while it is away, and nothing that it answers is trusted or unbounded."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

import httpx

from galaxy_fl.content.problem import read_problem
from galaxy_fl.content.remote import BUSY, DEFAULT_TIMEOUTS, RemoteError, Timeouts, Unreachable, persistently
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError, GalaxyError
from galaxy_fl.floor import FLOOR

__all__ = ["BrokenOff", "Exchange", "Writer"]

Result = TypeVar("Result")

_MOST_JSON = 1 << 20
_BROKEN_OFF = ("offset", "silence")


class BrokenOff(Exception):
    """An upload ended early; it continues where it was."""


class Writer(Protocol):
    """Who may write to a server."""

    def authorization(self, method: str, url: str, target: str) -> str:
        """The Authorization header of one request; `target` is the path and query below the server's `url`."""


class Exchange:
    """Requests to a content store's server. May be used by several threads.

    Args:
        url: The server's, without a slash at the end.
        where: What messages call it.
        writer: Signs what writes; None for those who only read.
        http: The client of all requests; one is made where it is None.
    """

    def __init__(
        self,
        url: str,
        where: str,
        writer: Writer | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        http: httpx.Client | None = None,
    ) -> None:
        self.url = url
        self.where = where
        self.timeouts = timeouts
        self._writer = writer
        self._http = httpx.Client() if http is None else http
        weakref.finalize(self, self._http.close)

    @property
    def writes(self) -> bool:
        """Whether there is anybody who may write."""
        return self._writer is not None

    def headers(self, method: str, target: str, writing: bool) -> Mapping[str, str]:
        """The headers that say who asks.

        Raises:
            Unreachable: that can't be found out at the moment.
        """
        if not writing or self._writer is None:
            return {}
        return {"Authorization": self._writer.authorization(method, self.url, target)}

    def address(self, target: str) -> str:
        """The URL of a path and query of the API."""
        return self.url + target

    def patiently(self, act: Callable[[], Result]) -> Result:
        """What `act` returns, called again while it raises `Unreachable`.

        Raises:
            GalaxyError: it raised that for too long.
        """
        return persistently(act, self.where, self.timeouts.restart)

    def given_up(self, message: str) -> GalaxyError:
        """The error to raise where a transfer breaks off again and again."""
        return RemoteError(message)

    def request(
        self,
        method: str,
        target: str,
        *,
        writing: bool = False,
        headers: Mapping[str, str] | None = None,
        body: Iterator[bytes] | bytes | None = None,
    ) -> httpx.Response:
        """The response, whose body is not read yet.

        Raises:
            Unreachable: there is none.
        """
        FLOOR.leave()
        wait = self.timeouts.command if writing else self.timeouts.search
        try:
            # Without an encoding, or a few bytes could unfold to any number.
            more = {"Accept-Encoding": "identity", **self.headers(method, target, writing), **(headers or {})}
            timeout = httpx.Timeout(wait, connect=self.timeouts.connect)
            request = self._http.build_request(
                method, self.address(target), headers=more, content=body, timeout=timeout
            )
            return self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise self.unreachable(error) from error

    def unreachable(self, error: httpx.TransportError) -> Unreachable:
        """The error that the server can't be reached at the moment."""
        return Unreachable(str(error) or type(error).__name__)

    def answer(self, response: httpx.Response, limit: int = _MOST_JSON) -> bytes:
        """The body of a success.

        Raises:
            Unreachable: it can't be had at the moment.
            BrokenOff: an upload ended early.
            GalaxyError: the server refuses.
        """
        body = bytearray()
        try:
            for piece in response.iter_raw():
                body += piece
                if len(body) > limit:
                    raise self.given_up(f"{self.where} answers with more than {limit} bytes: is that its address?")
        except httpx.TransportError as error:
            raise self.unreachable(error) from error
        finally:
            response.close()
        if response.is_success:
            return bytes(body)
        kind, detail = read_problem(response.headers.get("content-type", ""), bytes(body))
        if kind in _BROKEN_OFF:
            raise BrokenOff(detail)
        raise self.refusal(response, kind, detail)

    def refusal(self, response: httpx.Response, kind: str, detail: str) -> Exception:
        """The error for an answer that is not a success; `kind` is empty where it is not a problem of Galaxy's."""
        status, what = response.status_code, response.url.path
        if status in BUSY:
            return Unreachable(detail)
        name = what.rpartition("/")[2]
        if kind == "not_found":
            return ContentMissingError(
                f"{name} is not in {self.where}: fetch it from whoever made it, or recompute it, and put it"
            )
        if kind == "altered" and status == 500:
            return ContentAlteredError(f"{name} is damaged in {self.where}: put it again")
        if not kind:
            detail += ": is that the address of a Galaxy content store?"
        message = f"{self.where} refuses {response.request.method} {what}: {detail} (HTTP {status})"
        return RemoteError(message, status)
