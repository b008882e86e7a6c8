"""The store behind a server's content API (`galaxy_fl.content.app`)."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError
from galaxy_fl.faults import fault_point

from .content_id import BLOCK_SIZE, ContentId
from .local import LocalStore
from .problem import read_problem
from .remote import (
    BUSY,
    DEFAULT_TIMEOUTS,
    RemoteError,
    Timeouts,
    Unreachable,
    arriving,
    check_url,
    checked_block,
    persistently,
)
from .store import GcReport, Source

__all__ = ["HttpStore", "Writer"]

Read = TypeVar("Read")

_PIECE = 1 << 18
_MOST_JSON = 1 << 16
_TRIES = 5
"""How often a transfer may break off without any byte having come further."""


class _Said(BaseModel):
    model_config = ConfigDict(strict=True)


class _Arrived(_Said):
    bytes: int = Field(ge=0)
    complete: bool


class Writer(Protocol):
    """Who may write to a server."""

    def authorization(self, method: str, url: str, target: str) -> str:
        """The Authorization header of one request; `target` is the path and query below the server's `url`."""


class _BrokenOff(Exception):
    """An upload ended early; it goes on where it was."""


class HttpStore:
    """A `Store` on a server, with verified copies in a folder.

    The folder says what is there, what is pinned from here and how old it is; `gc` and `verify` are about it alone, for
    the server's own folder is its operator's. What the folder has not is read from the server, as a whole: parts are
    parts of verified content. A transfer that breaks off goes on where it was.

    Methods raise RemoteError if the server can't be reached or refuses.

    Args:
        url: The server's, as its operator has named it.
        cache: The folder of the copies.
        writer: Who puts and pins. None for those who only read: what they put and pin is in the folder only.

    Raises:
        ConfigurationError: the URL is none.
        ContentError: the folder can't be used.
    """

    def __init__(
        self, url: str, cache: Path, writer: Writer | None = None, timeouts: Timeouts = DEFAULT_TIMEOUTS
    ) -> None:
        self.url = check_url(url, "a content store")
        self.where = f"the content store {self.url}"
        self.copies = LocalStore(cache)
        self._writer = writer
        self._timeouts = timeouts
        self._http = httpx.Client(
            headers={"Accept-Encoding": "identity"},  # or a few bytes could unfold to any number
            timeout=httpx.Timeout(timeouts.search, connect=timeouts.connect),
        )
        weakref.finalize(self, self._http.close)

    # Writing

    def put(self, source: Source) -> ContentId:
        """As every store. The server has it by the time that the id is returned."""
        content = self.copies.put(source)
        if self._writer is not None:
            self._upload(content, self._writer)
        return content

    def _upload(self, content: ContentId, writer: Writer) -> None:
        target = f"/uploads/{content.cid}?size={content.size}"
        furthest, fruitless = -1, 0
        while not (arrived := self._announce(target, writer)).complete:
            fruitless = 0 if arrived.bytes > furthest else fruitless + 1
            furthest = max(furthest, arrived.bytes)
            if fruitless == _TRIES:
                raise self._broken("upload", content, furthest)
            with suppress(_BrokenOff, Unreachable):
                if self._send(content, f"{target}&offset={arrived.bytes}", arrived.bytes, writer).complete:
                    return

    def _announce(self, target: str, writer: Writer) -> _Arrived:
        def announce() -> _Arrived:
            return self._arrived(self._answer(self._request("POST", target, writer)))

        return persistently(announce, self.where, self._timeouts.restart)

    def _send(self, content: ContentId, target: str, offset: int, writer: Writer) -> _Arrived:
        headers = {"Content-Length": str(content.size - offset), "Content-Type": "application/octet-stream"}
        pieces = _pieces(self.copies.path(content), offset)
        return self._arrived(self._answer(self._request("PUT", target, writer, headers, pieces)))

    # Reading

    def path(self, content: ContentId) -> Path:
        return self._read(content, lambda: self.copies.path(content))

    def get(self, content: ContentId, start: int = 0, stop: int | None = None) -> bytes:
        return self._read(content, lambda: self.copies.get(content, start, stop))

    def _read(self, content: ContentId, read: Callable[[], Read]) -> Read:
        try:
            return read()
        except (ContentMissingError, ContentAlteredError):
            self.copies.put(arriving(content, self._download(content), self.where))
        return read()

    def block(self, digest: bytes) -> bytes:
        try:
            return self.copies.block(digest)
        except (ContentMissingError, ContentAlteredError):
            cid = ContentId(digest, 0).cid  # all sizes up to a block's have the same
            data = persistently(partial(self._block, cid), self.where, self._timeouts.restart)
        if (found := ContentId.of(data)).digest != digest:
            raise ContentAlteredError(f"what {self.where} gives as {cid} is {found}: use another source")
        self.copies.put(data)
        return data

    def probe(self, digest: bytes) -> None:
        cid = ContentId(digest, 0).cid
        checked_block(cid, persistently(partial(self._block, cid), self.where, self._timeouts.restart), self.where)

    def _block(self, cid: str) -> bytes:
        return self._answer(self._request("GET", f"/content/{cid}"), BLOCK_SIZE)

    def _download(self, content: ContentId) -> Iterator[bytes]:
        """The bytes of a content, one connection after the other until all of them are here."""
        position = fruitless = 0
        while True:
            before = position
            response = persistently(partial(self._open, content, position), self.where, self._timeouts.restart)
            try:
                with closing(response):
                    for piece in response.iter_raw(_PIECE):
                        position += len(piece)
                        if position > content.size:
                            raise ContentAlteredError(
                                f"{self.where} sends more than the {content.size} bytes of {content.cid}: what it has"
                                " is something else; use another source"
                            )
                        yield piece
                return
            except httpx.TransportError as error:
                if position == content.size > 0:
                    return
                fruitless = 0 if position > before else fruitless + 1
                if fruitless == _TRIES:
                    raise self._broken("download", content, position) from error

    def _open(self, content: ContentId, position: int) -> httpx.Response:
        """The response with the bytes from a position on."""
        headers = {"Range": f"bytes={position}-"} if position else {}
        response = self._request("GET", f"/content/{content.cid}", headers=headers)
        if response.status_code != (206 if position else 200):
            self._answer(response)
            raise RemoteError(f"{self.where} answers HTTP {response.status_code} to a request for a part: update it")
        return response

    def _broken(self, what: str, content: ContentId, position: int) -> RemoteError:
        return RemoteError(
            f"the {what} of {content.cid} breaks off at {position} of {content.size} bytes again and again: look at the"
            f" network, and at the log of {self.where}"
        )

    def identify(self, cid: str) -> ContentId:
        with suppress(ContentMissingError, ContentAlteredError):
            return self.copies.identify(cid)

        def ask() -> int:
            response = self._request("GET", f"/content/{cid}")
            if response.status_code != 200:
                self._answer(response)
            response.close()  # its head says it all
            return int(response.headers["content-length"])

        try:
            return ContentId.from_cid(cid, persistently(ask, self.where, self._timeouts.restart))
        except (KeyError, ValueError) as error:
            raise RemoteError(f"{self.where} does not say how large {cid} is: update it") from error

    def has(self, content: ContentId) -> bool:
        """Whether the folder has it; what it has not may be on the server all the same."""
        return self.copies.has(content)

    def contents(self) -> Iterator[tuple[str, int]]:
        return self.copies.contents()

    def verify(self) -> Iterator[tuple[str, ContentError | None]]:
        return self.copies.verify()

    # Keeping

    def pin(self, content: ContentId) -> None:
        """Keeps content here and on the server; what the server has not is sent to it."""
        self.path(content)
        self.copies.pin(content)
        if self._writer is not None:
            try:
                self._pin("PUT", content, self._writer)
            except ContentMissingError:
                self._upload(content, self._writer)
                self._pin("PUT", content, self._writer)

    def unpin(self, content: ContentId) -> None:
        """Lets `gc` have content, here and on the server, where nobody else has pinned it."""
        self.copies.unpin(content)
        if self._writer is not None:
            self._pin("DELETE", content, self._writer)

    def _pin(self, method: str, content: ContentId, writer: Writer) -> None:
        def ask() -> bytes:
            return self._answer(self._request(method, f"/pins/{content.cid}?size={content.size}", writer))

        persistently(ask, self.where, self._timeouts.restart)

    def pins(self) -> frozenset[str]:
        return self.copies.pins()

    def gc(self, grace_seconds: float = 3600.0) -> GcReport:
        """As every store, of the folder: what the server collects is its operator's affair."""
        return self.copies.gc(grace_seconds)

    # Messages

    def _request(
        self,
        method: str,
        target: str,
        writer: Writer | None = None,
        headers: dict[str, str] | None = None,
        body: Iterator[bytes] | None = None,
    ) -> httpx.Response:
        """The response, whose body is not read yet.

        Raises:
            Unreachable: there is none.
        """
        headers = dict(headers or {})
        if writer is not None:
            headers["Authorization"] = writer.authorization(method, self.url, target)
        timeout = httpx.Timeout(
            self._timeouts.command if writer else self._timeouts.search, connect=self._timeouts.connect
        )
        request = self._http.build_request(method, self.url + target, headers=headers, content=body, timeout=timeout)
        try:
            return self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise _unreachable(error) from error

    def _answer(self, response: httpx.Response, limit: int = _MOST_JSON) -> bytes:
        """The body of a success.

        Raises:
            Unreachable: it can't be had at the moment.
            ContentError: the server refuses.
        """
        body = bytearray()
        try:
            for piece in response.iter_raw():
                body += piece
                if len(body) > limit:
                    raise RemoteError(f"{self.where} answers with more than {limit} bytes: is that its address?")
        except httpx.TransportError as error:
            raise _unreachable(error) from error
        finally:
            response.close()
        if not response.is_success:
            raise self._refusal(response, bytes(body))
        return bytes(body)

    def _refusal(self, response: httpx.Response, body: bytes) -> Exception:
        kind, detail = read_problem(response.headers.get("content-type", ""), body)
        if not kind:
            detail += ": is that the address of a Galaxy content store?"
        status, what = response.status_code, response.url.path
        message = f"{self.where} refuses {response.request.method} {what}: {detail}"
        if status in BUSY:
            return Unreachable(detail)
        if kind == "not_found":
            return ContentMissingError(
                f"{what.rpartition('/')[2]} is not in {self.where}: fetch it from whoever made it, or recompute it, and"
                " put it"
            )
        if kind == "altered" and status == 500:
            return ContentAlteredError(f"{what.rpartition('/')[2]} is damaged in {self.where}: put it again")
        if kind in ("offset", "silence"):
            return _BrokenOff(message)
        return RemoteError(f"{message} (HTTP {status})", status)

    def _arrived(self, body: bytes) -> _Arrived:
        try:
            return _Arrived.model_validate_json(body)
        except ValidationError as error:
            raise RemoteError(f"{self.where} answers {body[:200]!r}: is that its address?") from error


def _unreachable(error: httpx.TransportError) -> Unreachable:
    return Unreachable(str(error) or type(error).__name__)


def _pieces(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        file.seek(offset, os.SEEK_SET)
        while piece := file.read(_PIECE):
            yield piece
            fault_point("during-upload")
