"""The entries that a client has signed, on disk before anybody gets them: it never signs two for one attempt."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationError

from galaxy_chain.lane.messages import SignedUpdate
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import make_folder, write_durably

__all__ = ["KeptEntries"]

_NAME = re.compile(r"([0-9]{1,10})-[0-9a-f]{64}\.json")


class KeptEntries:
    """What one client of one job has signed, a file for an attempt and the model that it was on.

    A reorganisation may bring an attempt's number again on another model: that is another attempt, and a signature for
    the one is worth nothing for the other.

    Args:
        folder: Of this client in this job.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, attempt: int, model: bytes) -> SignedUpdate | None:
        """What was signed for an attempt on the model with that root.

        Raises:
            ConfigurationError: the file can't be read: something was signed, and nobody knows what.
        """
        path = self._path(attempt, model)
        try:
            return SignedUpdate.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise ConfigurationError(
                f"{path} can't be read, so that nobody knows what this client has signed for attempt {attempt}: wait "
                "for the next attempt, or remove the file and have the client send its own transaction (--lane direct)"
            ) from error

    def keep(self, attempt: int, signed: SignedUpdate) -> SignedUpdate:
        """Keeps what is about to be handed in, durably, and returns what counts: what another process of this client
        has kept a moment before, where there is one."""
        make_folder(self._folder, 0o700)
        model = bytes.fromhex(signed.model)
        try:
            write_durably(self._path(attempt, model), signed.model_dump_json(), mode=0o600, exclusive=True)
        except FileExistsError:
            return self.find(attempt, model) or signed
        return signed

    def forget(self, attempt: int) -> None:
        """Deletes what is of attempts up to that one, which no reorganisation brings again."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if (match := _NAME.fullmatch(path.name)) and int(match[1]) <= attempt:
                    path.unlink(missing_ok=True)

    def _path(self, attempt: int, model: bytes) -> Path:
        return self._folder / f"{attempt}-{model.hex()}.json"
