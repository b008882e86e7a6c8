"""Decides which model sources may run here. A model that brings its source is a program, and nobody's runs unasked.

What is trusted: source that lies in this client's own folder; source by its digest; jobs of an owner on a ledger, by
address; jobs of a server, by URL. Entries come from GALAXY_TRUST (with commas between) and `trust` in galaxy.toml.
What they do not decide is asked on the terminal, if there is one.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from galaxy_fl.content.content_id import ContentId
from galaxy_fl.exceptions import ConfigurationError, UntrustedModelError
from galaxy_fl.jobs.document import SourceModel, source_id
from galaxy_fl.rounds.coordinator import Origin
from galaxy_fl.settings_file import SETTINGS_FILE, read_settings_file

__all__ = ["TRUST_VARIABLE", "Ask", "Trust", "ask_on_terminal"]

TRUST_VARIABLE = "GALAXY_TRUST"

Ask = Callable[[str, bytes], bool]
"""Takes a question about some source, which it may show; returns whether that may run."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_asking = threading.Lock()


class Trust:
    """What an operator trusts.

    Args:
        entries: sha256 digests of sources (64 hexadecimal digits, or `bafkrei…`), addresses of owners (0x and 40
            hexadecimal digits), and URLs of servers (http or https).
        ask: Decides what the entries don't; None where there is nobody to ask.
        folder: The operator's own folder, whose `*.py` files need no trust.

    Raises:
        ConfigurationError: an entry is none of these.
    """

    def __init__(self, entries: Iterable[str] = (), ask: Ask | None = None, folder: Path = Path()) -> None:
        self._entries = frozenset(map(_entry, entries))
        self._ask = ask
        self._folder = folder
        self._allowed: set[str] = set()

    @classmethod
    def load(cls, more: Iterable[str] = ()) -> Trust:
        """What GALAXY_TRUST, galaxy.toml and `more` say; asks on the terminal if there is one.

        Raises:
            ConfigurationError: the file can't be read, or an entry means nothing.
        """
        from_environment = [one.strip() for one in os.environ.get(TRUST_VARIABLE, "").split(",")]
        entries = [*filter(None, from_environment), *_from_file(SETTINGS_FILE), *more]
        terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
        return cls(entries, ask_on_terminal if terminal else None)

    def names(self, name: str) -> bool:
        """Whether an owner's address or a server's URL is trusted by name."""
        try:
            return _entry(name) in self._entries
        except ConfigurationError:
            return False  # a folder's name, which nobody can list

    def check(self, model: SourceModel, source: bytes, origin: Origin) -> None:
        """Makes sure that a job's model may run here.

        Raises:
            UntrustedModelError: it may not; says what to set.
        """
        digest = source_id(source)
        if digest != model.source:
            raise UntrustedModelError(f"the source of {model.class_name} is {digest}, but the job names {model.source}")
        if origin.own or digest in self._entries | self._allowed or self.names(origin.name) or self._has(source):
            return
        with _asking:
            if digest in self._allowed:
                return
            question = f"The job of {origin.name} brings a program: class {model.class_name}, {len(source)} bytes."
            if self._ask is not None and self._ask(question, source):
                self._allowed.add(digest)
                return
        raise UntrustedModelError(
            f"the source of the model {model.class_name} comes from {origin.name}, which is not trusted here, so it "
            f"was not run. To trust this one source, set {TRUST_VARIABLE}={digest}; to trust all jobs from there, set "
            f'{TRUST_VARIABLE}={origin.name} (several with commas between; or trust = ["…"] in {SETTINGS_FILE}); or '
            "put the same file into this folder"
        )

    def _has(self, source: bytes) -> bool:
        """Whether a Python file of the folder has the same bytes."""
        for path in self._folder.glob("*.py"):
            try:
                if path.stat().st_size == len(source) and path.read_bytes() == source:
                    return True
            except OSError:
                continue  # it is not readable, or just gone: then it is nobody's consent
        return False


def ask_on_terminal(question: str, source: bytes) -> bool:
    """Asks whether to run some source: y is yes, s shows it and asks again, everything else is no."""
    print(question, flush=True)
    while True:
        try:
            answer = input("Run it on this machine? [y = yes, n = no, s = show the source] ").strip().lower()
        except EOFError:
            return False
        if answer not in ("s", "show"):
            return answer in ("y", "yes")
        # Control characters of a terminal could show another program than the one that runs.
        text = source.decode("utf-8", "backslashreplace")
        print("".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text), flush=True)


def _entry(text: str) -> str:
    """What is trusted, in the one spelling that is compared."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return ContentId(bytes.fromhex(text), 0).cid
    if re.fullmatch(r"bafkrei[a-z2-7]{52}", text):
        return text
    if re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        return text.lower()
    if text.lower().startswith(("http://", "https://")):
        return _url(text)
    raise ConfigurationError(
        f"{text!r} can't be trusted, because it is not a digest of a source (64 hexadecimal digits or "
        "bafkrei…), an address (0x and 40 hexadecimal digits) or a URL (http://… or https://…)"
    )


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a URL: {error}") from error
    if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigurationError(f"{text!r}: a server's URL is scheme, host, port and path, such as https://host:9763")
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"


def _from_file(path: Path) -> list[str]:
    found = read_settings_file(path).get("trust", [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ConfigurationError(f'{path}: trust is {found!r}, expected a list of texts, trust = ["…", "…"]')
    return found
