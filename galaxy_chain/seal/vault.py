"""What an operator keeps of sealed jobs, in folders that nobody else can read.

HOME/keys/member.key             the secret key that content keys are wrapped for, in hexadecimal
HOME/keys/contents/DIGEST.key    content keys that were made here, or read from somebody's file
HOME/opened/                     a store of contents as they are once they are opened
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path

from galaxy_chain.seal.sealing import KEY_BYTES, key_digest
from galaxy_chain.seal.wraps import public_key
from galaxy_fl.content.local import LocalStore
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import explained, make_folder, write_durably

__all__ = ["Vault", "vault_of"]

_PRIVATE = 0o700
_SECRET = re.compile(r"[0-9a-f]{64}")


class Vault:
    """The keys and the opened contents of one operator. All jobs and accounts of a home share them.

    Args:
        home: The operator's folder; nothing is made in it until it is needed.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._keys = home / "keys"
        self._contents = self._keys / "contents"

    @cached_property
    def secret(self) -> bytes:
        """The secret key of this operator, made when it is first asked for.

        Raises:
            ConfigurationError: its file is damaged, or others can read it.
            ContentError: it can't be written.
        """
        path = self._keys / "member.key"
        with explained(f"keep the key {path}"):
            make_folder(self._keys, _PRIVATE)
            if not path.exists():
                from coincurve import PrivateKey

                with suppress(FileExistsError):  # another process of this operator was faster
                    write_durably(path, PrivateKey().secret.hex() + "\n", mode=0o600, exclusive=True)
        return _read(path)

    @cached_property
    def public(self) -> bytes:
        """The public key of this operator: x of its point, 32 bytes."""
        return public_key(self.secret)

    @cached_property
    def opened(self) -> LocalStore:
        """The store of what was opened.

        Raises:
            ContentError: its folder can't be used.
        """
        folder = self.home / "opened"
        with explained(f"keep what is opened in {folder}"):
            make_folder(folder, _PRIVATE)
            os.chmod(folder, _PRIVATE)
        return LocalStore(folder)

    def make(self) -> bytes:
        """A new content key, kept here before anybody is told of it."""
        return self.keep(secrets.token_bytes(KEY_BYTES))

    def keep(self, key: bytes) -> bytes:
        """Keeps a content key, and returns it."""
        path = self._contents / f"{key_digest(key).hex()}.key"
        with explained(f"keep the key {path}"):
            make_folder(self._keys, _PRIVATE)
            make_folder(self._contents, _PRIVATE)
            write_durably(path, key.hex() + "\n", mode=0o600)
        return key

    def find(self, digest: bytes) -> bytes | None:
        """The content key of that digest, None where it is not kept here.

        Raises:
            ConfigurationError: its file is damaged, or others can read it.
        """
        path = self._contents / f"{digest.hex()}.key"
        if not path.exists():
            return None
        key = _read(path)
        if key_digest(key) != digest:
            raise ConfigurationError(f"{path} has another key than its name says: delete it, and ask for it again")
        return key

    def all(self) -> list[bytes]:
        """All content keys that are kept here."""
        found = (self.find(bytes.fromhex(path.stem)) for path in sorted(self._contents.glob("*.key")))
        return [key for key in found if key is not None]

    def read(self, file: Path) -> list[bytes]:
        """Keeps the content keys of a file that somebody has exported; returns them.

        Raises:
            ConfigurationError: it is not one.
        """
        try:
            lines = file.read_text(encoding="ascii").split()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the keys in {file} can't be read: {error}") from error
        if not lines or not all(map(_SECRET.fullmatch, lines)):
            raise ConfigurationError(
                f"{file} is not a file of content keys, one of 64 hexadecimal digits a line: have a member write one "
                "with `galaxy-chain key export`"
            )
        return [self.keep(bytes.fromhex(line)) for line in lines]

    @staticmethod
    def export(keys: Iterable[bytes], file: Path) -> None:
        """Writes content keys into a file that only its owner can read.

        Raises:
            ConfigurationError: it can't be written, or is there already.
        """
        try:
            write_durably(file, "".join(key.hex() + "\n" for key in keys), mode=0o600, exclusive=True)
        except FileExistsError:
            raise ConfigurationError(f"{file} is there already: name a new file for the keys") from None
        except OSError as error:
            raise ConfigurationError(f"the keys can't be written to {file}: {error.strerror}") from error


@cache
def _vault(home: Path) -> Vault:
    return Vault(home)


def vault_of(home: Path) -> Vault:
    """The vault of a home, the same for all participants of a process: what one has verified the others need not."""
    return _vault(home.absolute())


def _read(path: Path) -> bytes:
    """The secret in a file.

    Raises:
        ConfigurationError: it can't be read, is damaged, or others can read it.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the key {path} can't be read: {error}") from error
    if mode & 0o077:
        raise ConfigurationError(f"the key {path} can be read by others (mode {mode & 0o777:o}): chmod 600 it")
    if not _SECRET.fullmatch(text):
        raise ConfigurationError(f"the key {path} is damaged: expected 64 hexadecimal digits; restore it from a backup")
    return bytes.fromhex(text)
