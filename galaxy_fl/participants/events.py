"""What a participant emits: a union of frozen models, whose JSON form is what `--json` prints.

Listeners take each event together with the id of its job, which is empty for what concerns no single job.
`docs/reference/events.md` lists every event with its fields; a test compares that list with this union.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from galaxy_fl.validation import Strict

__all__ = [
    "EVENTS",
    "Best",
    "Cancelled",
    "Challenged",
    "Collecting",
    "Committed",
    "Ending",
    "Evaluated",
    "Event",
    "Exhausted",
    "Failed",
    "Finished",
    "Leaving",
    "Listener",
    "Looking",
    "Noted",
    "Opened",
    "Paid",
    "Reopened",
    "Retrying",
    "Role",
    "Spent",
    "Started",
    "Status",
    "Staying",
    "Trained",
    "Training",
    "Unreachable",
    "Waiting",
]

Role: TypeAlias = Literal["client", "server"]


class Started(Strict):
    """The participant takes part in a job."""

    event: Literal["started"] = "started"
    role: Role
    account: str
    """Address on a ledger, a client's name elsewhere; empty for the server of a folder."""
    name: str
    """Name of the job."""
    samples: int | None = None
    """How many samples a client trains on."""
    notes: Sequence[str] = ()
    """What the operator should know of how it trains."""


class Training(Strict):
    """A client begins to train."""

    event: Literal["training"] = "training"
    round: int


class Spent(Strict):
    """A client of a private job has put a training on its account, which it is about to begin."""

    event: Literal["spent"] = "spent"
    round: int
    epsilon: float
    """That of all its trainings in the job, this one included."""
    delta: float
    trainings: int
    """How many are on the account, those included that were begun again or came too late."""
    stop_at: float | None
    """Its budget: the job's, or its own where that is smaller; None for none."""


class Exhausted(Strict):
    """A client of a private job trains no more, as its next training would exceed its budget; the job continues."""

    event: Literal["exhausted"] = "exhausted"
    round: int
    epsilon: float
    """What it has spent."""
    next: float
    """What it would have spent after one more training."""
    delta: float
    trainings: int
    stop_at: float


class Trained(Strict):
    """A client has trained and submitted its update, or came too late with it."""

    event: Literal["trained"] = "trained"
    round: int
    attempt: int
    gas: int | None
    """Gas that the submission cost, 0 without a ledger; None where the round was over before the update was in."""
    transaction: str | None
    samples: int
    loss: float
    accuracy: float | None
    metrics: Mapping[str, float | None] = Field(default_factory=dict)
    """The job's further metrics, of the last local epoch as it ran; None for what is not a finite number."""
    seconds: float
    batches: int


class Evaluated(Strict):
    """A client has evaluated the model after a round on its test data."""

    event: Literal["evaluated"] = "evaluated"
    round: int
    samples: int
    loss: float
    accuracy: float | None
    metrics: Mapping[str, float | None] = Field(default_factory=dict)
    """The job's further metrics; None for what is not a finite number."""


class Waiting(Strict):
    """A client waits for the others' updates, or for the server's commit."""

    event: Literal["waiting"] = "waiting"
    round: int
    awaited: Literal["clients", "server"]


class Collecting(Strict):
    """A server waits for updates."""

    event: Literal["collecting"] = "collecting"
    round: int
    updates: int
    wanted: int
    """How many updates make a round."""


class _Attempt(Strict):
    """What a server has done with an attempt at a round."""

    event: str
    round: int
    attempt: int
    updates: int
    """How many updates are usable: those that a committed model has in it."""
    excluded: Mapping[str, str]
    """Why each client whose update is unusable was excluded."""
    seconds: float
    """Time since the round was seen closed."""
    transaction: str | None


class Committed(_Attempt):
    """A server has committed a round's model."""

    event: Literal["committed"] = "committed"
    model: str
    """Root of the model's chunk tree."""
    gas: int
    loss: float | None = None
    """Loss on the server's test data, where it has some."""
    accuracy: float | None = None
    metrics: Mapping[str, float | None] = Field(default_factory=dict)
    """The job's further metrics, likewise; None for what is not a finite number."""
    test_samples: int | None = None
    diverged: str | None = None
    """Why the evaluation gave no finite loss."""
    unevaluated: str | None = None
    """Why the evaluation failed for another reason."""


class Reopened(_Attempt):
    """A server has had a round collected again, because too few updates were usable."""

    event: Literal["reopened"] = "reopened"


class Best(Strict):
    """The model that a server has committed last is the best one so far, by what the server has measured."""

    event: Literal["best"] = "best"
    round: int
    metric: str
    """Which measure it goes by."""
    value: float
    best_model: str | None = None
    """Path of the best model's file; None where it is not here."""
    sha256: str
    """SHA-256 of the model's vector."""


class Ending(Strict):
    """A server has the job end early, by what it has measured."""

    event: Literal["ending"] = "ending"
    round: int
    """After which round."""
    last: int
    """The round that the job ends with: on a ledger the one that is under way."""
    reason: str


class Challenged(Strict):
    """A client has proved to the ledger that a commit was wrong."""

    event: Literal["challenged"] = "challenged"
    round: int
    server: str
    """Address of whoever committed it."""
    node: int = 0
    """Which partial sum is wrong, where the round has such; 0 for the next model."""
    chunk: int


class Finished(Strict):
    """The job's last round is committed."""

    event: Literal["finished"] = "finished"
    rounds: int
    planned: int | None = None
    """How many rounds the job was made with, where it has ended before them."""
    model: str | None
    """Root of the final model's chunk tree, where a ledger has one."""
    final_model: str | None = None
    """Path of the final model's file; None where it is not here."""
    sha256: str | None = None
    """SHA-256 of the final model's vector."""


class Cancelled(Strict):
    """The job was cancelled, and ends without a round."""

    event: Literal["cancelled"] = "cancelled"
    round: int
    by: Literal["owner"] | None = None
    """None on a ledger, where others may cancel a job that its servers have abandoned."""


class Staying(Strict):
    """The job is over, and the participant stays for what it has earned or answers for."""

    event: Literal["staying"] = "staying"
    role: Role
    until: int
    """Time of the chain, in seconds."""


class Leaving(Strict):
    """The job is over, and the participant leaves, although something of its own is in it until a time."""

    event: Literal["leaving"] = "leaving"
    role: Role
    until: int


class Paid(Strict):
    """What was earned is paid out."""

    event: Literal["paid"] = "paid"
    amount: int
    """Amount in wei."""


class Noted(Strict):
    """Something that the operator should know, and that ends nothing."""

    event: Literal["noted"] = "noted"
    message: str


class Status(Strict):
    """Health and metrics are served."""

    event: Literal["status"] = "status"
    url: str


class Opened(Strict):
    """The participant has opened the places where it meets others."""

    event: Literal["opened"] = "opened"
    role: Role
    places: Sequence[str]


class Looking(Strict):
    """There is nothing to do but look for jobs."""

    event: Literal["looking"] = "looking"
    places: Sequence[str]


class Unreachable(Strict):
    """A place can't be reached now, and is tried again."""

    event: Literal["unreachable"] = "unreachable"
    place: str
    message: str


class Retrying(Strict):
    """A job has failed for a reason that may pass, and begins again."""

    event: Literal["retrying"] = "retrying"
    message: str


class Failed(Strict):
    """A job was given up."""

    event: Literal["failed"] = "failed"
    message: str
    exit_code: int = 1
    """Of a command that ends with it."""
    trace: str | None = None
    """Where in the program it happened, for an error that is a mistake in it."""


Event: TypeAlias = (
    Started
    | Training
    | Spent
    | Exhausted
    | Trained
    | Evaluated
    | Waiting
    | Collecting
    | Committed
    | Best
    | Ending
    | Reopened
    | Challenged
    | Finished
    | Cancelled
    | Staying
    | Leaving
    | Paid
    | Noted
    | Status
    | Opened
    | Looking
    | Unreachable
    | Retrying
    | Failed
)

EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
"""Reads and checks the JSON form."""

Listener: TypeAlias = Callable[[Event, str], None]
"""Takes an event and the id of its job, in whichever thread it happens."""
