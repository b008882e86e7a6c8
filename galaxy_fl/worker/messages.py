"""Messages between a worker and its parent: JSON objects, each with its `kind`; tensors follow as safetensors.

The parent sends a request, and the worker an answer. Before it answers, the worker may ask for samples, or for the
score of an output, one question at a time: the parent replies to each. What a worker sends is checked like a
stranger's, because model code runs in its process: an unknown kind or field, or too many samples, end the conversation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter

from galaxy_fl.jobs.document import JobDocument, LayoutEntries, ModelChoice
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.local_tensors import LocalTensor
from galaxy_fl.jobs.parts import ALL_SHARED, Parts, PartTensor
from galaxy_fl.jobs.privacy import Privacy
from galaxy_fl.jobs.specification import LossName, TrainSpecification
from galaxy_fl.training.results import Count, Evaluation, TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.validation import Strict

__all__ = [
    "LARGEST_MESSAGE",
    "MOST_SAMPLES",
    "Answer",
    "Describe",
    "Described",
    "Done",
    "Evaluate",
    "Evaluated",
    "Export",
    "Failed",
    "Fetch",
    "Load",
    "Offer",
    "Offered",
    "Prepare",
    "Prepared",
    "Question",
    "Refused",
    "Reply",
    "Request",
    "Samples",
    "Score",
    "Scored",
    "Train",
    "Trained",
    "WorkerSettings",
    "parse_reply",
    "parse_request",
    "parse_said",
    "to_bytes",
]

LARGEST_MESSAGE = 16 * 2**20
"""Bytes that a worker may send at a time."""
MOST_SAMPLES = 512
"""Samples that it may ask for at a time, of which it builds larger batches."""

AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]


# ---- Requests: from the parent ----------------------------------------------------------------------------


class WorkerSettings(Strict):
    """A participant's own settings for a job: its data, and how they are trained on. No other participant sees them."""

    data: str | None
    """Name for `galaxy_fl.data.datasets.load`; training takes its shard of "train". None where data are served. Shard
    and partition are for named data only."""
    test_data: str | None = None
    """Name of the data set whose "test" split models are evaluated on."""
    shard: str = "1/1"
    partition: str = "iid"
    partition_seed: int = 0
    data_root: str | None = None
    trains: bool = True
    """Whether the participant trains, and not only evaluates: then a first step is tried on a copy."""
    device: str = "cpu"
    """Torch device: cpu, cuda, cuda:1, mps, …"""
    threads: int = Field(default=1, ge=1)
    """More than one makes large models faster and lets the last bits depend on their number."""


class Offered(Strict):
    """A data set of the parent's."""

    samples: Annotated[int, Field(ge=1)]
    streams: bool = False
    """Whether the samples come in an order of their own."""
    collates: bool = False
    """Whether the data set has a function of its own that makes batches of them."""


class Offer(Strict):
    """The parent's data that a worker can ask for."""

    train: Offered
    test: Offered | None
    scores: bool
    """Whether the user has a measure of accuracy of their own."""


class Describe(Strict):
    """Write the initial vector of a model, and say what a job document says of it."""

    kind: Literal["describe"] = "describe"
    model: ModelChoice
    train: TrainSpecification
    names_loss: bool
    """Whether the job's author chose the loss, and not what is the default for the model."""
    source: str | None
    """The text of the file that a model brings along."""
    vector: AbsolutePath
    fraction_bits: dict[str, int]
    parts: Parts = ALL_SHARED
    base: AbsolutePath | None = None
    """The file to write frozen and personal tensors to, if there are any."""
    distils: bool | None
    """Whether the job distils, to tell what the model ends in; None where that is known."""
    privacy: Privacy | None = None
    """The job's, which the model has to suit."""
    start: AbsolutePath | None = None
    """A file of the tensors that the job begins with; None for the model's own."""


class Load(Strict):
    """Take up a job in place of the one before, whose sessions are forgotten. `Done` is the answer."""

    kind: Literal["load"] = "load"
    document: JobDocument
    source: str | None
    """The text of the file that the model brings along."""
    base: AbsolutePath | None = None
    """The file of the job's frozen and personal tensors."""


class Prepare(Strict):
    """Begin a client's session of the job: load its data, and try a first step."""

    kind: Literal["prepare"] = "prepare"
    session: int = 0
    """Which one of the process's."""
    settings: WorkerSettings
    offer: Offer | None
    again: bool = False
    """Whether the same was prepared before, in this process or another: then nothing is tried."""
    forget: list[int] = Field(default_factory=list)
    """Sessions that are not needed any more."""


class Train(Strict):
    """Train a round."""

    kind: Literal["train"] = "train"
    session: int = 0
    task: TrainTask


class Evaluate(Strict):
    """Measure a vector on the test data."""

    kind: Literal["evaluate"] = "evaluate"
    session: int = 0
    vector: AbsolutePath
    own: AbsolutePath | None = None
    """The client's own tensors, of which the personal ones are evaluated; None for those that the job began with."""


class Export(Strict):
    """Write a job's model with a vector's values, as torch and as safetensors."""

    kind: Literal["export"] = "export"
    document: JobDocument
    vector: AbsolutePath
    destination: AbsolutePath
    base: AbsolutePath | None = None
    """The file of the job's frozen and personal tensors."""
    own: AbsolutePath | None = None
    """The client's own tensors, of which the personal ones are written; None for those that the job began with."""


Request = Describe | Load | Prepare | Train | Evaluate | Export


# ---- Answers and questions: from the worker ---------------------------------------------------------------


class Described(Strict):
    """What a job document says of a model."""

    kind: Literal["described"] = "described"
    layout: LayoutEntries
    local: list[LocalTensor]
    frozen: list[PartTensor] = Field(default_factory=list)
    personal: list[PartTensor] = Field(default_factory=list)
    buffers: list[str] = Field(default_factory=list)
    loss: LossName
    ending: Ending | None = None


def _printable(text: str) -> str:
    """A text for people from a worker, where foreign code runs: it must not command a terminal."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1] for letter in text)


class Prepared(Strict):
    """What a worker found when it loaded its data."""

    kind: Literal["prepared"] = "prepared"
    samples: Count
    notes: list[Annotated[str, Field(max_length=1_000), AfterValidator(_printable)]] = Field(
        default_factory=list, max_length=100
    )
    """What the operator should know of how it trains."""


class Trained(Strict):
    """How a round of training went."""

    kind: Literal["trained"] = "trained"
    result: TrainResult


class Evaluated(Strict):
    """How good a vector is."""

    kind: Literal["evaluated"] = "evaluated"
    evaluation: Evaluation


class Done(Strict):
    """The answer to a request that asks for nothing else."""

    kind: Literal["done"] = "done"


class Failed(Strict):
    """The error that a request ended in."""

    kind: Literal["failed"] = "failed"
    error: Annotated[str, Field(max_length=100)]
    """The name of a class of `galaxy_fl.exceptions`."""
    message: Annotated[str, Field(max_length=100_000), AfterValidator(_printable)]


Answer = Described | Prepared | Trained | Evaluated | Done | Failed


class Fetch(Strict):
    """A question for samples; `Samples` is the reply."""

    kind: Literal["fetch"] = "fetch"
    split: Literal["train", "test"]
    indices: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=MOST_SAMPLES)]
    apart: bool = False
    """Whether each is to come as it is, and not stacked with the others."""


class Score(Strict):
    """A question for the user's own measure of accuracy; the tensors `output` and `target` follow. `Scored` replies."""

    kind: Literal["score"] = "score"


Question = Fetch | Score


# ---- Replies: from the parent, to a question --------------------------------------------------------------


class Samples(Strict):
    """The samples asked for: a batch, or a list of them, whose tensors follow."""

    kind: Literal["samples"] = "samples"
    form: str
    """As `galaxy_fl.data.structure.decode` takes it."""


class Scored(Strict):
    """The score asked for."""

    kind: Literal["scored"] = "scored"
    score: float


class Refused(Strict):
    """The user's data set or accuracy function failed; the parent knows why."""

    kind: Literal["refused"] = "refused"


Reply = Samples | Scored | Refused

_KIND = Field(discriminator="kind")
_requests: TypeAdapter[Request] = TypeAdapter(Annotated[Request, _KIND])
_said: TypeAdapter[Answer | Question] = TypeAdapter(Annotated[Answer | Question, _KIND])
_replies: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, _KIND])


def to_bytes(message: Request | Answer | Question | Reply) -> bytes:
    """Return a message as it is sent."""
    return message.model_dump_json().encode()


def parse_request(content: bytes) -> Request:
    """Parse what a parent sends to begin with."""
    return _requests.validate_json(content)


def parse_said(content: bytes) -> Answer | Question:
    """Parse what a worker sends.

    Raises:
        ValidationError: pydantic's; it is neither an answer nor a question.
    """
    return _said.validate_json(content)


def parse_reply(content: bytes) -> Reply:
    """Parse what a parent sends for a question."""
    return _replies.validate_json(content)
