"""The parts of a model: what travels in its vectors, what stays with each client, and what never changes.

- `shared` tensors are the vector: clients train them, and the rule aggregates them.
- `personal` tensors are trained as well, but stay with the client, which continues from its own (FedBN: Li et al.,
  "Federated Learning on Non-IID Features via Local Batch Normalization", ICLR 2021; FedPer: Arivazhagan et al.,
  "Federated Learning with Personalization Layers", 2019).
- `frozen` tensors are not trained.

What personal tensors begin with and what frozen ones are is the job's base, one content of the store beside the vector.
Small tensors that no vector can have and no part claims are the document's `local`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from galaxy_fl.content.content_id import CID_PATTERN, ContentId
from galaxy_fl.exceptions import ContentError, JobDocumentError
from galaxy_fl.jobs.local_tensors import BYTES, TensorType
from galaxy_fl.validation import Strict
from galaxy_fl.vectors.layout import MAX_PARAMETERS

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "ALL_SHARED",
    "TRAINABLE",
    "UNTRAINABLE",
    "Base",
    "Part",
    "PartTensor",
    "Parts",
    "Patterns",
    "SharedPatterns",
    "check_base",
    "divide",
]

Part = Literal["shared", "personal", "frozen", "local"]

TRAINABLE = "trainable"
"""In place of a pattern: the parameters that require gradients."""
UNTRAINABLE = "not trainable"
"""In place of a pattern: all other tensors."""

HEADROOM = 2**20
"""Bytes that the head of a base may have; a document has no room for the names of so long a one."""
SHOWN = 3
"""Names that a message gives."""


def _each_once(patterns: list[str]) -> list[str]:
    if twice := [pattern for pattern, times in Counter(patterns).items() if times > 1]:
        raise ValueError(f"the pattern {twice[0]!r} is there twice: leave one out")
    return patterns


Patterns = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=10_000), AfterValidator(_each_once)
]
"""Names of tensors, or patterns as of file names, such as `bn*` and `*.running_mean`; or `trainable`."""


def _something(patterns: list[str] | None) -> list[str] | None:
    if patterns is not None and not patterns:
        raise ValueError("it is empty, so nothing would travel: name what does, or leave it out to share all")
    return patterns


SharedPatterns = Annotated[Patterns | None, AfterValidator(_something)]
"""The same for what travels, of which there is something; None where nothing is said."""


class Parts(Strict):
    """Which tensors of a model are which part, as a job's author says it.

    What no pattern names is shared; where `shared` is given, it is frozen. A parameter that does not require a gradient
    is frozen in any case.
    """

    shared: SharedPatterns = None
    personal: Patterns = Field(default_factory=list)
    frozen: Patterns = Field(default_factory=list)


ALL_SHARED = Parts()
"""Nothing is said: all is shared that requires gradients, or is a buffer."""


class PartTensor(Strict):
    """A tensor of the base."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]
    """Its key in the state_dict."""
    type: TensorType
    """The name of torch's dtype."""
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=64)]
    tied: Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(min_length=1)] | None = None
    """Further keys, of the same parameter, which the base has once; of frozen tensors only."""

    @model_validator(mode="after")
    def _not_too_large(self) -> PartTensor:
        # Empty dimensions count as one, as in a layout.
        if math.prod(max(n, 1) for n in self.shape) > MAX_PARAMETERS // 16:
            raise ValueError(f"{self.name!r:.80} has more elements than there can be")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All its keys."""
        return self.name, *(self.tied or ())

    @property
    def bytes(self) -> int:
        """How many it takes."""
        return math.prod(self.shape) * BYTES[self.type]


class Base(Strict):
    """The content with what frozen tensors are and personal ones begin with, in the form of `galaxy_fl.jobs.base`."""

    content: Annotated[str, Field(pattern=CID_PATTERN)]
    """Its id."""
    size: Annotated[int, Field(ge=8, le=MAX_PARAMETERS)]
    """Its bytes."""

    @model_validator(mode="after")
    def _belong_together(self) -> Base:
        try:
            _ = self.id
        except ContentError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def id(self) -> ContentId:
        """Its id and size."""
        return ContentId.from_cid(self.content, self.size)


def check_base(base: Base | None, tensors: list[PartTensor]) -> None:
    """Make sure that a base can be that of these tensors.

    Raises:
        ValueError: it can't.
    """
    if (base is None) != (not tensors):
        raise ValueError("frozen and personal tensors, and the base that has them, belong together")
    needed = sum(tensor.bytes for tensor in tensors)
    if base is not None and not needed < base.size <= needed + HEADROOM:
        raise ValueError(
            f"the base has {base.size} bytes, expected {needed} of the frozen and personal tensors and at most "
            f"{HEADROOM} of a head"
        )


def divide(model: nn.Module, parts: Parts, unfit: Collection[str] = ()) -> dict[str, Part]:
    """Tell for each tensor of a model's state which part it is, in the order of the state_dict.

    Args:
        model: The model.
        parts: The author's patterns.
        unfit: Tensors that no vector can have: they are local, unless they are personal or frozen.

    Raises:
        JobDocumentError: a pattern matches nothing, two parts claim a tensor, none does where that has to be said, or
            tensors that are one are of two parts; names it.
    """
    names = list(model.state_dict())
    parameters = dict(model.named_parameters(remove_duplicate=False))
    trained = {name for name, value in parameters.items() if value.requires_grad}
    still = {name for name, value in parameters.items() if value.is_floating_point()} - trained
    claimed: dict[str, tuple[Part, str]] = dict.fromkeys(still, ("frozen", "requires_grad = False"))
    for part, patterns in _claims(parts):
        for pattern in patterns:
            fits = _fits(part, pattern, names, trained)
            if part != "frozen" and still.issuperset(fits):
                raise JobDocumentError(
                    f"{part}: {pattern!r} fits only parameters that do not require gradients, such as {fits[0]!r}: "
                    "they are frozen; leave the pattern out, or have them require gradients"
                )
            for name in fits:
                before = claimed.setdefault(name, (part, pattern))
                if before[0] != part and name not in still:
                    raise JobDocumentError(
                        f"the tensor {name!r} is {before[0]} by {before[1]!r} and {part} by {pattern!r}, and can be "
                        "one of them only: choose patterns that do not overlap"
                    )
    rest: Part = "frozen" if parts.shared else "shared"
    found = {name: claimed[name][0] if name in claimed else "local" if name in unfit else rest for name in names}
    found |= {name: "local" for name in unfit if found[name] == "shared"}
    unsaid = [name for name in names if name not in claimed and name not in unfit]
    if parts.shared and parts.frozen and unsaid:
        raise JobDocumentError(
            f"shared and frozen are both given, and neither has {_some(unsaid)}: name them, too, or leave frozen out, "
            "which then is all that is not shared or personal"
        )
    _check_tied(parameters, found)
    return found


def _claims(parts: Parts) -> tuple[tuple[Part, list[str]], ...]:
    return ("frozen", parts.frozen), ("personal", parts.personal), ("shared", parts.shared or [])


def _fits(part: Part, pattern: str, names: list[str], trained: set[str]) -> list[str]:
    if pattern in (TRAINABLE, UNTRAINABLE):
        fits = [name for name in names if (name in trained) == (pattern == TRAINABLE)]
    else:
        fits = [name for name in names if name == pattern or fnmatchcase(name, pattern)]
    if not fits:
        plain = pattern.replace("*", "").replace("?", "")
        near = get_close_matches(plain, names, n=SHOWN, cutoff=0.4) or names
        raise JobDocumentError(
            f"{part}: {pattern!r} fits none of the model's {len(names)} tensors; there are {_some(near)}"
        )
    return fits


def _check_tied(parameters: dict[str, nn.Parameter], found: dict[str, Part]) -> None:
    first: dict[int, str] = {}
    for name, value in parameters.items():
        other = first.setdefault(id(value), name)
        if found[name] != found[other]:
            raise JobDocumentError(
                f"{other!r} and {name!r} are one parameter, and {other!r} is {found[other]}, {name!r} {found[name]}: "
                "name both for the same part"
            )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
