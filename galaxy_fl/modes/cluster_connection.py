"""A client's connection to a cluster's server: registered, patient, and trusting nothing that comes back."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

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
from galaxy_fl.jobs.document import MAX_BYTES
from galaxy_fl.modes.cluster_api import LONGEST_WAIT, REGISTRATION_VARIABLE, SECRET_PATTERN, Api, Problem, Registration
from galaxy_fl.patience import Backoff, Waiting
from galaxy_fl.rounds.kept import digest_of
from galaxy_fl.validation import explain
from galaxy_fl.vectors import Vector

__all__ = ["PATIENCE", "Connection"]

PATIENCE = 60.0
"""How long a server may be away before a client gives up, in seconds."""
_BACKOFF = Backoff(0.1, 5.0, jitter=0.5)
_PIECE = 1 << 18
_MOST_JSON = 1 << 20

Answer = TypeVar("Answer", bound=BaseModel)


class _AwayError(Exception):
    """The server does not answer now."""


class _ForgottenError(_AwayError):
    """The server does not know this client, or no longer."""


class Connection:
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
        self.url = url.rstrip("/")
        self.client_id = client_id
        self.patience = patience
        server = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self.folder = folder.absolute()
        self._secret_file = self.folder / "res" / "tokens" / f"{client_id}@{server}"
        self._claim: FileLock | None = None
        self._connecting = threading.Lock()
        self._prefix: str | None = None
        self._authorization: dict[str, str] = {}
        self._registered = True
        """Whether the server may know the secret: as long as nothing says that it does not."""
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"{url!r} is no URL of a server: {error}") from error
        context: ssl.SSLContext | bool = False  # of no use to http, and slow to make
        if self.url.startswith("https:"):
            try:
                context = ssl.create_default_context(cafile=authority)
            except OSError as error:  # ssl.SSLError is one
                raise ConfigurationError(f"the authority {authority} can't be used: {error}") from error
        timeout = httpx.Timeout(30.0, read=LONGEST_WAIT + 20, connect=10.0, pool=None)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self._http = httpx.Client(verify=context, timeout=timeout, limits=limits, follow_redirects=False)

    def close(self) -> None:
        """Ends it."""
        self._http.close()
        if self._claim is not None:
            self._claim.release()

    # Messages

    def ask(
        self,
        kind: type[Answer],
        method: str,
        path: str,
        body: BaseModel | None = None,
        patience: float | None = None,
        **query: str | int,
    ) -> Answer:
        """Asks until there is an answer.

        Raises:
            UnreachableError: there was none for too long.
            GalaxyError: the server refused.
        """
        return _parsed(
            kind, self._url_of(path), self._patiently(lambda: self._message(method, path, body, query), patience)
        )

    def tell(self, method: str, path: str, body: BaseModel, patience: float | None = None) -> None:
        """Says something until it is heard.

        Raises:
            UnreachableError: it was not for too long.
            GalaxyError: the server refused.
        """
        self._patiently(lambda: self._message(method, path, body, {}), patience)

    def small(self, path: str) -> bytes:
        """A document or a source.

        Raises:
            UnreachableError, GalaxyError: as above.
            ContentAlteredError: it is longer than those are.
        """
        content = self._patiently(lambda: self._message("GET", path, None, {}))
        if len(content) > MAX_BYTES:
            raise ContentAlteredError(f"{self._url_of(path)} is longer than {MAX_BYTES} bytes")
        return content

    def _message(self, method: str, path: str, body: BaseModel | None, query: dict[str, str | int]) -> bytes:
        content = None if body is None else body.model_dump_json().encode()
        try:
            self._connect()
            headers = self._authorization | ({} if body is None else {"Content-Type": "application/json"})
            with self._http.stream(
                method, self._url_of(path), params=query, content=content, headers=headers
            ) as response:
                return self._checked(response)
        except httpx.TransportError as error:
            raise _away(error) from error

    def _patiently(self, act: Callable[[], bytes], patience: float | None = None) -> bytes:
        waiting = Waiting(self.patience if patience is None else patience, _BACKOFF)
        forgotten = False
        while True:
            try:
                return act()
            except _AwayError as error:
                if forgotten or not isinstance(error, _ForgottenError):
                    self._pause(waiting, error)
                forgotten = True  # the next attempt registers, and needs no pause

    def _pause(self, waiting: Waiting, error: Exception) -> None:
        if not waiting.pause():
            raise UnreachableError(
                f"{self.url} does not answer ({str(error) or type(error).__name__}): see whether it runs, and whether "
                "its address is right; what was done is not lost"
            ) from error

    # Who this client is

    def _connect(self) -> None:
        """Learns where the API is, and registers, once."""
        with self._connecting:
            if self._prefix is None:
                self._prefix = self._find_prefix()
            if not self._authorization:
                secret = self._secret()
                if not self._registered:
                    self._register(secret)
                    self._registered = True
                self._authorization = {"Authorization": f"Bearer {self.client_id}.{secret}"}

    def _find_prefix(self) -> str:
        with self._http.stream("GET", f"{self.url}/") as response:
            api = _parsed(Api, self.url, self._checked(response, register=False))
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+)*", api.api):
            raise UnreachableError(f"{self.url} tells the API's prefix {api.api!r}, which is none")
        return api.api

    def _register(self, secret: str) -> None:
        body = Registration(
            client_id=self.client_id,
            secret=secret,
            registration_token=os.environ.get(REGISTRATION_VARIABLE) or None,
        )
        with self._http.stream(
            "POST",
            self._url_of("clients"),
            content=body.model_dump_json().encode(),
            headers={"Content-Type": "application/json"},
        ) as response:
            self._checked(response, register=False)

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
            raise ConfigurationError(f"{self._secret_file} is no secret of a client: delete it and register again")
        return secret

    # Answers

    def _checked(self, response: httpx.Response, register: bool = True) -> bytes:
        """The body of a success."""
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > _MOST_JSON:
                raise UnreachableError(
                    f"{response.url} answers with more than {_MOST_JSON} bytes: it is no Galaxy server"
                )
        if response.is_success:
            return bytes(body)
        try:
            problem = Problem.model_validate_json(body)
        except ValidationError:
            problem = Problem(error="", message=f"status {response.status_code}")
        if response.status_code == 401 and register:
            self._authorization, self._registered = {}, False
            raise _ForgottenError(problem.message)
        if (response.status_code >= 500 and problem.error != "damaged") or problem.error in ("busy", "silence"):
            raise _AwayError(problem.message)
        raise self._error(response.status_code, problem)

    def _error(self, status: int, problem: Problem) -> GalaxyError:
        message = f"{self.url}: {problem.message[:1000]}"
        if problem.error == "round_moved_on":
            return RoundMovedOnError(message)
        if problem.error == "given_up":
            return GivenUpError(message)
        if problem.error == "not_found":
            return ContentMissingError(message)
        if problem.error == "damaged":
            return ContentError(message)
        if problem.error in ("altered", "offset", "handed_in"):
            return ContentAlteredError(message)
        if problem.error:
            return ConfigurationError(message)
        return UnreachableError(f"{message}: it does not answer like a Galaxy server; is its address right?")

    def _url_of(self, path: str) -> str:
        return f"{self.url}{self._prefix or ''}/{path}"

    # Vectors

    def download(self, path: str, destination: Path, length: int, sha256: str) -> None:
        """Fetches a vector, going on where a connection broke.

        Raises:
            UnreachableError: the server was away for too long.
            ContentAlteredError: it is not what was asked for, twice.
            GalaxyError: the server refused.
        """
        new = destination.with_suffix(".part")
        for _ in range(2):
            new.unlink(missing_ok=True)
            self._fetch(path, new, length)
            if (found := digest_of(new)) == sha256:
                os.replace(new, destination)
                return
        raise ContentAlteredError(f"{self._url_of(path)} gives bytes of the SHA-256 {found}, expected {sha256}, twice")

    def _fetch(self, path: str, new: Path, length: int) -> None:
        waiting = Waiting(self.patience, _BACKOFF)
        with new.open("wb") as file:
            while file.tell() < length:
                begin = file.tell()
                try:
                    self._connect()
                    headers = self._authorization | {"Range": f"bytes={begin}-", "Accept-Encoding": "identity"}
                    with self._http.stream("GET", self._url_of(path), headers=headers) as response:
                        if not response.is_success:
                            self._checked(response)
                        if begin and not response.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
                            file.seek(0)
                            file.truncate()
                        for piece in response.iter_raw(_PIECE):
                            if file.tell() + len(piece) > length:
                                raise ContentAlteredError(f"{self._url_of(path)} is longer than {length} bytes")
                            file.write(piece)
                            waiting.progress()
                    if file.tell() < length:
                        raise _AwayError("it ended early")
                except httpx.TransportError as error:
                    self._pause(waiting, _away(error))
                except _AwayError as error:
                    self._pause(waiting, error)

    def upload(self, path: str, vector: Vector, arrived: Callable[[], int]) -> None:
        """Sends a vector, going on where a connection broke.

        Args:
            arrived: Asks the server how many bytes it has.

        Raises:
            UnreachableError: the server was away for too long.
            GalaxyError: the server refused.
        """
        waiting = Waiting(self.patience, _BACKOFF)
        content = vector.data.cast("B")
        begin = arrived()
        while begin < len(content):
            trouble: Exception = _AwayError("it keeps nothing of what it is sent")
            try:
                self._put(path, content, begin)
            except httpx.TransportError as error:
                trouble = _away(error)
            except (_AwayError, ContentAlteredError) as error:  # where it is to go on is asked below
                trouble = error
            before, begin = begin, arrived()
            if begin > before:
                waiting.progress()
            else:
                self._pause(waiting, trouble)

    def _put(self, path: str, content: memoryview, begin: int) -> None:
        self._connect()
        headers = self._authorization | {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(content) - begin),
        }
        pieces, query = _pieces(content, begin), {"offset": begin}
        with self._http.stream("PUT", self._url_of(path), params=query, content=pieces, headers=headers) as response:
            self._checked(response)


def _away(error: httpx.TransportError) -> _AwayError:
    """That the server does not answer now.

    Raises:
        ConfigurationError: it never will, for its certificate is not trusted.
    """
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        raise ConfigurationError(
            f"the server's certificate is not trusted ({error}): set authority to the certificate of whoever signed it"
        ) from error
    return _AwayError(str(error) or type(error).__name__)


def _parsed(kind: type[Answer], url: str, content: bytes) -> Answer:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise UnreachableError(
            f"{url} does not answer like a Galaxy server of this version ({explain(error)[:500]}): is that its address?"
        ) from error


def _pieces(content: memoryview, begin: int) -> Iterator[bytes]:
    for start in range(begin, len(content), _PIECE):
        yield bytes(content[start : start + _PIECE])
