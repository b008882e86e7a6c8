"""A client's connection to a cluster's server: registered, patient, and trusting nothing that comes back."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from galaxy_fl.content.exchange import Exchange
from galaxy_fl.content.remote import Timeouts, Unreachable
from galaxy_fl.exceptions import (
    ConfigurationError,
    ContentAlteredError,
    ContentError,
    ContentMissingError,
    GalaxyError,
    GivenUpError,
    RoundMovedOnError,
    UnreachableError,
)
from galaxy_fl.files import FileLock, explained, write_durably
from galaxy_fl.modes.cluster.messages import (
    LONGEST_WAIT,
    REGISTRATION_VARIABLE,
    SECRET_PATTERN,
    Api,
    Registration,
)
from galaxy_fl.patience import Backoff, Waiting
from galaxy_fl.validation import explain

__all__ = ["PATIENCE", "Connection"]

PATIENCE = 60.0
"""How long a server may be away before a client gives up, in seconds."""
_BACKOFF = Backoff(0.1, 5.0, jitter=0.5)
_JSON = {"Content-Type": "application/json"}

Answer = TypeVar("Answer", bound=BaseModel)
Result = TypeVar("Result")


class _Forgotten(Unreachable):
    """The server does not know this client, or no longer."""


class Connection(Exchange):
    """To one server, as one client. May be used by several threads.

    Args:
        url: The server's.
        client_id: What the client is called there.
        folder: Where the client keeps its secret, in `res/tokens`.
        authority: A certificate to trust, in PEM format; None for the system's.
        patience: How long the server may be away, in seconds.

    Raises:
        ConfigurationError: the authority's file can't be used.
    """

    def __init__(
        self, url: str, client_id: str, folder: Path, authority: Path | None, patience: float = PATIENCE
    ) -> None:
        url = url.rstrip("/")
        try:
            httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"{url!r} is not a URL of a server: {error}") from error
        context: ssl.SSLContext | bool = False  # of no use to http, and slow to make
        if url.startswith("https:"):
            try:
                context = ssl.create_default_context(cafile=authority)
            except OSError as error:  # ssl.SSLError is one
                raise ConfigurationError(f"the authority {authority} can't be used: {error}") from error
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        timeouts = Timeouts(connect=10.0, search=LONGEST_WAIT + 20, restart=patience)
        super().__init__(url, url, timeouts=timeouts, http=httpx.Client(verify=context, limits=limits))
        self.client_id = client_id
        server = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self.folder = folder.absolute()
        self._secret_file = self.folder / "res" / "tokens" / f"{client_id}@{server}"
        self._claim: FileLock | None = None
        self._connecting = threading.Lock()
        self._prefix: str | None = None
        self._authorization: dict[str, str] = {}
        self._registered = True
        """Whether the server may know the secret: as long as nothing says that it does not."""

    def close(self) -> None:
        """Ends it."""
        self._http.close()
        if self._claim is not None:
            self._claim.release()

    # Messages

    def ask(self, kind: type[Answer], target: str, patience: float | None = None) -> Answer:
        """Asks until there is an answer.

        Raises:
            UnreachableError: there was none for too long.
            GalaxyError: the server refused.
        """
        content = self.patiently(lambda: self.answer(self.request("GET", target)), patience)
        return _parsed(kind, self.address(target), content)

    def tell(self, target: str, body: BaseModel, patience: float | None = None) -> None:
        """Tells the server something until it has heard it.

        Raises:
            UnreachableError: it has not for too long.
            GalaxyError: the server refused.
        """
        content = body.model_dump_json().encode()
        self.patiently(lambda: self.answer(self.request("POST", target, headers=_JSON, body=content)), patience)

    def patiently(self, act: Callable[[], Result], patience: float | None = None) -> Result:
        """What `act` returns, called again while the server is away; a client that it has forgotten registers again."""
        waiting = Waiting(self.timeouts.restart if patience is None else patience, _BACKOFF)
        forgotten = False
        while True:
            try:
                return act()
            except Unreachable as error:
                if (forgotten or not isinstance(error, _Forgotten)) and not waiting.pause():
                    raise UnreachableError(
                        f"{self.url} does not answer ({error}): see whether it runs, and whether its address is right; "
                        "what was done is not lost"
                    ) from error
                forgotten = True  # the next attempt registers, and needs no pause

    # Who this client is

    @property
    def writes(self) -> bool:
        """True: the server decides what."""
        return True

    def headers(self, method: str, target: str, writing: bool) -> Mapping[str, str]:
        """The client's token. Before the first request the client learns where the API is, and registers, once."""
        with self._connecting:
            if self._prefix is None:
                self._prefix = self._find_prefix()
            if not self._authorization:
                secret = self._secret()
                if not self._registered:
                    self._register(secret)
                    self._registered = True
                self._authorization = {"Authorization": f"Bearer {self.client_id}.{secret}"}
            return self._authorization

    def address(self, target: str) -> str:
        """The URL below the API's prefix."""
        return f"{self.url}{self._prefix or ''}{target}"

    def _find_prefix(self) -> str:
        request = self._http.build_request("GET", f"{self.url}/", timeout=self.timeouts.search)
        api = _parsed(Api, self.url, self.answer(self._http.send(request, stream=True)))
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+)*", api.api):
            raise UnreachableError(f"{self.url} tells the API's prefix {api.api!r}, which is none")
        return api.api

    def _register(self, secret: str) -> None:
        token = os.environ.get(REGISTRATION_VARIABLE) or None
        body = Registration(client_id=self.client_id, secret=secret, registration_token=token)
        content = body.model_dump_json().encode()
        request = self._http.build_request("POST", self.address("/clients"), content=content, headers=_JSON)
        self.answer(self._http.send(request, stream=True))

    def _secret(self) -> str:
        """This client's secret for this server, kept before it is told: a registration that is cut can be repeated."""
        if self._claim is None:
            self._claim = FileLock.claim(
                self._secret_file.with_name(f"{self._secret_file.name}.lock"),
                f"another program of this folder is client {self.client_id!r} of {self.url}: stop it, or choose "
                "another client_id",
            )
        try:
            secret = self._secret_file.read_text(encoding="ascii")
        except FileNotFoundError:
            self._registered = False
            secret = secrets.token_urlsafe(32)
            with explained("keep this client's secret"):
                write_durably(self._secret_file, secret, mode=0o600)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self._secret_file} can't be read: {error}") from error
        if not re.fullmatch(SECRET_PATTERN, secret):
            raise ConfigurationError(f"{self._secret_file} is not a client's secret: delete it and register again")
        return secret

    # Answers

    def unreachable(self, error: httpx.TransportError) -> Unreachable:
        """The error that the server can't be reached at the moment.

        Raises:
            ConfigurationError: it never will, because its certificate is not trusted.
        """
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise ConfigurationError(
                f"the server's certificate is not trusted ({error}): set authority to the certificate of its signer"
            ) from error
        return super().unreachable(error)

    def given_up(self, message: str) -> GalaxyError:
        """The error of a cluster's server that is not one, or keeps breaking off."""
        return UnreachableError(message)

    def refusal(self, response: httpx.Response, kind: str, detail: str) -> Exception:
        """The error for a refusal."""
        status, message = response.status_code, f"{self.url}: {detail}"
        registering = "authorization" not in response.request.headers
        if status == 401 and not registering:
            self._authorization, self._registered = {}, False
            return _Forgotten(detail)
        match kind:
            case "round_moved_on":
                return RoundMovedOnError(message)
            case "given_up":
                return GivenUpError(message)
            case "not_found":
                return ContentMissingError(message)
            case "damaged":
                return ContentError(message)
            case "altered":
                return ContentAlteredError(message)
        if status >= 500 or status == 429:
            return Unreachable(detail)
        if kind:
            return ConfigurationError(message)
        return UnreachableError(f"{message}: it does not answer like a Galaxy server; is its address right?")


def _parsed(kind: type[Answer], url: str, content: bytes) -> Answer:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise UnreachableError(
            f"{url} does not answer like a Galaxy server of this version ({explain(error)[:500]}): is that its address?"
        ) from error
