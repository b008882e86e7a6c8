"""What a cluster's server and its clients tell each other: the JSON of its HTTP API, in one place.

Below the prefix that `GET /` tells. Everything but registering needs `Authorization: Bearer <client_id>.<secret>`.

    POST clients                            register: the client chooses its secret, so a retry is harmless
    POST heartbeat                          which jobs the client takes part in; a job not named is left
    GET  jobs                               the jobs that are not over
    GET  jobs/{job}                         its document's content id, its rounds, how long its vectors are
    POST jobs/{job}/clients                 take part
    POST jobs/{job}/gave-up                 that the client can't take part, and why
    GET  jobs/{job}/state?after=ATTEMPT/PHASE   where it stands, as soon as that is something else, or after 20 s
    GET  jobs/{job}/previous?attempt=N      the content ids of what a distillation continues from
    POST jobs/{job}/attempts/{n}            submits an update, by its content id

Bytes are a content store's (`galaxy_fl.content.app`): everything of a job is read by content id below `jobs/{job}`, and
an update is uploaded below `jobs/{job}/attempts/{n}` before it is submitted. Errors are `galaxy_fl.content.problem`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from galaxy_fl.aggregation import MAX_WEIGHT
from galaxy_fl.content.content_id import CID_PATTERN
from galaxy_fl.files import NAME_PATTERN
from galaxy_fl.rounds.coordinator import Phase

__all__ = [
    "LONGEST_WAIT",
    "PRESENT",
    "REGISTRATION_VARIABLE",
    "SECRET_PATTERN",
    "Api",
    "GaveUp",
    "Heartbeat",
    "Job",
    "Jobs",
    "Participation",
    "PreviousUpdates",
    "Registration",
    "Standing",
    "Submission",
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
Cid = Annotated[str, Field(pattern=CID_PATTERN)]
Number = Annotated[int, Field(ge=1, le=2**32)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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
    """What never changes about a job."""

    document: Cid
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
    model: Cid
    """The vector that the round starts from."""
    submitted: bool
    """Whether the client that asks has submitted its update."""
    took_part: bool = False
    """Whether it has ever submitted one in this job."""


class Submission(_Asked):
    """An update that was uploaded."""

    weight: Annotated[int, Field(ge=1, le=MAX_WEIGHT)]
    cid: Cid


class PreviousUpdates(_Said):
    """The vectors that a distillation continues from."""

    own: Cid | None
    peers: list[Cid]
    """In the order of the clients' names."""
