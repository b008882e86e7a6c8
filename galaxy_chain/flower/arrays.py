"""Between Flower's named arrays and the vectors of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from galaxy_fl.exceptions import JobDocumentError, VectorError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.vectors import Vector, decode, encode

__all__ = ["Arrays", "as_arrays", "difference_of", "encoded", "numpy_arrays"]

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""A model's arrays by name."""

KINDS = "biufc"
"""Of numpy's types: booleans, integers, floats and complex numbers."""
FLOATS = ("float16", "float32", "float64")


def numpy_arrays(record: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an ArrayRecord, a state_dict or a mapping of numpy arrays.

    Raises:
        JobDocumentError: one is of a kind that Flower does not carry as an array.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    for name, value in record.items():
        try:
            if isinstance(value, np.ndarray):
                found[name] = value
            elif hasattr(value, "detach"):  # a tensor of torch
                found[name] = value.detach().cpu().numpy()
            else:
                found[name] = value.numpy()
            if found[name].dtype.kind not in KINDS:
                raise TypeError(f"it is of {found[name].dtype}")
        except Exception as error:  # anybody has sent the bytes: EOFError, BadZipFile and MemoryError are among them
            why = str(error) or type(error).__name__
            raise JobDocumentError(
                f"{name!r:.80} is not an array that numpy reads ({why:.200}): give numbers of 8 to 64 bits"
            ) from error
    return found


def encoded(document: JobDocument, arrays: Arrays, what: str) -> Vector:
    """The vector of a model's arrays.

    Args:
        document: Of the job.
        arrays: All of the model's.
        what: Whose they are, for messages.

    Raises:
        VectorError: they are not those of the job, or a value fits no fixed point.
    """
    expected = _names(document)
    if missing := expected - arrays.keys():
        raise VectorError(f"{what} lacks the array {min(missing)!r:.80}, which the job's model has")
    if more := arrays.keys() - expected:
        raise VectorError(f"{what} has an array {min(more)!r:.80}, which the job's model does not have")
    for tensor in document.tensors.tensors:
        if arrays[tensor.name].dtype.name not in FLOATS:
            raise VectorError(
                f"{what}: the array {tensor.name!r:.80} is {arrays[tensor.name].dtype}, expected {', '.join(FLOATS)}"
            )
    return encode(dict(arrays), document.tensors)


def as_arrays(document: JobDocument, vector: Vector, like: Arrays) -> dict[str, npt.NDArray[Any]]:
    """A model's arrays.

    Args:
        document: Of the job.
        vector: int32 of the model's size.
        like: Arrays with the names, in the order, and with the types that are wanted.
    """
    state = {name: value.numpy() for name, value in decode(vector, document.tensors).items()}
    state |= {tensor.name: tensor.tensor().numpy() for tensor in document.local}
    return {name: state[name].astype(value.dtype, copy=False) for name, value in like.items()}


def difference_of(document: JobDocument, vector: Vector, arrays: Arrays) -> str | None:
    """In what the arrays of a message are not those of the model that stands on the ledger; None where they are."""
    if arrays.keys() != (expected := _names(document)):
        other = min(arrays.keys() ^ expected)
        return f"the array {other!r:.80} is in one of them alone"
    model = as_arrays(document, vector, arrays)
    for name, value in arrays.items():
        if value.shape != model[name].shape:
            return f"the array {name!r:.80} has the shape {value.shape}, expected {model[name].shape}"
        if not np.array_equal(value, model[name], equal_nan=value.dtype.kind in "fc"):
            return f"the array {name!r:.80} has other values"
    return None


def _names(document: JobDocument) -> set[str]:
    return {tensor.name for tensor in document.tensors.tensors} | {tensor.name for tensor in document.local}
