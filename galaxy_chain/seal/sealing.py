"""How content is sealed with a job's content key (protocol section 10).

    header     32 bytes    HMAC-SHA256(content key, "galaxy seal" || sha256(plaintext))
    records                AES-256-GCM of 65,536 bytes of plaintext each, the last of what is left, and its tag

The same plaintext is the same file under the same key, because whoever recomputes a model has to heal it under its id.
Nothing is encrypted twice by one nonce all the same: a file's key follows from its header, and that from all of its
plaintext. The header is looked at again once all is decrypted, so no file opens under two content keys, which AES-GCM
alone would not prevent.
"""

from __future__ import annotations

import hashlib
import hmac
import io
from collections.abc import Iterator
from typing import BinaryIO, cast

__all__ = ["KEY_BYTES", "RECORD", "NotSealedSo", "key_digest", "opening", "sealed_size", "sealing"]

KEY_BYTES = 32
RECORD = 65_536
"""Bytes of plaintext in a record."""
_HEADER = 32
_TAG = 16
_AT_ONCE = 16
"""Records that are handed on at a time."""


class NotSealedSo(Exception):
    """What was to be opened is not sealed with that key, or was cut, extended or altered."""


def key_digest(key: bytes) -> bytes:
    """What a content key is called on the ledger: 32 bytes, which tell nothing of it."""
    return hashlib.sha256(b"galaxy content key" + key).digest()


def sealed_size(size: int) -> int:
    """How many bytes content of so many bytes has once it is sealed."""
    return _HEADER + size + _TAG * _records(size)


def sealing(file: BinaryIO, size: int, key: bytes) -> BinaryIO:
    """A stream of what a file becomes under a content key; memory does not grow with it.

    Args:
        file: The plaintext, which is read twice, from its beginning.
        size: Its bytes.
        key: The content key.

    Raises:
        ValueError: as the stream is read, and before its end: the file was changed meanwhile. What was read of the
            stream must not be used then: two texts would be encrypted by the same nonces.
    """
    return cast(BinaryIO, _Stream(_sealed(file, size, key)))


def opening(file: BinaryIO, size: int, key: bytes) -> BinaryIO:
    """A stream of what a sealed file has in it; whoever keeps what comes before the end throws it away on an error.

    Args:
        file: What is sealed, read from where it stands.
        size: The bytes of the plaintext.
        key: The content key.

    Raises:
        NotSealedSo: as the stream is read: it is not what that key has sealed.
    """
    return cast(BinaryIO, _Stream(_opened(file, size, key)))


def _sealed(file: BinaryIO, size: int, key: bytes) -> Iterator[bytes]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    file.seek(0)
    first = hashlib.sha256()
    while piece := file.read(RECORD * _AT_ONCE):
        first.update(piece)
    digest = first.digest()
    file.seek(0)
    header, hasher = _header(key, digest), hashlib.sha256()
    cipher, associated = AESGCM(_file_key(key, header)), _associated(header, size)
    batch = [header]
    for number, length in _lengths(size):
        text = file.read(length)
        hasher.update(text)
        batch.append(cipher.encrypt(_nonce(number), text, associated))
        if number % _AT_ONCE == _AT_ONCE - 1:
            yield b"".join(batch)
            batch.clear()
    if hasher.digest() != digest or file.read(1):
        raise ValueError("the file was changed while it was sealed: nothing of it is kept; seal it again")
    yield b"".join(batch)


def _opened(file: BinaryIO, size: int, key: bytes) -> Iterator[bytes]:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    header, hasher = file.read(_HEADER), hashlib.sha256()
    if len(header) != _HEADER:
        raise NotSealedSo("it is shorter than a header")
    cipher, associated = AESGCM(_file_key(key, header)), _associated(header, size)
    for number, length in _lengths(size):
        try:
            text = cipher.decrypt(_nonce(number), file.read(length + _TAG), associated)
        except (InvalidTag, ValueError) as error:
            raise NotSealedSo(f"its record {number} does not open") from error
        hasher.update(text)
        yield text
    if file.read(1) or not hmac.compare_digest(header, _header(key, hasher.digest())):
        raise NotSealedSo("its header is not that of what it has in it")


def _records(size: int) -> int:
    return max(1, -(-size // RECORD))


def _lengths(size: int) -> Iterator[tuple[int, int]]:
    """The number of each record, and its bytes of plaintext; of nothing there is one, so that it has a tag."""
    for number in range(_records(size)):
        yield number, min(RECORD, size - number * RECORD)


def _header(key: bytes, digest: bytes) -> bytes:
    return hmac.digest(key, b"galaxy seal" + digest, "sha256")


def _file_key(key: bytes, header: bytes) -> bytes:
    return hmac.digest(key, b"galaxy seal key" + header, "sha256")


def _associated(header: bytes, size: int) -> bytes:
    return header + size.to_bytes(8)


def _nonce(number: int) -> bytes:
    return number.to_bytes(12)


class _Stream(io.RawIOBase):
    """What an iterator gives, to be read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, size: int = -1) -> bytes:
        """The next piece, however long."""
        return next((piece for piece in self._pieces if piece), b"")
