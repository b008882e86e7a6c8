"""What a mode is: a way to submit jobs, and places where clients and servers find them.

`galaxy_fl` has two, standalone and cluster. Other packages add theirs by an entry point of the group `galaxy_fl.modes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.rounds.coordinator import ClientCoordinator, ServerCoordinator
from galaxy_fl.vectors import Vector

__all__ = ["ClientPlace", "JobRequest", "Mode", "ServerPlace", "Terms", "find_mode"]


@dataclass(frozen=True)
class Terms:
    """How a job's rounds are collected.

    Attributes:
        rounds: How many rounds there are, at least 1.
        min_clients: How many updates make a round. Raise it to wait for everybody.
        max_clients: The update with this number closes the round; None for no such number.
        deadline: Seconds that others have, once `min_clients` updates are in; None for the mode's own default. Raise it
            for slow clients.

    Raises:
        ConfigurationError: at construction, for a value out of range.
    """

    rounds: int
    min_clients: int = 1
    max_clients: int | None = None
    deadline: float | None = None

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("rounds", self.rounds, 1, 2**31),
            ("min_clients", self.min_clients, 1, 256),
            ("max_clients", 256 if self.max_clients is None else self.max_clients, self.min_clients, 256),
        ):
            if type(value) is not int or not least <= value <= most:
                raise ConfigurationError(f"{name} is {value!r}, expected a whole number from {least} to {most}")
        if self.deadline is not None and (isinstance(self.deadline, bool) or not 0 <= self.deadline <= 2**31):
            raise ConfigurationError(f"deadline is {self.deadline!r}, expected seconds from 0 to 2**31")


@dataclass(frozen=True)
class JobRequest:
    """A job to be submitted.

    Attributes:
        job_id: What its author calls it; a mode may give it another id.
        document: What its participants agree on.
        terms: How its rounds are collected.
        initial: int32 array of shape (d,), the model that round 1 starts from.
        source: Of the model, where the document names one.
    """

    job_id: str
    document: JobDocument
    terms: Terms
    initial: Vector
    source: bytes | None


class ClientPlace(Protocol):
    """Where a client finds jobs."""

    @property
    def name(self) -> str:
        """To show: a folder, a URL, a ledger."""

    def jobs(self) -> Sequence[str]:
        """The ids of the jobs that are not over, oldest first.

        Raises:
            GalaxyError: the place can't be reached now; asked again later.
        """

    def open(self, job_id: str) -> ClientCoordinator:
        """A job to take part in.

        Raises:
            GalaxyError: it can't be taken part in.
        """

    def close(self) -> None:
        """Leaves the place."""


class ServerPlace(Protocol):
    """Where a server finds jobs."""

    @property
    def name(self) -> str:
        """To show."""

    def jobs(self) -> Sequence[str]:
        """The ids of all jobs that this server serves, also of those that are over, oldest first."""

    def open(self, job_id: str) -> ServerCoordinator:
        """A job to serve.

        Raises:
            GalaxyError: it can't be served.
        """

    def close(self) -> None:
        """Leaves the place."""


class Mode(Protocol):
    """A way to meet. `settings` are a mode's own; an unknown one is a ConfigurationError."""

    def submit(self, request: JobRequest, **settings: Any) -> str:
        """Submits a job and gives its id there."""

    def client_places(self, client_id: str, **settings: Any) -> Sequence[ClientPlace]:
        """The places that a client looks for jobs in."""

    def server_place(self, **settings: Any) -> ServerPlace:
        """The place that a server serves."""


def find_mode(name: str) -> Mode:
    """The mode of that name: `standalone`, `cluster`, or one that another package adds, such as `blockchain`.

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
