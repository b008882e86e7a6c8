"""The store on an IPFS node: what is put here, everybody on the node's network can read by its id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from galaxy_fl.content.content_id import Codec, ContentId, parse
from galaxy_fl.content.dag import content_of, walk
from galaxy_fl.content.gathering import for_each
from galaxy_fl.content.local import LocalStore
from galaxy_fl.content.remote import RemoteError, arriving
from galaxy_fl.content.store import GcReport, Source
from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError
from galaxy_fl.files import FileLock, explained, sync

from .ipfs_node import IpfsNode

__all__ = ["IpfsStore"]

Read = TypeVar("Read")


class IpfsStore:
    """A `Store` on an IPFS node, with verified copies in a folder.

    The folder says what is there, what is pinned and how old it is. The node holds what was put or pinned here for
    others, pinned from the put on, so that its own collection can't take it. What the folder has not is read through
    the node, as a whole: parts are parts of verified content.

    In `ipfs/` below the folder an empty file a content says, before anything is sent, that the node holds it for this
    store: whatever dies when, `gc` finds what has to be let go. A node's pins are one set for all who use it, and its
    collection takes what nothing pins: give each store a node of its own.

    Methods raise RemoteError if the node can't be reached.
    """

    def __init__(self, node: IpfsNode, copies: LocalStore) -> None:
        self.node = node
        self.copies = copies
        self._held = copies.root / "ipfs"
        self._lock = self._held / "lock"

    # Writing

    def put(self, source: Source) -> ContentId:
        """As every store. The node has it under the same id by the time that the id is returned.

        Raises:
            ContentError: the node gives it another id.
        """
        content = self.copies.put(source)
        with self._holding(content):
            self._add(content)
        return content

    def _add(self, content: ContentId) -> None:
        given = self.node.add(self.copies.path(content))
        if given != content.cid:
            self.node.unpin(given)
            raise ContentError(
                f"{self.node.where} calls {given} what is {content.cid}: it does not add as it is told to (chunks of"
                " 262,144 bytes, raw leaves, 174 links a node, CIDv1); update it, or use another node"
            )

    @contextmanager
    def _holding(self, content: ContentId) -> Iterator[None]:
        """Writes down that the node holds content for this store. Nothing is let go meanwhile."""
        with explained(f"write to the store {self.copies.root}"):
            self._held.mkdir(exist_ok=True)
            with FileLock(self._lock, shared=True):
                (self._held / content.cid).touch()
                sync(self._held)
                yield

    # Reading

    def path(self, content: ContentId) -> Path:
        return self._read(content, lambda: self.copies.path(content))

    def get(self, content: ContentId, start: int = 0, stop: int | None = None) -> bytes:
        return self._read(content, lambda: self.copies.get(content, start, stop))

    def _read(self, content: ContentId, read: Callable[[], Read]) -> Read:
        try:
            return read()
        except (ContentMissingError, ContentAlteredError):
            self._fetch(content)
        return read()

    def _fetch(self, content: ContentId) -> None:
        root = self.node.block(content.cid)  # first: nothing else says as clearly that nobody has the content
        if content.codec is Codec.RAW:
            self.copies.put(arriving(content, iter((root,)), self.node.where))
            return
        try:
            self.node.retrying(lambda: self.copies.put(arriving(content, self.node.cat(content), self.node.where)))
        except (ContentMissingError, ContentAlteredError, RemoteError) as error:
            if isinstance(error, RemoteError) and error.status != 500:
                raise
            # Nodes differ in what they make of a file of which a block is missing or altered; the blocks say which.
            self.copies.put(arriving(content, walk(content, self.node.block), self.node.where))

    def block(self, digest: bytes) -> bytes:
        try:
            return self.copies.block(digest)
        except (ContentMissingError, ContentAlteredError):
            data = self.node.block(ContentId(digest, 0).cid)  # all sizes up to a block's have the same cid
        self.copies.put(data)
        return data

    def probe(self, digest: bytes) -> None:
        """Makes sure that the node answers: whether it finds the content is a matter of who else is there."""
        with suppress(ContentMissingError):
            self.node.block(ContentId(digest, 0).cid)

    def identify(self, cid: str) -> ContentId:
        try:
            return self.copies.identify(cid)
        except (ContentMissingError, ContentAlteredError):
            return content_of(cid, self.node.block(cid))

    def has(self, content: ContentId) -> bool:
        """Whether the folder has it; what it has not may be on the network all the same."""
        return self.copies.has(content)

    def reaches(self, content: ContentId) -> bool:
        """Whether the folder has it, or the node finds its first block."""
        if self.copies.has(content):
            return True
        try:
            return content_of(content.cid, self.node.block(content.cid)) == content
        except (ContentMissingError, ContentAlteredError):
            return False

    def contents(self) -> Iterator[tuple[str, int]]:
        return self.copies.contents()

    def verify(self) -> Iterator[tuple[str, ContentError | None]]:
        """Hashes the copies, and what the node holds for this store, afresh."""
        sizes, held = dict(self.copies.contents()), self._held_cids()
        for cid, error in self.copies.verify():
            if error is None and cid in held:
                error = self._wrong_in_node(ContentId.from_cid(cid, sizes[cid]))
            yield cid, error

    def _wrong_in_node(self, content: ContentId) -> ContentError | None:
        stream = arriving(content, walk(content, self.node.block), self.node.where)
        try:
            while stream.read():
                pass
        except (ContentMissingError, ContentAlteredError) as error:
            return error
        return None

    # Keeping

    def pin(self, *contents: ContentId) -> None:
        for_each(self.path, contents)
        self.copies.pin(*contents)
        for_each(self._pin_there, contents)

    def _pin_there(self, content: ContentId) -> None:
        with self._holding(content):
            try:
                self.node.pin(content.cid)
            except ContentMissingError:  # a node that was set up anew
                self._add(content)

    def unpin(self, *contents: ContentId) -> None:
        """Lets `gc` have contents, here and in the node."""
        self.copies.unpin(*contents)

    def pins(self) -> frozenset[str]:
        return self.copies.pins()

    def gc(self, grace_seconds: float = 3600.0) -> GcReport:
        """As every store, then lets the node go of what the folder no longer has and has it collect.

        The report is of the folder.
        """
        report = self.copies.gc(grace_seconds)
        if held := self._held_cids():
            with explained(f"collect in the store {self.copies.root}"), FileLock(self._lock):
                kept = self.copies.pins().union(cid for cid, _ in self.copies.contents())
                for cid in held - kept:
                    self.node.unpin(cid)
                    (self._held / cid).unlink(missing_ok=True)
                sync(self._held)
            self.node.collect()
        return report

    def _held_cids(self) -> frozenset[str]:
        with explained(f"read the store {self.copies.root}"):
            paths = self._held.iterdir() if self._held.exists() else ()
            return frozenset(path.name for path in paths if path != self._lock and parse(path.name))
