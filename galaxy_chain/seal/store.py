"""A store whose contents are sealed: what is put is sealed, and what is read is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from galaxy_chain.exceptions import KeyMissingError
from galaxy_chain.seal.sealing import NotSealedSo, opening, sealed_size, sealing
from galaxy_chain.verify.memory import Memory
from galaxy_fl.content.content_id import Codec, ContentId, parse, spelled
from galaxy_fl.content.local import LocalStore
from galaxy_fl.content.store import GcReport, Source, Store
from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError

__all__ = ["SealedStore", "put_as"]

_REMEMBERED = 100_000
"""Contents of which it is remembered what they are when they are open."""


class SealedStore:
    """A `Store` whose contents only those can read who have the key.

    Its ids have the digest of what is sealed and the size of what is in it. What was opened is kept in a store of the
    operator's own. Blocks, which are job documents and sources, are not sealed.

    Args:
        outer: Where the sealed contents are.
        opened: Where the open ones are kept.
        current: Returns the key that content is sealed with, or raises KeyMissingError.
        known: Returns all keys at hand, the one to be tried first in front.
        missing: Returns the error where content opens with none of them and there are others; None where there are no
            others.
    """

    def __init__(
        self,
        outer: Store,
        opened: LocalStore,
        current: Callable[[], bytes],
        known: Callable[[], list[bytes]],
        missing: Callable[[], KeyMissingError | None],
    ) -> None:
        self.outer = outer
        self._opened = opened
        self._current = current
        self._known = known
        self._missing = missing
        self._inside: Memory[ContentId, ContentId] = Memory(_REMEMBERED)
        """What is in sealed contents."""

    # Writing

    def put(self, source: Source) -> ContentId:
        """Seals content with the running epoch's key, and stores it; a copy that is open stays with the operator.

        Raises:
            KeyMissingError: the key is not here.
        """
        return self._seal(self._opened.put(source), self._current())

    def put_as(self, source: Source, content: ContentId) -> ContentId:
        """Seals content so that it has that id again, with whatever key that takes; as `put` where none does."""
        inside = self._opened.put(source)
        for key in self._known():
            if self._id(inside, key) == content:
                return self._seal(inside, key)
        return self._seal(inside, self._current())

    def seal_to(self, source: Source, path: Path) -> ContentId:
        """Writes content into a file, sealed, and returns the id that it will have once that is put."""
        inside = self._opened.put(source)
        key = self._current()
        with self._opened.path(inside).open("rb") as file, path.open("wb") as sealed:
            stream = sealing(file, inside.size, key)
            while piece := stream.read():
                sealed.write(piece)
        content = ContentId(ContentId.of_file(path).digest, inside.size)
        self._inside.get(content, lambda: inside)
        return content

    def _seal(self, inside: ContentId, key: bytes) -> ContentId:
        with self._opened.path(inside).open("rb") as file:
            sealed = self.outer.put(sealing(file, inside.size, key))
        content = ContentId(sealed.digest, inside.size)
        self._inside.get(content, lambda: inside)
        return content

    def _id(self, inside: ContentId, key: bytes) -> ContentId:
        from galaxy_fl.content.content_id import Hasher

        hasher = Hasher()
        with self._opened.path(inside).open("rb") as file:
            stream = sealing(file, inside.size, key)
            while piece := stream.read():
                hasher.update(piece)
        return ContentId(hasher.finish().digest, inside.size)

    # Reading

    def path(self, content: ContentId) -> Path:
        """The file of what is in content.

        Raises:
            ContentMissingError, ContentAlteredError: it is unavailable, or is not what was sealed with any of the keys.
            KeyMissingError: it opens with no key that is here, but there are others.
        """
        inside = self._inside.get(content, lambda: self._open(content))
        try:
            return self._opened.path(inside)
        except (ContentMissingError, ContentAlteredError):  # somebody has tidied up
            return self._opened.path(self._open(content))

    def get(self, content: ContentId, start: int = 0, stop: int | None = None) -> bytes:
        self.path(content)
        return self._opened.get(self._inside.get(content, lambda: self._open(content)), start, stop)

    def _open(self, content: ContentId) -> ContentId:
        path = self.outer.path(_sealed(content))
        keys = self._known()
        for key in keys:
            with path.open("rb") as file:
                try:
                    return self._opened.put(opening(file, content.size, key))
                except NotSealedSo:
                    continue
        if (error := self._missing()) is not None:
            raise error
        raise ContentAlteredError(
            f"{_sealed(content).cid} opens with none of the {len(keys)} keys of its job: whoever put it has not sealed "
            "it, or sealed something else; nobody can read it"
        )

    def block(self, digest: bytes) -> bytes:
        return self.outer.block(digest)

    def probe(self, digest: bytes) -> None:
        self.outer.probe(digest)

    def identify(self, cid: str) -> ContentId:
        return self.outer.identify(cid)

    def has(self, content: ContentId) -> bool:
        return self.outer.has(_sealed(content))

    def reaches(self, content: ContentId) -> bool:
        return self.outer.reaches(_sealed(content))

    # Keeping

    def pin(self, content: ContentId) -> None:
        self.outer.pin(_sealed(content))

    def unpin(self, content: ContentId) -> None:
        self.outer.unpin(_sealed(content))

    def pins(self) -> frozenset[str]:
        """The ids that are pinned, in both spellings: which one an id here has depends on another size."""
        digests = [parse(cid)[0] for cid in self.outer.pins()]
        return frozenset(spelled(bytes((1, codec, 0x12, 32)) + digest) for digest in digests for codec in Codec)

    def gc(self, grace_seconds: float = 3600.0) -> GcReport:
        return self.outer.gc(grace_seconds)

    def verify(self) -> Iterator[tuple[str, ContentError | None]]:
        return self.outer.verify()

    def contents(self) -> Iterator[tuple[str, int]]:
        return self.outer.contents()


def put_as(store: Store, source: Source, content: ContentId) -> ContentId:
    """Puts content again that was made again, so that it has its id again where it is sealed, too."""
    return store.put_as(source, content) if isinstance(store, SealedStore) else store.put(source)


def _sealed(content: ContentId) -> ContentId:
    """The id that sealed content has in the store where it is."""
    return ContentId(content.digest, sealed_size(content.size))
