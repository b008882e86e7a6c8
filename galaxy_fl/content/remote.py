"""Bytes over HTTP from servers that nobody has to trust: bounded, patient, and checked before they are content."""

from __future__ import annotations

import hashlib
import io
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, TypeVar, cast
from urllib.parse import urlsplit

import httpx

from galaxy_fl.exceptions import ConfigurationError, ContentAlteredError, ContentError, ContentMissingError
from galaxy_fl.patience import Backoff, Waiting, retry

from .content_id import ContentId, Hasher, parse

__all__ = [
    "BUSY",
    "DEFAULT_TIMEOUTS",
    "Remote",
    "RemoteError",
    "Timeouts",
    "Unreachable",
    "arriving",
    "check_url",
    "checked_block",
    "persistently",
]

BUSY = frozenset({429, 502, 503, 504})
"""HTTP statuses that say nothing of the content: try again."""

_BACKOFF = Backoff(0.1, 2.0, jitter=0.5)
_REDIRECTS = 3

Result = TypeVar("Result")


class RemoteError(ContentError):
    """A node or a gateway can't be reached, or refuses. `status`: of HTTP (408: nothing came in time), or None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(Exception):
    """A server can't be reached at the moment; `persistently` tries it again."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a store waits for a node or a gateway. Seconds."""

    connect: float = 5.0
    """Until a connection is there."""
    search: float = 20.0
    """Between two bytes of content, the first included: as long as the network may look for it. Raise it where
    content comes from far away; a participant waits at least that long before it gives content up."""
    command: float = 300.0
    """For the answer to a command, after all that belongs to it was sent. Raise it for huge repositories."""
    restart: float = 15.0
    """How long a server that can't be reached is tried again: as long as it may take to restart."""


DEFAULT_TIMEOUTS = Timeouts()


def check_url(url: str, what: str) -> str:
    """The URL without a slash at its end.

    Raises:
        ConfigurationError: it is none, or has credentials in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"{url!r} is not an address of {what}: expected http://host:port or https://host")
    if parts.username or parts.password:
        raise ConfigurationError(
            f"the address of {what} at {parts.hostname} has a password in it: take it out of there"
        )
    return url.rstrip("/")


def persistently(action: Callable[[], Result], where: str, seconds: float) -> Result:
    """What `action` gives, tried again while it raises Unreachable, with growing pauses. It has to be idempotent.

    Raises:
        RemoteError: it can't be reached for `seconds`.
    """
    try:
        return retry(action, Unreachable, Waiting(seconds, _BACKOFF))
    except Unreachable as error:
        raise RemoteError(
            f"{where} can't be reached ({error}), not for {seconds:g} s: start it, or check its address"
        ) from error


def checked_block(cid: str, block: bytes, where: str) -> bytes:
    """The block, if its digest is that of the cid.

    Raises:
        ContentAlteredError: it is another one.
    """
    if hashlib.sha256(block).digest() != parse(cid)[0]:
        raise ContentAlteredError(
            f"the block that {where} gives as {cid} is another one ({len(block)} bytes): use another source"
        )
    return block


class Remote:
    """An HTTP server that gives bytes.

    Args:
        where: What messages call it.
        method: That it wants: GET, or POST for an IPFS node's RPC.
    """

    def __init__(self, url: str, where: str, method: str, headers: Mapping[str, str], timeouts: Timeouts) -> None:
        self.where = where
        self._url = url
        self._method = method
        self._timeouts = timeouts
        self._http = httpx.Client(
            headers={**headers, "Accept-Encoding": "identity"},  # or a few bytes could unfold to any number
            timeout=httpx.Timeout(timeouts.search, connect=timeouts.connect),
            follow_redirects=True,
            max_redirects=_REDIRECTS,
            event_hooks={"response": [_redirects_within(urlsplit(url).hostname or "", where)]},
        )
        weakref.finalize(self, self._http.close)  # stores have no end of their own

    @contextmanager
    def answer(
        self, cid: str, path: str, parameters: Mapping[str, str], accept: str = "*/*"
    ) -> Iterator[httpx.Response]:
        """The response to a request for `cid`, once its head has come and said 200.

        Raises:
            Unreachable: for the moment.
            ContentMissingError: the content did not begin to come in time, or stopped coming.
            RemoteError: the server refuses.
        """
        try:
            with self._http.stream(
                self._method, self._url + path, params=parameters, headers={"Accept": accept}
            ) as response:
                if response.status_code in BUSY:
                    raise Unreachable(f"HTTP {response.status_code}")
                if response.status_code != 200:
                    raise self._refusal(response)
                yield response
        except httpx.ReadTimeout as error:
            raise ContentMissingError(
                f"{self.where} waited {self._timeouts.search:g} s for {cid} in vain: nobody on its network has it yet,"
                " or all are slow; wait, or have it put again"
            ) from error
        except httpx.TransportError as error:
            raise Unreachable(str(error) or type(error).__name__) from error
        except (httpx.InvalidURL, httpx.TooManyRedirects, httpx.DecodingError) as error:
            raise RemoteError(f"{self.where} does not answer as it should: {error}") from error

    def _refusal(self, response: httpx.Response) -> RemoteError:
        said = next(response.iter_raw(1000), b"").decode(errors="replace")
        advice = "; it wants credentials, or others" if response.status_code in (401, 403) else ""
        return RemoteError(f"{self.where} answers HTTP {response.status_code}: {said!r}{advice}", response.status_code)

    def pieces(self, response: httpx.Response, cid: str, limit: int) -> Iterator[bytes]:
        """The body, which should be `cid`, as it comes, in pieces of at most 64 KiB.

        Raises:
            ContentAlteredError: there are more than `limit` bytes; no more of them are read.
        """
        received = 0
        for piece in response.iter_raw():
            received += len(piece)
            if received > limit:
                raise ContentAlteredError(
                    f"{self.where} gives more than {limit} bytes as {cid}: it is something else; use another source"
                )
            yield piece


def _redirects_within(own: str, where: str) -> Callable[[httpx.Response], None]:
    """Gateways move content to a subdomain of its own; nobody sends us anywhere else, such as into our network."""

    def check(response: httpx.Response) -> None:
        if response.has_redirect_location:
            try:
                host = response.url.join(response.headers["location"]).host
            except (httpx.InvalidURL, UnicodeError) as error:
                raise RemoteError(f"{where} redirects to what is not an address: {error}") from error
            if host != own and not host.endswith("." + own):
                raise RemoteError(f"{where} redirects to {host}, which is another host: name that one if you mean it")

    return check


def arriving(content: ContentId, pieces: Iterator[bytes], where: str) -> BinaryIO:
    """A stream of what should be `content`, to be put into a store: at its end it raises unless that is what came.

    A put that fails leaves nothing, so bytes that nobody asked for are never kept.
    """
    return cast(BinaryIO, _Arriving(content, pieces, where))


class _Arriving(io.RawIOBase):
    def __init__(self, content: ContentId, pieces: Iterator[bytes], where: str) -> None:
        self._content = content
        self._pieces = pieces
        self._where = where
        self._hasher = Hasher()

    def read(self, size: int = -1) -> bytes:
        """The next piece, however long."""
        for piece in self._pieces:
            if piece:
                self._hasher.update(piece)
                return piece
        found = self._hasher.finish()
        if found != self._content:
            raise ContentAlteredError(
                f"what {self._where} gives as {self._content.cid} ({self._content.size} bytes) is {found.cid}"
                f" ({found.size} bytes): use another source"
            )
        return b""
