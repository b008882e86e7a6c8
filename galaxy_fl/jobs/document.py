"""Job documents (protocol section 8): what the participants of a job agree on, as canonical JSON."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import rfc8785
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from galaxy_fl.aggregation import RULES, has_moments
from galaxy_fl.content.content_id import BLOCK_SIZE, ContentId
from galaxy_fl.exceptions import JobDocumentError, VectorError
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.local_tensors import LocalTensor
from galaxy_fl.jobs.parts import Base, PartTensor, check_base
from galaxy_fl.jobs.privacy import ExamplePrivacy, Privacy, expect_examples_apart
from galaxy_fl.jobs.rule_choice import RuleChoice
from galaxy_fl.jobs.specification import OWN_LOSS, Option, TrainSpecification
from galaxy_fl.validation import Strict, explain, printable
from galaxy_fl.vectors import SHORTEST_VECTOR, Layout

__all__ = [
    "MAX_BYTES",
    "BuiltinModel",
    "JobChoices",
    "JobDocument",
    "LayoutEntries",
    "Model",
    "ModelChoice",
    "Name",
    "RuleChoice",
    "SourceModel",
    "kind_of_model",
    "source_id",
    "source_text",
]

MAX_BYTES = BLOCK_SIZE
"""A job document has to fit one raw block of the content store."""


Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(printable)]
"""What a job is called."""


class BuiltinModel(Strict):
    """A model that comes with Galaxy, or any torchvision classifier, by name."""

    builtin: Annotated[str, Field(min_length=1, max_length=100)]
    options: dict[str, Option] = Field(default_factory=dict)


class SourceModel(Strict):
    """A class in a Python file that the job brings along. It is a program: see `galaxy_fl.trust`."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    source: Annotated[str, Field(pattern=r"^bafkrei[a-z2-7]{52}$")]
    """The content id of the file, as `source_id` gives it."""
    class_name: Annotated[str, Field(alias="class", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
    """A torch.nn.Module that is made without arguments."""


Model = BuiltinModel | SourceModel


def source_id(source: bytes) -> str:
    """The content id of a model's source: CIDv1, raw, sha2-256 (protocol section 3).

    Raises:
        JobDocumentError: it is longer than a block of the store.
    """
    if len(source) > MAX_BYTES:
        raise JobDocumentError(
            f"the model's source has {len(source)} bytes, at most {MAX_BYTES} fit a block: leave data out of it"
        )
    return ContentId.of(source).cid


def source_text(source: bytes) -> str:
    """The text of a model's source.

    Raises:
        JobDocumentError: it is not UTF-8, as Python files are.
    """
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JobDocumentError(f"the model's source is not UTF-8, as Python files are: {error}") from error


def kind_of_model(value: object) -> str:
    """Return which kind of model the JSON, or a model of pydantic, is: `source` or `builtin`."""
    return "source" if "source" in (value if isinstance(value, dict) else getattr(value, "__dict__", ())) else "builtin"


ModelChoice = Annotated[
    Annotated[BuiltinModel, Tag("builtin")] | Annotated[SourceModel, Tag("source")], Discriminator(kind_of_model)
]


def _padded_layout(value: Any) -> Any:
    try:
        layout = Layout.from_json(value)
    except VectorError as error:
        raise ValueError(str(error)) from error
    if layout != layout.padded():
        raise ValueError(
            f"it has {layout.parameters} parameters with a padding of {layout.padding}, expected a padding that "
            f"makes at least {SHORTEST_VECTOR}, and none beyond that"
        )
    return layout.to_json()


LayoutEntries = Annotated[list[dict[str, Any]], BeforeValidator(_padded_layout)]
"""The layout of a model's vectors, with the padding that every ledger needs, as JSON: an entry for each tensor."""


class JobChoices(Strict):
    """What the author of a job chooses: a job file and a job document both have it."""

    name: Name
    train: TrainSpecification = TrainSpecification()
    rule: RuleChoice = RuleChoice()
    weighting: Literal["samples", "uniform"] = "samples"
    """What an update weighs: as many as the samples that it was trained on, or 1."""
    distillation_alpha: Annotated[float, Field(ge=0)] | None = None
    """Weight of the divergence to the other clients' models; with the rule `relay`, and only there."""
    distillation_reduction: Literal["batchmean", "mean"] = "batchmean"
    """The divergence divided by the samples, which is what it is, or by the classes too, as PFL did."""
    reveal: Literal["immediate", "after-close"] = "immediate"
    """When clients put their updates into the store: at once, or only once the round has closed."""
    privacy: Privacy | None = None
    """What of a client's data its updates may tell; None for whatever they do."""
    seal: Literal["members"] | None = None
    """For whom models, updates and partial sums are encrypted; None: anybody reads them."""
    notes: Annotated[str, Field(max_length=10_000)] | None = None

    @model_validator(mode="after")
    def _private(self) -> Self:
        if self.privacy is not None and self.distillation_alpha is not None:
            raise ValueError(
                "privacy and distillation exclude each other: a client's own model would gather the noise of all "
                "rounds, which nothing averages; leave out distillation_alpha, or privacy"
            )
        if isinstance(self.privacy, ExamplePrivacy):
            expect_examples_apart(self.train)
        return self


class JobDocument(JobChoices):
    """A job, apart from its terms on the ledger. Every field means the same to every participant."""

    version: Literal[1] = 1
    model: ModelChoice
    layout: LayoutEntries
    output: Ending = "logits"
    """What the model ends in, which losses and accuracies go by."""
    local: list[LocalTensor] = Field(default_factory=list)
    """The tensors of the model's state that no vector has, and what they begin with."""
    frozen: list[PartTensor] = Field(default_factory=list)
    """The tensors that nobody trains; no vector has them."""
    personal: list[PartTensor] = Field(default_factory=list)
    """The tensors that each client trains and keeps to itself; no vector has them."""
    base: Base | None = None
    """What frozen tensors are and personal ones begin with; None where there are neither."""
    averaged: list[Annotated[str, Field(min_length=1)]] | None = None
    """The tensors that a rule with moments only averages: the float buffers. There for those rules alone."""

    @model_validator(mode="after")
    def _each_tensor_once(self) -> JobDocument:
        counted = Counter([tensor.name for tensor in self.tensors.tensors])
        counted.update(tensor.name for tensor in self.local)
        counted.update(name for tensor in (*self.frozen, *self.personal) for name in tensor.names)
        if twice := [name for name, times in counted.items() if times > 1]:
            raise ValueError(f"the tensor {twice[0]!r:.80} is there twice, in layout, local, frozen and personal")
        if tied := [tensor for tensor in self.personal if tensor.tied]:
            raise ValueError(f"the tensor {tied[0].name!r:.80} is personal, and only frozen ones are said to be tied")
        check_base(self.base, [*self.frozen, *self.personal])
        return self

    @model_validator(mode="after")
    def _distils(self) -> JobDocument:
        if (self.rule.name == "relay") != (self.distillation_alpha is not None):
            raise ValueError(
                "distillation_alpha and the rule relay belong together: the server of a distillation only relays"
            )
        if self.distils and self.personal:
            raise ValueError(
                f"{self.personal[0].name!r:.80} is personal, and the job distils: there each client has its whole "
                "model to itself, and teaches the others with it; leave personal out"
            )
        if self.distils and self.train.loss == OWN_LOSS:
            raise ValueError(
                "the job distils, and its loss is the model's own training_step, which does not say what the model "
                "gives: name a loss of torch.nn"
            )
        return self

    @model_validator(mode="after")
    def _optimizes(self) -> JobDocument:
        rule = RULES[self.rule.name]
        if (rule.lanes > 1) != (self.averaged is not None):
            raise ValueError("averaged belongs to the rules fedavgm and fedadam, and to no other")
        averaged = self.averaged or []
        if len(set(averaged)) != len(averaged) or not {each.name for each in self.tensors.tensors}.issuperset(averaged):
            raise ValueError("averaged names a tensor twice, or one that the layout does not have")
        bits = rule.step_bits if has_moments(rule) else None
        for tensor in self.tensors.tensors:
            if bits is not None and tensor.fraction_bits != bits and tensor.name not in averaged:
                raise ValueError(
                    f"the tensor {tensor.name!r} has {tensor.fraction_bits} fraction bits, and {rule.name} moves "
                    f"parameters of {bits}: set fraction_bits to {bits} for it (weights are then below "
                    f"{2 ** (31 - bits)}), or choose fedavgm"
                )
        return self

    @property
    def lanes(self) -> int:
        """How many int32 a model has for each parameter: what is trained, then the rule's moments."""
        return RULES[self.rule.name].lanes

    @property
    def model_parameters(self) -> int:
        """How many int32 a model has; an update has as many as the layout has parameters."""
        return self.lanes * self.tensors.parameters

    @property
    def distils(self) -> bool:
        """Whether clients learn from each other's models, each continuing from its own, and nothing is aggregated."""
        return self.distillation_alpha is not None

    @cached_property
    def tensors(self) -> Layout:
        """The layout of the model's vectors."""
        return Layout.from_json(self.layout)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form, in hexadecimal: whatever a job is called, this tells it from others."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields replaced."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("digest", "tensors"):
            copied.__dict__.pop(name, None)
        return copied

    def to_bytes(self) -> bytes:
        """The document as canonical JSON (RFC 8785), UTF-8.

        Raises:
            JobDocumentError: it is longer than a block of the store, or a size in its layout is beyond JSON.
        """
        try:
            content = rfc8785.dumps(self.model_dump(mode="json", exclude_none=True))
        except rfc8785.CanonicalizationError as error:
            raise JobDocumentError(f"the job document has no canonical form: {error}") from error
        if len(content) > MAX_BYTES:
            raise JobDocumentError(
                f"the job document has {len(content)} bytes, at most {MAX_BYTES} fit a block: "
                "shorten the notes, or the names of the model's tensors, or give it smaller integer buffers (those "
                "that the constructor makes anyhow may be registered with persistent=False)"
            )
        return content

    @classmethod
    def from_bytes(cls, content: bytes) -> JobDocument:
        """Parses a document of another participant.

        Raises:
            JobDocumentError: it is not canonical JSON of a valid document; every field that is wrong is named.
        """
        if len(content) > MAX_BYTES:
            raise JobDocumentError(f"a job document has at most {MAX_BYTES} bytes, this one {len(content)}")
        try:
            # Through JSON, because strict Python types accept no list for a tuple.
            document = cls.model_validate_json(content)
        except ValidationError as error:
            raise JobDocumentError(f"the job document is not valid: {explain(error)}") from error
        if document.to_bytes() != content:
            raise JobDocumentError(
                "the job document is not the canonical JSON (RFC 8785) of all its fields, defaults included and each "
                "key once, so its id would not be unique: write it with `galaxy-chain job create`"
            )
        return document
