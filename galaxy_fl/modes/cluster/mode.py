"""Cluster mode: clients on any machines meet at a server's HTTP API. The server's jobs are in its folder.

A job is submitted on the server's machine, as in standalone mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.jobs.request import JobRequest
from galaxy_fl.modes.job_folder import JobsFolder
from galaxy_fl.modes.mode import further_sources
from galaxy_fl.modes.standalone import StandaloneClientSettings, StandaloneSettings
from galaxy_fl.validation import explain

if TYPE_CHECKING:
    from galaxy_fl.modes.cluster.client import ClusterClientPlace
    from galaxy_fl.modes.cluster.server import ClusterServerPlace

__all__ = ["MODE", "ClusterClientSettings", "ClusterMode", "ClusterServerSettings"]

Settings = TypeVar("Settings", bound=BaseModel)


def _slashed(prefix: str) -> str:
    return "/" + prefix.strip("/") if prefix.strip("/") else ""


class ClusterServerSettings(StandaloneSettings):
    """Where a server listens."""

    ip: str = "127.0.0.1"
    """`0.0.0.0` is every address of the machine. Change it to let other machines in."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 9763
    api_version: Annotated[str, Field(pattern=r"^/?([A-Za-z0-9._-]+/?)*$"), AfterValidator(_slashed)] = "/api/version"
    """The prefix of the API's paths; clients learn it from the server."""
    certificate: Path | None = None
    """The server's certificate with its chain, in PEM format. Set it and `key` for HTTPS."""
    key: Path | None = None
    """The certificate's private key, in PEM format."""
    ipfs: str | None = None
    """The RPC of an IPFS node on which the server keeps each round's model, so that clients can read it there, too."""

    @model_validator(mode="after")
    def _both(self) -> ClusterServerSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both for HTTPS, or none")
        return self


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class ClusterClientSettings(StandaloneClientSettings):
    """Where a client finds its servers. In `folder` it keeps what it needs to be known again."""

    server_url: Annotated[
        tuple[Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")], ...],
        BeforeValidator(_several),
        Field(min_length=1),
    ]
    """One, such as `https://host:9763`, or several."""
    authority: Path | None = None
    """The certificate of the authority that vouches for the servers, in PEM format; None for those that the system
    knows. Set it where a server's certificate is self-made."""
    ipfs: str | None = None
    """The RPC of an IPFS node that is asked for models before the server is. Set it where there are many clients."""
    gateway: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    """Gateways of IPFS, asked likewise."""


def _settings(kind: type[Settings], given: dict[str, Any]) -> Settings:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise ConfigurationError(f"settings of the cluster mode: {explain(error)}") from error


class ClusterMode:
    """A server and its clients. What either of them needs is loaded when it is needed."""

    def submit(self, request: JobRequest, **settings: Any) -> str:
        """Publishes the job in the server's folder."""
        return JobsFolder(_settings(StandaloneSettings, settings).folder).submit(request)

    def client_places(self, client_id: str, **settings: Any) -> Sequence[ClusterClientPlace]:
        """The servers."""
        return self.places_of([client_id], **settings)[0]

    def places_of(self, client_ids: Sequence[str], **settings: Any) -> Sequence[Sequence[ClusterClientPlace]]:
        """The servers, each of which one client asks for jobs on behalf of all."""
        from galaxy_fl.modes.cluster.client import ClusterClientPlace

        chosen = _settings(ClusterClientSettings, settings)
        sources = further_sources(chosen.ipfs, chosen.gateway)
        found: list[list[ClusterClientPlace]] = []
        for client_id in client_ids:
            found.append(
                [
                    ClusterClientPlace(
                        *(url, client_id, chosen.folder, chosen.authority),
                        sources=sources,
                        named=chosen.jobs,
                        asks=found[0][number] if found else None,
                    )
                    for number, url in enumerate(chosen.server_url)
                ]
            )
        return found

    def server_place(self, **settings: Any) -> ClusterServerPlace:
        """The folder, with the API in front of it."""
        from galaxy_fl.modes.cluster.server import ClusterServerPlace

        chosen = _settings(ClusterServerSettings, settings)
        return ClusterServerPlace(
            chosen.folder,
            chosen.ip,
            chosen.port,
            chosen.api_version,
            chosen.certificate,
            chosen.key,
            further_sources(chosen.ipfs, ()),
        )


MODE = ClusterMode()
