"""An IPFS node, or a cluster's proxy, through its RPC (`/api/v0`): Kubo's, and what js-ipfs has of it.

Commands go through ipfshttpclient. What comes back in bytes is read by `Remote`: the client library takes the body in
pieces of the server's choosing, so that a node could fill the memory, and lets errors in mid-body through unnamed.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

# The library's changes to requests, which are there for Unix sockets, bring warnings from urllib3 2.
os.environ.setdefault("PY_IPFS_HTTP_CLIENT_PATCH_REQUESTS", "no")

import ipfshttpclient  # type: ignore[import-untyped]
import requests
from ipfshttpclient import exceptions as ipfs

from galaxy_fl.content.content_id import BLOCK_SIZE, ContentId
from galaxy_fl.content.dag import LARGEST_NODE, LINKS
from galaxy_fl.content.remote import (
    BUSY,
    DEFAULT_TIMEOUTS,
    Remote,
    RemoteError,
    Timeouts,
    Unreachable,
    check_url,
    checked_block,
    persistently,
)
from galaxy_fl.exceptions import ContentError, ContentMissingError

__all__ = ["IpfsNode"]

_UPLOAD_PIECE = 1 << 20

Result = TypeVar("Result")


class IpfsNode:
    """The node whose RPC answers at `url`, such as http://127.0.0.1:5001, with or without the RPC's `/api/v0`.

    Args:
        authorization: The value of the Authorization header, where the RPC is behind one.
        timeouts: How long it is waited for.

    Methods try again while the node can't be reached, and raise RemoteError if it does not come back in time or
    refuses. Several threads may use one instance.
    """

    def __init__(self, url: str, *, authorization: str | None = None, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        self.url = check_url(url, "an IPFS node").removesuffix("/api/v0").rstrip("/")
        self.where = f"the IPFS node {self.url}"
        self._timeouts = timeouts
        headers = {} if authorization is None else {"Authorization": authorization}
        self._bytes = Remote(self.url + "/api/v0", self.where, "POST", headers, timeouts)
        address, base = _multiaddress(self.url)
        # Not `connect`, which refuses releases that it does not know.
        self._commands = ipfshttpclient.Client(
            address, base, headers=headers, timeout=(timeouts.connect, timeouts.command), chunk_size=_UPLOAD_PIECE
        )

    def add(self, path: Path) -> str:
        """Adds a file, pinned, and returns the cid that the node gives it. Memory does not grow with its length."""

        def add() -> str:
            # All that an id depends on is named: defaults differ between nodes, releases and import profiles.
            answer = self._commands.add(
                str(path),
                cid_version=1,
                raw_leaves=True,
                chunker=f"size-{BLOCK_SIZE}",
                trickle=False,
                wrap_with_directory=False,
                pin=True,
                opts={"hash": "sha2-256", "max-file-links": LINKS, "inline": False, "cid-base": "base32"},
            )
            return str(answer["Hash"])

        return self._command(add)

    def cat(self, content: ContentId) -> Iterator[bytes]:
        """The bytes that the node gives for `content`, unverified, at most as many as it has.

        Raises:
            ContentMissingError: they did not come in time.
            ContentAlteredError: there are more.
            Unreachable: at any moment; beginning anew is the caller's.
        """
        with self._bytes.answer(content.cid, "/cat", {"arg": content.cid}) as response:
            yield from self._bytes.pieces(response, content.cid, content.size)

    def block(self, cid: str) -> bytes:
        """The block of `cid`, its digest checked.

        Raises:
            ContentMissingError: it has none, or none in time.
            ContentAlteredError: it gives another one.
        """

        def block() -> bytes:
            with self._bytes.answer(cid, "/block/get", {"arg": cid}) as response:
                data = b"".join(self._bytes.pieces(response, cid, LARGEST_NODE))
            return checked_block(cid, data, self.where)

        try:
            return persistently(block, self.where, self._timeouts.restart)
        except RemoteError as error:
            if error.status == 500:  # all that the RPC has to say of an error of the command
                raise ContentMissingError(f"the block {cid} is unavailable: {error}") from error
            raise

    def retrying(self, action: Callable[[], Result]) -> Result:
        """`persistently`, for what reads this node."""
        return persistently(action, self.where, self._timeouts.restart)

    def pin(self, cid: str) -> None:
        """Keeps all blocks under `cid` in the node.

        Raises:
            ContentMissingError: it has not all of them, and did not find them in time.
        """
        timeout = self._timeouts.connect, self._timeouts.search
        try:
            self._command(lambda: self._commands.pin.add(cid, timeout=timeout))
        except RemoteError as error:
            if error.status in (408, 500):
                raise ContentMissingError(f"{cid} can't be pinned: {error}") from error
            raise

    def unpin(self, cid: str) -> None:
        """Lets the node collect `cid`. Nothing happens if it is not pinned."""
        try:
            self._command(lambda: self._commands.pin.rm(cid))
        except RemoteError as error:
            if "not pinned" not in str(error):  # there is no code for it
                raise

    def collect(self) -> None:
        """Has the node remove all blocks that nothing pins, whoever put them there."""

        def collect() -> None:
            with self._commands.repo.gc(stream=True) as removed:
                for _ in removed:
                    pass

        self._command(collect)

    def _command(self, action: Callable[[], Result]) -> Result:
        def attempt() -> Result:
            try:
                return action()
            except ipfs.TimeoutError as error:
                if isinstance(error.original, requests.ConnectTimeout):
                    raise Unreachable("no connection in time") from error
                raise RemoteError(f"{self.where} did not answer in time: {error}", 408) from error
            except ipfs.StatusError as error:
                raise self._refusal(error) from error
            except (ipfs.ProtocolError, ipfs.ConnectionError, requests.RequestException) as error:
                raise Unreachable(str(error)) from error
            except (ipfs.Error, KeyError, TypeError, AssertionError) as error:
                raise ContentError(f"{self.where} does not answer as an IPFS node does: {error!r}") from error

        return persistently(attempt, self.where, self._timeouts.restart)

    def _refusal(self, error: ipfs.StatusError) -> Exception:
        original: ipfs.StatusError | requests.HTTPError | None = error
        while isinstance(original, ipfs.StatusError):
            original = original.original
        status = original.response.status_code if original is not None and original.response is not None else None
        if status in BUSY:
            return Unreachable(f"HTTP {status}")
        advice = "; it wants credentials, or others" if status in (401, 403) else ""
        return RemoteError(f"{self.where} refuses: {error}{advice}", status)


def _multiaddress(url: str) -> tuple[str, str]:
    """The address of an RPC as ipfshttpclient takes it, and the path that it is under."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        kind = "dns"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"/{kind}/{host}/tcp/{port}/{parts.scheme}", f"{parts.path.strip('/')}/api/v0".lstrip("/")
