"""What a cluster's server and its clients say to each other: the JSON of its HTTP API, in one place.

Below the prefix that `GET /` tells. Everything but registering needs `Authorization: Bearer <client_id>.<secret>`.

    POST clients                                  register: the client chooses its secret, so a retry is harmless
    POST heartbeat                                which jobs the client takes part in; a job not named is left
    GET  jobs                                     the jobs that are not over
    GET  jobs/{job}                               how many rounds it has, and how long its vectors are
    GET  jobs/{job}/document, jobs/{job}/source   bytes
    POST jobs/{job}/clients                       take part
    POST jobs/{job}/gave-up                       that the client can't take part, and why
    GET  jobs/{job}/round?after=ATTEMPT/PHASE     where it stands, as soon as that is something else, or after 20 s
    GET  jobs/{job}/models/{round}                bytes, of any range
    GET  jobs/{job}/updates/{attempt}             how much of the client's own update has arrived
    PUT  jobs/{job}/updates/{attempt}?offset=N    the bytes of it from there on
    POST jobs/{job}/updates/{attempt}             hands it in
    GET  jobs/{job}/previous                      what a distillation goes on from
    GET  jobs/{job}/previous/{sha256}             bytes, of any range
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from galaxy_fl.aggregation import MAX_WEIGHT
from galaxy_fl.files import NAME_PATTERN
from galaxy_fl.rounds.coordinator import Phase

__all__ = [
    "LONGEST_WAIT",
    "PRESENT",
    "REGISTRATION_VARIABLE",
    "SECRET_PATTERN",
    "Api",
    "Arrived",
    "GaveUp",
    "Handing",
    "Heartbeat",
    "Job",
    "Jobs",
    "Participation",
    "PreviousUpdates",
    "Problem",
    "Registration",
    "Standing",
]

LONGEST_WAIT = 20.0
"""How long the server keeps a question for the next round open, in seconds."""
PRESENT = 30.0
"""How long a client counts as alive after it was last heard of, in seconds."""
REGISTRATION_VARIABLE = "GALAXY_REGISTRATION_TOKEN"
"""What the environments of a server and of its clients have in common, where not everybody may register."""
SECRET_PATTERN = r"^[A-Za-z0-9_-]{43}$"
"""256 bits, in base64 for URLs."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, Field(ge=1, le=2**32)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Problem(_Said):
    """Every answer that is not a success."""

    error: str
    """For programs: `round_moved_on`, `not_found`, …"""
    message: str
    """For people."""


class Api(_Said):
    """Where the API is."""

    api: str
    """Its prefix."""
    version: int = 1


class Registration(_Asked):
    """Who a client is from now on."""

    client_id: Name
    secret: Annotated[str, Field(pattern=SECRET_PATTERN)]
    registration_token: Annotated[str, Field(max_length=1000)] | None = None
    """What the server's operator has given out, where the server asks for it."""


class Heartbeat(_Asked):
    """The jobs that a client takes part in."""

    jobs: Annotated[list[Name], Field(max_length=1000)]


class Jobs(_Said):
    """The jobs that are not over, oldest first."""

    jobs: list[Name]


class Job(_Said):
    """What never changes about a job, beside its document."""

    rounds: Number
    parameters: Annotated[int, Field(ge=1)]
    """d; a vector has four times as many bytes."""


class Participation(_Asked):
    """That a client takes part."""

    samples: Annotated[int, Field(ge=1, le=MAX_WEIGHT)]


class GaveUp(_Asked):
    """That a client can't take part, and why."""

    reason: Annotated[str, Field(max_length=1000)]


class Standing(_Said):
    """Where a job stands."""

    round: Number
    attempt: Number
    phase: Phase
    model: Sha256
    """Of the vector that the round starts from."""
    handed_in: bool
    """Whether the client that asks has handed in."""


class Arrived(_Said):
    """How much of an update has arrived."""

    bytes: Annotated[int, Field(ge=0)]
    handed_in: bool


class Handing(_Asked):
    """What an update weighs, and which vector it must be."""

    weight: Annotated[int, Field(ge=1, le=MAX_WEIGHT)]
    sha256: Sha256


class PreviousUpdates(_Said):
    """The vectors that a distillation goes on from."""

    own: Sha256 | None
    peers: list[Sha256]
    """In the order of the clients' names."""
