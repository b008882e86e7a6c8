"""Who a cluster's clients are (a name and a secret, of which the server keeps the hash), and which are there."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import explained, is_name, write_durably
from galaxy_fl.modes.cluster.messages import PRESENT, SECRET_PATTERN

__all__ = ["MAX_CLIENTS", "Presence", "Registry"]

MAX_CLIENTS = 10_000
"""Names that one server gives away; no stranger can fill its disk with more."""


class Registry:
    """The registered clients, in `res/clients/<client_id>`.

    Args:
        folder: The working directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "res" / "clients"
        self._registering = threading.Lock()

    def register(self, client_id: str, secret: str) -> None:
        """Gives a name to whoever has the secret; does nothing the second time.

        Raises:
            ConfigurationError: another secret has the name, or there are too many clients.
        """
        with self._registering:
            if not (self._folder / client_id).exists():
                if self._folder.exists() and len(os.listdir(self._folder)) >= MAX_CLIENTS:
                    raise ConfigurationError(f"this server has {MAX_CLIENTS} clients, and takes no more")
                with explained(f"register {client_id}"):
                    write_durably(self._folder / client_id, _hash(secret), aside=self._folder / ".new", mode=0o600)
        if not self.authenticate(f"{client_id}.{secret}"):
            raise ConfigurationError(
                f"the name {client_id!r} is another client's: choose another client_id, or run this client in the "
                "folder where it ran before, which has its secret in res/tokens; if that is lost, the server's "
                f"operator can give the name away again by deleting res/clients/{client_id}"
            )

    def authenticate(self, token: str) -> str | None:
        """Returns the client that a token `<client_id>.<secret>` belongs to; None if it is nobody's."""
        client_id, _, secret = token.rpartition(".")
        if not is_name(client_id) or not re.fullmatch(SECRET_PATTERN, secret):
            return None
        try:
            kept = (self._folder / client_id).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return None
        return client_id if hmac.compare_digest(kept, _hash(secret)) else None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Presence:
    """Which clients of which jobs have been heard of lately. Right after a start everybody counts as there.

    Args:
        clock: Seconds, from 0 or later on, that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._seen: dict[tuple[str, str], float] = {}

    def seen(self, client: str, job: str) -> None:
        """A client of a job was heard of."""
        self._seen[client, job] = self._clock()

    def takes_part_in(self, client: str, jobs: list[str]) -> None:
        """A client was heard of in these jobs, and has left all others."""
        for other in [job for one, job in list(self._seen) if one == client and job not in jobs]:
            self._seen[client, other] = -PRESENT
        for job in jobs:
            self.seen(client, job)

    def is_there(self, client: str, job: str) -> bool:
        """Whether a client of a job is alive, as far as can be known."""
        return self._clock() - self._seen.get((client, job), self._started) < PRESENT

    def anybody_in(self, job: str) -> bool:
        """Whether any client of a job was heard of lately."""
        now = self._clock()
        return any(one == job and now - seen < PRESENT for (_, one), seen in list(self._seen.items()))
