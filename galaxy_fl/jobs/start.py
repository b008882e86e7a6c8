"""A job that begins with another job's model, or with a file's, in place of its class's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from galaxy_fl.exceptions import JobDocumentError, VectorError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.local_tensors import LocalTensor
from galaxy_fl.jobs.privacy import UpdatePrivacy, check_noise
from galaxy_fl.vectors import INT32_MAX, INT32_MIN, VECTOR_DTYPE, Layout, TensorLayout, Vector

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LAST", "Start", "begin_with", "check_start", "load_start", "round_of_job"]

LAST = "last"
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Start:
    """The model after a round of a job.

    Attributes:
        what: What it is, for people.
        document: The document of its job.
        vector: The model's, int32 of shape (d,), verified by whoever made this.
    """

    what: str
    document: JobDocument
    vector: Vector


def round_of_job(start: str) -> tuple[str, str] | None:
    """Return the job and the round that a text names, `JOB:ROUND`; None where it is a file's path."""
    found = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63}):(\d{1,10}|last|best)", start)
    return None if found is None else (found[1], found[2])


def check_start(start: str) -> str:
    """Return what a job begins with, as it was given.

    Raises:
        ValueError: it is neither a round of a job nor a safetensors file.
    """
    if round_of_job(start) is None and not start.endswith(SUFFIX):
        raise ValueError(
            f"start is {start!r:.200}, expected JOB:ROUND, such as '7:12' or '7:last', or a file that ends in "
            f"{SUFFIX}: beside each final model is one, final_model_pars_JOB{SUFFIX}"
        )
    return start


def load_start(model: nn.Module, path: Path) -> None:
    """Load a file's tensors into a model, all of it, tensor by tensor.

    Raises:
        JobDocumentError: the file can't be read, or a tensor is missing, too many, or of another shape or type.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        given = load_file(path)
    except (OSError, SafetensorError) as error:
        raise JobDocumentError(f"start: {path} can't be read as safetensors: {error}") from error
    own = model.state_dict()
    for name, value in own.items():
        if name not in given:
            raise JobDocumentError(f"start: {path} has no tensor {name!r}, which the model has")
        for what, found, expected in (
            ("shape", tuple(given[name].shape), tuple(value.shape)),
            ("type", given[name].dtype, value.dtype),
        ):
            if found != expected:
                raise JobDocumentError(
                    f"start: tensor {name!r} of {path} has the {what} {found}, and the model's has {expected}"
                )
    if more := sorted(given.keys() - own.keys()):
        raise JobDocumentError(f"start: {path} has a tensor {more[0]!r}, which the model does not have")
    model.load_state_dict(given)


def begin_with(document: JobDocument, start: Start, fraction_bits: Mapping[str, int]) -> tuple[JobDocument, Vector]:
    """Return a job's document and initial vector so that it begins with a model of another job.

    Unless `fraction_bits` say otherwise, its layout is the other job's, and so its vector, and the root of that, are
    the other's to the bit.

    Raises:
        JobDocumentError: the models are not alike, tensor by tensor, or a value is out of the range of other bits.
    """
    given = start.document
    if given.seal is not None and document.seal is None:
        raise JobDocumentError(
            f"start: {start.what} is sealed, and this job is not, so that anybody could read it: give this one "
            f"seal = {given.seal!r}, too"
        )
    other_parts = JobDocumentError(
        f"start: the frozen and personal tensors of {start.what} are not those of this job: begin with a file of "
        "the whole model, or name the same parts of the same model"
    )
    if (given.frozen, given.personal) != (document.frozen, document.personal):
        raise other_parts
    _check_tensors(start.what, given.tensors.tensors, document.tensors.tensors)
    _check_local(start.what, given.local, document.local)
    if given.base != document.base:
        raise other_parts
    try:
        layout = given.tensors.with_bits(fraction_bits)
    except VectorError as error:
        raise JobDocumentError(str(error)) from error
    if isinstance(document.privacy, UpdatePrivacy):
        check_noise(document.privacy, layout)
    vector = start.vector if layout == given.tensors else _rescaled(start, layout)
    begun = document.model_copy(update={"layout": layout.to_json(), "local": list(given.local)})
    return JobDocument.from_bytes(begun.to_bytes()), vector


def _check_tensors(what: str, given: Sequence[TensorLayout], own: Sequence[TensorLayout]) -> None:
    for number, expected in enumerate(own):
        if number >= len(given) or given[number].name != expected.name:
            other = f"{given[number].name!r}" if number < len(given) else "no more"
            raise JobDocumentError(
                f"start: tensor {number + 1} of this job's model is {expected.name!r}, and that of {what} {other}"
            )
        if given[number].shape != expected.shape:
            raise JobDocumentError(
                f"start: tensor {expected.name!r} of {what} has the shape {given[number].shape}, and this job's has "
                f"{expected.shape}"
            )
    if len(given) > len(own):
        raise JobDocumentError(f"start: {what} has a tensor {given[len(own)].name!r}, which this job's model lacks")


def _check_local(what: str, given: Sequence[LocalTensor], own: Sequence[LocalTensor]) -> None:
    of = {tensor.name: (tensor.type, list(tensor.shape)) for tensor in given}
    expected = {tensor.name: (tensor.type, list(tensor.shape)) for tensor in own}
    if of != expected:
        name = next(name for name in {**expected, **of} if of.get(name) != expected.get(name))
        raise JobDocumentError(
            f"start: tensor {name!r}, which is in no vector, is {of.get(name)} in {what}, and {expected.get(name)} in "
            "this job's model"
        )


def _rescaled(start: Start, layout: Layout) -> Vector:
    """Return the vector with other fraction bits, rounded half to even where they are fewer."""
    vector = np.zeros(layout.parameters, VECTOR_DTYPE)
    begin = 0
    for old, new in zip(start.document.tensors.tensors, layout.tensors, strict=True):
        end = begin + new.parameters
        # Exact: float64 carries 53 bits, and these are powers of two.
        values = np.rint(start.vector[begin:end].astype(np.float64) * 2.0 ** (new.fraction_bits - old.fraction_bits))
        if values.size and not (values.min() >= INT32_MIN and values.max() <= INT32_MAX):
            raise JobDocumentError(
                f"start: tensor {new.name!r} of {start.what} does not fit {new.fraction_bits} fraction bits, which "
                f"reach to {2.0 ** (31 - new.fraction_bits):g}: give it fewer in fraction_bits"
            )
        vector[begin:end] = values
        begin = end
    return vector
