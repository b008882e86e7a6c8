"""A store whose contents are sealed: what is put is sealed, and what is read is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from galaxy_chain.exceptions import KeyMissingError
from galaxy_chain.following.history import JobHistory
from galaxy_chain.seal.job_keys import JobKeys
from galaxy_chain.seal.sealing import NotSealedSo, opening, sealed_size, sealing
from galaxy_chain.seal.vault import Vault, vault_of
from galaxy_chain.verify.memory import Memory
from galaxy_fl.content.content_id import Codec, ContentId, Hasher, parse, spelled
from galaxy_fl.content.store import GcReport, Source, Store
from galaxy_fl.exceptions import ConfigurationError, ContentAlteredError, ContentError, ContentMissingError
from galaxy_fl.jobs.document import JobDocument

__all__ = ["Keys", "OneKey", "SealedStore", "contents_of", "put_as"]

_REMEMBERED = 100_000
"""Contents of which it is remembered what they are when they are open."""


class Keys(Protocol):
    """The keys of a job, as far as they are here; `JobKeys` and `OneKey`."""

    @property
    def vault(self) -> Vault:
        """Where what is opened is kept."""

    def current(self) -> bytes:
        """The key that content is sealed with.

        Raises:
            KeyMissingError: it is not here.
        """

    def known(self) -> list[bytes]:
        """All that are here, the one to be tried first in front."""

    def lacking(self) -> list[int]:
        """The epochs whose keys are not here."""

    def missing(self) -> KeyMissingError:
        """What to say of those."""


@dataclass(frozen=True)
class OneKey:
    """The one key of a job that is not registered yet."""

    vault: Vault
    key: bytes

    def current(self) -> bytes:
        """The key."""
        return self.key

    def known(self) -> list[bytes]:
        """The key."""
        return [self.key]

    def lacking(self) -> list[int]:
        """No epoch."""
        return []

    def missing(self) -> KeyMissingError:
        """What to say where content does not open with it, which is for nobody to hear."""
        return KeyMissingError("content opens with another key than that of a job that is not registered yet")


class SealedStore:
    """A `Store` whose contents only those can read who have the key.

    Its ids have the digest of what is sealed and the size of what is in it. What was opened is kept in a store of the
    operator's own. Blocks, which are job documents and sources, are not sealed.

    Args:
        outer: Where the sealed contents are.
        keys: Those of the job.
    """

    def __init__(self, outer: Store, keys: Keys) -> None:
        self.outer = outer
        self.keys = keys
        self._opened = keys.vault.opened
        self._inside: Memory[ContentId, ContentId] = Memory(_REMEMBERED)
        """What is in sealed contents."""

    # Writing

    def put(self, source: Source) -> ContentId:
        """Seals content with the running epoch's key, and stores it; a copy that is open stays with the operator.

        Raises:
            KeyMissingError: the key is not here.
        """
        return self._seal(self._opened.put(source), self.keys.current())

    def put_as(self, source: Source, content: ContentId) -> ContentId:
        """Seals content so that it has that id again, with whatever key that takes; as `put` where none does."""
        inside = self._opened.put(source)
        for key in self.keys.known():
            if self._id(inside, key) == content:
                return self._seal(inside, key)
        return self._seal(inside, self.keys.current())

    def seal_to(self, source: Source, path: Path) -> ContentId:
        """Writes content into a file, sealed, and returns the id that it will have once that is put."""
        inside = self._opened.put(source)
        key = self.keys.current()
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
        keys = self.keys.known()
        for key in keys:
            with path.open("rb") as file:
                try:
                    return self._opened.put(opening(file, content.size, key))
                except NotSealedSo:
                    continue
        if self.keys.lacking():
            raise self.keys.missing()
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

    def pin(self, *contents: ContentId) -> None:
        self.outer.pin(*map(_sealed, contents))

    def unpin(self, *contents: ContentId) -> None:
        self.outer.unpin(*map(_sealed, contents))

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


def contents_of(
    store: Store, document: JobDocument, job: int, home: Path | None, history: Callable[[], JobHistory]
) -> Store:
    """The store as a participant of a job uses it for models, updates and partial sums.

    Args:
        store: Where they are.
        document: The job's, which says whether they are sealed.
        job: Its number.
        home: The participant's folder, with its keys.
        history: Says what the job's events say by now.

    Raises:
        ConfigurationError: the job is sealed, and there is no folder.
    """
    if document.seal is None:
        return store
    if home is None:
        raise ConfigurationError(f"job {job} is sealed: name a folder for its keys and what is opened with them (home)")
    return SealedStore(store, JobKeys(vault_of(home), history))


def put_as(store: Store, source: Source, content: ContentId) -> ContentId:
    """Puts content again that was made again, so that it has its id again where it is sealed, too."""
    return store.put_as(source, content) if isinstance(store, SealedStore) else store.put(source)


def _sealed(content: ContentId) -> ContentId:
    """The id that sealed content has in the store where it is."""
    return ContentId(content.digest, sealed_size(content.size))
