"""Stores behind each other: the folder, then an IPFS node, then gateways."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from galaxy_fl.content.content_id import ContentId
from galaxy_fl.content.gathering import for_each
from galaxy_fl.content.local import LocalStore
from galaxy_fl.content.remote import RemoteError
from galaxy_fl.content.store import GcReport, Source, Store
from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError

from .gateway import Gateway
from .ipfs import IpfsStore
from .ipfs_node import IpfsNode

__all__ = ["TieredStore"]

Read = TypeVar("Read")

_NOT_HERE = (ContentMissingError, ContentAlteredError, RemoteError)


class TieredStore:
    """A `Store` in a folder that reads what is not there through an IPFS node, then from gateways, and keeps it.

    What is put is on the node, too, once its id is returned. Without a node it stays in the folder, where only those
    who share it can read it. If nobody has the content, the error is that of the nearest, and tells what each said.
    """

    def __init__(self, local: LocalStore, node: IpfsNode | None = None, gateways: Sequence[Gateway] = ()) -> None:
        self._local = local
        self._own: Store = local if node is None else IpfsStore(node, local)
        self._gateways = tuple(gateways)

    @property
    def folder(self) -> Path:
        """The folder of the nearest."""
        return self._local.root

    def put(self, source: Source) -> ContentId:
        return self._own.put(source)

    def path(self, content: ContentId) -> Path:
        return self._read(lambda: self._own.path(content), lambda gateway: gateway.fetch(content, self._local))

    def get(self, content: ContentId, start: int = 0, stop: int | None = None) -> bytes:
        return self._read(
            lambda: self._own.get(content, start, stop), lambda gateway: gateway.fetch(content, self._local)
        )

    def block(self, digest: bytes) -> bytes:
        return self._read(lambda: self._own.block(digest), lambda gateway: self._local.put(gateway.block(digest)))

    def _read(self, read: Callable[[], Read], fetch: Callable[[Gateway], object]) -> Read:
        try:
            return read()
        except _NOT_HERE as error:
            failures: list[ContentError] = [error]
        for gateway in self._gateways:
            try:
                fetch(gateway)
            except _NOT_HERE as error:
                failures.append(error)
            else:
                return read()
        raise type(failures[0])("\n".join(map(str, failures))) from failures[0]

    def identify(self, cid: str) -> ContentId:
        failures: list[ContentError] = []
        sources: tuple[Store | Gateway, ...] = (self._own, *self._gateways)
        for source in sources:
            try:
                return source.identify(cid)
            except _NOT_HERE as error:
                failures.append(error)
        raise type(failures[0])("\n".join(map(str, failures))) from failures[0]

    def probe(self, digest: bytes) -> None:
        """Makes sure that what is nearest answers, and one of the gateways, where there are any."""
        self._own.probe(digest)
        failures: list[ContentError] = []
        for gateway in self._gateways:
            try:
                gateway.block(digest)
            except ContentMissingError:
                return
            except (ContentAlteredError, RemoteError) as error:
                failures.append(error)
            else:
                return
        if failures:
            raise RemoteError("\n".join(map(str, failures))) from failures[0]

    def has(self, content: ContentId) -> bool:
        """Whether the folder has it; what it has not may be on the network all the same."""
        return self._own.has(content)

    def reaches(self, content: ContentId) -> bool:
        """Whether any of them has it; one that fails counts as if it had not, where another has it."""
        failures: list[ContentError] = []
        sources: tuple[Store | Gateway, ...] = (self._own, *self._gateways)
        for source in sources:
            try:
                if source.reaches(content):
                    return True
            except _NOT_HERE as error:
                failures.append(error)
        if failures:
            raise RemoteError("\n".join(map(str, failures))) from failures[0]
        return False

    def pin(self, *contents: ContentId) -> None:
        for_each(self.path, contents)
        self._own.pin(*contents)

    def unpin(self, *contents: ContentId) -> None:
        self._own.unpin(*contents)

    def pins(self) -> frozenset[str]:
        return self._own.pins()

    def gc(self, grace_seconds: float = 3600.0) -> GcReport:
        return self._own.gc(grace_seconds)

    def verify(self) -> Iterator[tuple[str, ContentError | None]]:
        return self._own.verify()

    def contents(self) -> Iterator[tuple[str, int]]:
        return self._own.contents()
