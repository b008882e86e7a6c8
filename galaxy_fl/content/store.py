"""The interface of every store. What it promises is tested by one suite that all backends inherit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from galaxy_fl.exceptions import ContentError

from .content_id import ContentId
from .finished import Finished

__all__ = ["GcReport", "Source", "Store"]

Source = bytes | bytearray | memoryview | Path | Finished | BinaryIO
"""What can be put: bytes, a file's path, a file that nobody writes to any more, or a stream, which is read from where
it stands to its end."""


@dataclass(frozen=True, slots=True)
class GcReport:
    """What a collection removed: files, those that dead writers left behind included, and their bytes."""

    removed: int
    freed_bytes: int


class Store(Protocol):
    """Content by its id.

    Whatever is read is hashed before it is used, whichever backend it came from. Methods raise
    ContentMissingError if the content is not there, ContentAlteredError if what is there is something
    else (another length included), and ContentError if the store itself can't be used; the message says
    what to do. Instances may be used by several threads, and stores by several processes.
    """

    def put(self, source: Source) -> ContentId:
        """Stores content and returns its id once it is durable. Memory does not grow with its length.

        Putting what is there already changes nothing, except that altered content is replaced by the good.
        Nothing is pinned: content is safe from `gc` for its grace period, counted from the last put.
        """
        ...

    def path(self, content: ContentId) -> Path:
        """A local file of verified content, for memory mapping. Never write to it; pin what has to stay."""
        ...

    def get(self, content: ContentId, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from `start` up to, not including, `stop` (default: the end) of verified content.

        Raises ContentError unless 0 ≤ start ≤ stop ≤ size.
        """
        ...

    def block(self, digest: bytes) -> bytes:
        """Verified content of at most one block, such as a job document, whose size nobody has said."""
        ...

    def probe(self, digest: bytes) -> None:
        """Makes sure that the store answers for content of at most one block which is known to be in it: where others
        put theirs, past any copy of its own. Raises ContentError if it does not."""
        ...

    def identify(self, cid: str) -> ContentId:
        """The content of a cid with its size, asked for where the content is; nothing is verified, nor copied, before
        it is read. For those who know the cid alone."""
        ...

    def has(self, content: ContentId) -> bool:
        """Whether content of this id and size is there. It is not hashed."""
        ...

    def reaches(self, content: ContentId) -> bool:
        """Whether content of this id is said to be here, or where others put theirs. It is neither read nor hashed, so
        what is said to be there may be missing or altered when it is read."""
        ...

    def pin(self, *contents: ContentId) -> None:
        """Keeps contents, which must be there, from `gc`. Pinning twice is pinning once. Many at a time are faster than
        one after the other; where one can't be pinned, others may be."""
        ...

    def unpin(self, *contents: ContentId) -> None:
        """Lets `gc` have contents. Nothing happens to what is not pinned."""
        ...

    def pins(self) -> frozenset[str]:
        """The cids that are pinned."""
        ...

    def gc(self, grace_seconds: float = 3600.0) -> GcReport:
        """Removes what is not pinned and was last put more than `grace_seconds` ago, and dead writers' files.

        Content that is being written is never touched. The grace is the time between a put and its pin:
        raise it where that may take longer, lower it to get space back at once.
        """
        ...

    def verify(self) -> Iterator[tuple[str, ContentError | None]]:
        """Hashes everything afresh: each cid with None, or with what is wrong with its content."""
        ...

    def contents(self) -> Iterator[tuple[str, int]]:
        """The cid and the size in bytes of everything there, in no order. Nothing is hashed."""
        ...
