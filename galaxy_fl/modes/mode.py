"""What a mode is: a way to submit jobs, and places where clients and servers find them.

`galaxy_fl` has two, standalone and cluster. Other packages add theirs by an entry point of the group `galaxy_fl.modes`,
or hand over an object with the methods of `Mode`, such as `galaxy_chain.Ledger`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable
from urllib.parse import urlsplit

from galaxy_fl.content.store import Store
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.jobs.request import JobRequest
from galaxy_fl.jobs.start import Start
from galaxy_fl.rounds.coordinator import ClientCoordinator, ServerCoordinator

__all__ = [
    "At",
    "ClientPlace",
    "HasModels",
    "HostsClients",
    "Mode",
    "OpensStores",
    "ServerPlace",
    "find_mode",
    "further_sources",
    "meeting",
    "places_of",
]


class ClientPlace(Protocol):
    """Where a client finds jobs."""

    @property
    def name(self) -> str:
        """Name to show: a folder, a URL, a ledger."""

    def jobs(self) -> Sequence[str]:
        """Return the ids of the jobs that its user has named, or of those that are not over, oldest first.

        Raises:
            GalaxyError: the place can't be reached now; asked again later.
        """

    def open(self, job_id: str) -> ClientCoordinator:
        """Open a job to take part in.

        Raises:
            GalaxyError: taking part in it is impossible.
        """

    def close(self) -> None:
        """Leave the place."""


class ServerPlace(Protocol):
    """Where a server finds jobs."""

    @property
    def name(self) -> str:
        """Name to show."""

    def jobs(self) -> Sequence[str]:
        """Return the ids of all jobs that this server serves, also of those that are over, oldest first."""

    def open(self, job_id: str) -> ServerCoordinator:
        """Open a job to serve.

        Raises:
            GalaxyError: serving it is impossible.
        """

    def close(self) -> None:
        """Leave the place."""


@runtime_checkable
class Mode(Protocol):
    """A way to meet. `settings` are a mode's own; an unknown one is a ConfigurationError."""

    def submit(self, request: JobRequest, **settings: Any) -> str:
        """Submit a job and return its id there."""

    def client_places(self, client_id: str, **settings: Any) -> Sequence[ClientPlace]:
        """Return the places that a client looks for jobs in."""

    def server_place(self, **settings: Any) -> ServerPlace:
        """Return the place that a server serves."""


@runtime_checkable
class HostsClients(Protocol):
    """A mode in which one program may be several clients."""

    def places_of(self, client_ids: Sequence[str], **settings: Any) -> Sequence[Sequence[ClientPlace]]:
        """Return for each of the clients the places that it looks for jobs in, which share what they can.

        Raises:
            ConfigurationError: the settings are not those of so many clients.
        """


@runtime_checkable
class HasModels(Protocol):
    """A mode that has the models of its jobs, for another job to begin with."""

    def model_of(self, job_id: str, round: str, **settings: Any) -> Start:
        """Return the model after a round, a number or `last`, verified.

        Raises:
            GalaxyError: there is no such job or round, or its model can't be had.
        """


@runtime_checkable
class OpensStores(Protocol):
    """A mode whose package has stores of its own."""

    def open_store(self, folder: Path, ipfs: str | None, gateways: Sequence[str]) -> Store:
        """Return the store in `folder`, with an IPFS node (its RPC's URL) and gateways behind it."""


def further_sources(ipfs: str | None, gateways: Sequence[str]) -> Callable[[Path], Store] | None:
    """Return what opens a store with these sources behind a folder; None where none is named.

    Raises:
        ConfigurationError: a URL is none, or no package that knows IPFS is installed.
    """
    if ipfs is None and not gateways:
        return None
    from galaxy_fl.content.remote import check_url  # which loads httpx

    for url in (*([] if ipfs is None else [ipfs]), *gateways):
        check_url(url, "an IPFS node or a gateway")
    for entry in entry_points(group="galaxy_fl.modes"):
        if not entry.value.startswith("galaxy_fl.") and isinstance(mode := entry.load(), OpensStores):
            return lambda folder: mode.open_store(folder, ipfs, gateways)
    raise ConfigurationError("ipfs and gateway are sources of galaxy_chain: install it, or leave them out")


def places_of(mode: Mode, client_ids: Sequence[str], **settings: Any) -> Sequence[Sequence[ClientPlace]]:
    """Return for each of some clients the places that it looks for jobs in.

    Raises:
        ConfigurationError: a setting is wrong, or the mode can't host several clients in one program.
    """
    if isinstance(mode, HostsClients):
        return mode.places_of(client_ids, **settings)
    if len(client_ids) > 1:
        raise ConfigurationError(
            f"{len(client_ids)} clients are to take part in {mode}, which takes one client at a time: give each a "
            "program of its own"
        )
    return [mode.client_places(client_id, **settings) for client_id in client_ids]


At: TypeAlias = str | os.PathLike[str] | Mode | None
"""Where participants meet: a folder (None for the working directory), a cluster's server by its URL, or a mode."""


def find_mode(name: str) -> Mode:
    """Return the mode of that name: `standalone`, `cluster`, or one that another package adds, such as `blockchain`.

    Raises:
        ConfigurationError: there is none.
    """
    found = entry_points(group="galaxy_fl.modes", name=name)
    if not found:
        raise ConfigurationError(
            f"there is no mode {name!r}: known are {', '.join(sorted(entry_points(group='galaxy_fl.modes').names))} "
            "(install the package again if one is missing)"
        )
    mode: Mode = next(iter(found)).load()
    return mode


def meeting(at: At = None) -> Mode:
    """Return the mode that `at` means, with the settings that `at` says; others can be given to its methods.

    Nothing is opened or asked.

    Args:
        at: None for the working directory; a folder; the URL of a cluster's server, where clients find it and where the
            server itself listens; or an object with the methods of `Mode`, such as a ledger.

    Raises:
        ConfigurationError: it is none of these.
    """
    if isinstance(at, str) and "://" in at:
        return _Server(at)
    if at is None or (isinstance(at, str | os.PathLike) and os.fspath(at)):
        return _Folder("." if at is None else os.fspath(at))
    if isinstance(at, Mode) and not isinstance(at, type):
        return at
    raise ConfigurationError(
        f"at is {at!r}, expected a folder, the URL of a cluster's server (https://host:port), or a ledger "
        "(galaxy_chain.Ledger)"
    )


@dataclass(frozen=True)
class _Folder:
    """Standalone mode in one folder."""

    folder: str

    def __str__(self) -> str:
        return self.folder

    def submit(self, request: JobRequest, **settings: Any) -> str:
        return find_mode("standalone").submit(request, folder=self.folder, **settings)

    def model_of(self, job_id: str, round: str, **settings: Any) -> Start:
        mode = find_mode("standalone")
        assert isinstance(mode, HasModels)
        return mode.model_of(job_id, round, folder=self.folder, **settings)

    def client_places(self, client_id: str, **settings: Any) -> Sequence[ClientPlace]:
        return find_mode("standalone").client_places(client_id, folder=self.folder, **settings)

    def places_of(self, client_ids: Sequence[str], **settings: Any) -> Sequence[Sequence[ClientPlace]]:
        return places_of(find_mode("standalone"), client_ids, folder=self.folder, **settings)

    def server_place(self, **settings: Any) -> ServerPlace:
        return find_mode("standalone").server_place(folder=self.folder, **settings)


@dataclass(frozen=True)
class _Server:
    """Cluster mode at one server."""

    url: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", self.url):
            raise ConfigurationError(f"at is {self.url!r}, expected the URL of a cluster's server: https://host:port")

    def __str__(self) -> str:
        return self.url

    def submit(self, request: JobRequest, **settings: Any) -> str:
        raise ConfigurationError(
            f"a job can't be submitted to {self.url} from elsewhere: submit it on the server's machine, at the folder "
            "that the server runs in"
        )

    def client_places(self, client_id: str, **settings: Any) -> Sequence[ClientPlace]:
        return find_mode("cluster").client_places(client_id, server_url=self.url, **settings)

    def places_of(self, client_ids: Sequence[str], **settings: Any) -> Sequence[Sequence[ClientPlace]]:
        return places_of(find_mode("cluster"), client_ids, server_url=self.url, **settings)

    def server_place(self, **settings: Any) -> ServerPlace:
        parts = urlsplit(self.url)
        try:
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigurationError(f"at is {self.url!r}: {error}") from error
        if parts.path.strip("/") or not host:
            raise ConfigurationError(f"at is {self.url!r}, expected where the server listens: http://address:port")
        if (parts.scheme == "https") != ("certificate" in settings):
            raise ConfigurationError(
                f"at is {self.url!r}: https needs a certificate and its key (certificate=…, key=…), http takes none"
            )
        listens = {"ip": host} | ({} if port is None else {"port": port})
        return find_mode("cluster").server_place(**listens, **settings)
