"""The store behind a server's content API (`galaxy_fl.content.app`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError, GalaxyError
from galaxy_fl.faults import fault_point

from .content_id import BLOCK_SIZE, ContentId
from .exchange import BrokenOff, Exchange, Writer
from .gathering import for_each
from .local import LocalStore
from .remote import DEFAULT_TIMEOUTS, RemoteError, Timeouts, Unreachable, arriving, check_url, checked_block
from .store import GcReport, Source

__all__ = ["HttpStore", "http_store"]

Read = TypeVar("Read")

_PIECE = 1 << 18
_TRIES = 5
"""How often a transfer may break off without any byte having come further."""


class _Arrived(BaseModel):
    model_config = ConfigDict(strict=True)

    bytes: int = Field(ge=0)
    complete: bool


def http_store(url: str, cache: Path, writer: Writer | None = None, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> HttpStore:
    """The store of a server that its operator has named by `url`, with copies in the folder `cache`.

    Args:
        writer: Who puts and pins. None for those who only read: what they put and pin is in the folder only.

    Raises:
        ConfigurationError: the URL is none.
        ContentError: the folder can't be used.
    """
    checked = check_url(url, "a content store")
    return HttpStore(Exchange(checked, f"the content store {checked}", writer, timeouts), LocalStore(cache))


class HttpStore:
    """A `Store` on a server, with verified copies in a folder.

    The folder says what is there, what is pinned from here and how old it is; `gc` and `verify` are about it alone, for
    the server's own folder is its operator's. What the folder has not is read from the server, as a whole: parts are
    parts of verified content. A transfer that breaks off continues where it was.

    Methods raise RemoteError if the server can't be reached or refuses, or what its exchange raises for that.

    Args:
        exchange: With the server.
        copies: The store in the folder.
        base: Where the content API is below the server's URL.
    """

    def __init__(self, exchange: Exchange, copies: LocalStore, base: str = "") -> None:
        self.exchange = exchange
        self.where = exchange.where
        self.copies = copies
        self._base = base

    # Writing

    def put(self, source: Source) -> ContentId:
        """As every store. The server has it by the time that the id is returned."""
        content = self.copies.put(source)
        if self.exchange.writes:
            self._upload(content)
        return content

    def _upload(self, content: ContentId) -> None:
        target = f"{self._base}/uploads/{content.cid}?size={content.size}"
        furthest, fruitless = -1, 0
        while not (arrived := self._announce(target)).complete:
            if arrived.bytes > content.size:  # growing for ever, it would never be found fruitless
                raise self.exchange.given_up(
                    f"{self.where} says that it has {arrived.bytes} of the {content.size} bytes of {content.cid}: "
                    "update it, or use another"
                )
            fruitless = 0 if arrived.bytes > furthest else fruitless + 1
            furthest = max(furthest, arrived.bytes)
            if fruitless == _TRIES:
                raise self._broken("upload", content, furthest)
            with suppress(BrokenOff, Unreachable):
                if self._send(content, f"{target}&offset={arrived.bytes}", arrived.bytes).complete:
                    return

    def _announce(self, target: str) -> _Arrived:
        def announce() -> _Arrived:
            return self._arrived(self.exchange.answer(self.exchange.request("POST", target, writing=True)))

        return self.exchange.patiently(announce)

    def _send(self, content: ContentId, target: str, offset: int) -> _Arrived:
        headers = {"Content-Length": str(content.size - offset), "Content-Type": "application/octet-stream"}
        pieces = _pieces(self.copies.path(content), offset)
        request = self.exchange.request("PUT", target, writing=True, headers=headers, body=pieces)
        return self._arrived(self.exchange.answer(request))

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
            data = self.exchange.patiently(partial(self._block, cid))
        if (found := ContentId.of(data)).digest != digest:
            raise ContentAlteredError(f"what {self.where} gives as {cid} is {found}: use another source")
        self.copies.put(data)
        return data

    def probe(self, digest: bytes) -> None:
        cid = ContentId(digest, 0).cid
        checked_block(cid, self.exchange.patiently(partial(self._block, cid)), self.where)

    def _block(self, cid: str) -> bytes:
        return self.exchange.answer(self.exchange.request("GET", f"{self._base}/content/{cid}"), BLOCK_SIZE)

    def _download(self, content: ContentId) -> Iterator[bytes]:
        """The bytes of a content, one connection after the other until all of them are here."""
        position = fruitless = 0
        while True:
            before = position
            response = self.exchange.patiently(partial(self._open, content, position))
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
        response = self.exchange.request("GET", f"{self._base}/content/{content.cid}", headers=headers)
        if response.status_code != (206 if position else 200):
            self.exchange.answer(response)
            raise RemoteError(f"{self.where} answers HTTP {response.status_code} to a request for a part: update it")
        return response

    def _broken(self, what: str, content: ContentId, position: int) -> GalaxyError:
        return self.exchange.given_up(
            f"the {what} of {content.cid} breaks off at {position} of {content.size} bytes again and again: look at the"
            f" network, and at the log of {self.where}"
        )

    def identify(self, cid: str) -> ContentId:
        with suppress(ContentMissingError, ContentAlteredError):
            return self.copies.identify(cid)

        def ask() -> int:
            response = self.exchange.request("GET", f"{self._base}/content/{cid}")
            if response.status_code != 200:
                self.exchange.answer(response)
            response.close()  # its head says it all
            return int(response.headers["content-length"])

        try:
            return ContentId.from_cid(cid, self.exchange.patiently(ask))
        except (KeyError, ValueError) as error:
            raise RemoteError(f"{self.where} does not say how large {cid} is: update it") from error

    def has(self, content: ContentId) -> bool:
        """Whether the folder has it; what it has not may be on the server all the same."""
        return self.copies.has(content)

    def reaches(self, content: ContentId) -> bool:
        if self.copies.has(content):
            return True

        def ask() -> bool:
            response = self.exchange.request("HEAD", f"{self._base}/content/{content.cid}")
            if response.status_code == 200:
                response.close()
                return bool(response.headers.get("content-length") == str(content.size))
            if response.status_code == 404:
                response.close()
                return False
            self.exchange.answer(response)
            raise RemoteError(f"{self.where} answers HTTP {response.status_code}: update it")

        return self.exchange.patiently(ask)

    def contents(self) -> Iterator[tuple[str, int]]:
        return self.copies.contents()

    def verify(self) -> Iterator[tuple[str, ContentError | None]]:
        return self.copies.verify()

    # Keeping

    def pin(self, *contents: ContentId) -> None:
        """Keeps contents here and on the server; what the server has not is sent to it."""
        for_each(self.path, contents)
        self.copies.pin(*contents)
        if self.exchange.writes:
            for_each(self._pin_there, contents)

    def unpin(self, *contents: ContentId) -> None:
        """Lets `gc` have contents, here and on the server, where nobody else has pinned them."""
        self.copies.unpin(*contents)
        if self.exchange.writes:
            for_each(partial(self._pin, "DELETE"), contents)

    def _pin_there(self, content: ContentId) -> None:
        try:
            self._pin("PUT", content)
        except ContentMissingError:
            self._upload(content)
            self._pin("PUT", content)

    def _pin(self, method: str, content: ContentId) -> None:
        target = f"{self._base}/pins/{content.cid}?size={content.size}"
        self.exchange.patiently(lambda: self.exchange.answer(self.exchange.request(method, target, writing=True)))

    def pins(self) -> frozenset[str]:
        return self.copies.pins()

    def gc(self, grace_seconds: float = 3600.0) -> GcReport:
        """As every store, of the folder: what the server collects is its operator's affair."""
        return self.copies.gc(grace_seconds)

    def _arrived(self, body: bytes) -> _Arrived:
        try:
            return _Arrived.model_validate_json(body)
        except ValidationError as error:
            raise RemoteError(f"{self.where} answers {body[:200]!r}: is that its address?") from error


def _pieces(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        file.seek(offset, os.SEEK_SET)
        while piece := file.read(_PIECE):
            yield piece
            fault_point("during-upload")
