"""An IPFS gateway: a read-only source of content over HTTP that is not trusted with anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from galaxy_fl.content.content_id import Codec, ContentId, parse
from galaxy_fl.content.dag import LARGEST_NODE, content_of, walk
from galaxy_fl.content.local import LocalStore
from galaxy_fl.content.remote import (
    DEFAULT_TIMEOUTS,
    Remote,
    RemoteError,
    Timeouts,
    arriving,
    check_url,
    checked_block,
    persistently,
)
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError

__all__ = ["Gateway"]

_RAW = "application/vnd.ipld.raw"
_MISSING = frozenset({404, 410, 500})
"""What gateways answer if they find no content."""


class Gateway:
    """The gateway at `url`, such as https://trustless-gateway.link or an IPFS node's port 8080.

    A trustless gateway (specs.ipfs.tech/http-gateways/trustless-gateway) is asked block by block, and the first wrong
    block ends it. Any other gives the whole, which is hashed before it is used; no more is read than the content has.

    Methods raise ContentMissingError if the gateway does not find the content in time, ContentAlteredError if it gives
    something else, and RemoteError if it can't be reached or refuses.
    """

    def __init__(self, url: str, *, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        self.url = check_url(url, "a gateway")
        self.where = f"the gateway {self.url}"
        self._timeouts = timeouts
        self._remote = Remote(self.url, self.where, "GET", {}, timeouts)

    def fetch(self, content: ContentId, into: LocalStore) -> None:
        """Puts verified content into a local store, or nothing."""
        persistently(
            lambda: into.put(arriving(content, self._pieces(content), self.where)), self.where, self._timeouts.restart
        )

    def block(self, digest: bytes) -> bytes:
        """Verified content of at most one block."""
        return self._block(ContentId(digest, 0).cid)  # all sizes up to a block's have the same cid

    def identify(self, cid: str) -> ContentId:
        """The content of a cid with the size that the gateway says."""
        if parse(cid)[1] is Codec.RAW:
            return content_of(cid, self._block(cid))

        def ask() -> ContentId:
            with self._asked(cid) as response:
                if response.headers.get("content-type") == _RAW:
                    return content_of(cid, self._checked(cid, response))
                size = response.headers.get("content-length", "")
            if not size.isdecimal():
                raise ContentMissingError(f"{self.where} does not say how large {cid} is: use another source")
            return ContentId.from_cid(cid, int(size))

        return persistently(ask, self.where, self._timeouts.restart)

    def reaches(self, content: ContentId) -> bool:
        """Whether the gateway says that it has the content; of what is larger than a block only the beginning of the
        answer is read."""
        try:
            return self.identify(content.cid) == content
        except (ContentMissingError, ContentAlteredError):
            return False

    def _pieces(self, content: ContentId) -> Iterator[bytes]:
        with self._asked(content.cid) as response:
            if content.codec is Codec.RAW or response.headers.get("content-type") != _RAW:
                yield from self._remote.pieces(response, content.cid, content.size)
                return
            root = self._checked(content.cid, response)
        yield from walk(content, lambda cid: root if cid == content.cid else self._block(cid))

    def _block(self, cid: str) -> bytes:
        def block() -> bytes:
            with self._asked(cid) as response:
                return self._checked(cid, response)

        return persistently(block, self.where, self._timeouts.restart)

    def _checked(self, cid: str, response: httpx.Response) -> bytes:
        return checked_block(cid, b"".join(self._remote.pieces(response, cid, LARGEST_NODE)), self.where)

    @contextmanager
    def _asked(self, cid: str) -> Iterator[httpx.Response]:
        """A block of that cid, or the whole from a gateway that does not know what a block is."""
        try:
            with self._remote.answer(cid, f"/ipfs/{cid}", {"format": "raw"}, accept=_RAW) as response:
                yield response
        except RemoteError as error:
            if error.status in _MISSING:
                raise ContentMissingError(f"{cid} is unavailable: {error}") from error
            raise
