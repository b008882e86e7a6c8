"""The model that a job's first round starts from, and which part of any model clients train.

Where the rule keeps moments, a model has several int32 for each parameter: what is trained, then the moments. They
begin with zero, but for what is only averaged (float buffers: a step of Adam would make a variance negative), whose
first moment says so for ever. No rule and no ledger sees to it, so every participant does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from galaxy_fl.aggregation import RULES
from galaxy_fl.aggregation.server_optimizer import AVERAGED
from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.vectors import Vector, as_vector, read_vector

__all__ = ["averaged_by", "check_first_model", "first_model", "read_weights"]


def averaged_by(rule: str, buffers: Sequence[str]) -> list[str] | None:
    """Return the `averaged` of a job document by its rule and its model's float buffers."""
    return list(buffers) if RULES[rule].lanes > 1 else None


def first_model(document: JobDocument, weights: Vector) -> Vector:
    """Return the model that a job begins with.

    Args:
        document: The job's.
        weights: int32 array of shape (d,).

    Returns:
        int32 array of shape (lanes * d,), `weights` itself where there is one lane.

    Raises:
        VectorError: `weights` has another length or type.
    """
    weights = as_vector(weights, document.tensors.parameters)
    if document.lanes == 1:
        return weights
    rows = np.zeros((len(weights), document.lanes), weights.dtype)
    rows[:, 0], rows[:, 1] = weights, _first_moments(document)
    return rows.reshape(-1)


def check_first_model(document: JobDocument, path: str | os.PathLike[str]) -> None:
    """Make sure that a job begins without moments of an earlier life.

    Raises:
        JobDocumentError: it does not.
        VectorError, OSError: as `read_vector`.
    """
    if document.lanes == 1:
        return
    rows = read_vector(path, document.model_parameters).reshape(-1, document.lanes)
    wrong = (rows[:, 1] != _first_moments(document)) | rows[:, 2:].any(axis=1)
    if wrong.any():
        at = int(wrong.argmax())
        raise JobDocumentError(
            f"the model that the job begins with has moments {rows[at, 1:].tolist()} at parameter {at}, expected zeros "
            f"(of what is only averaged {AVERAGED} first): take no part, its owner moves the model by what nobody has "
            "trained"
        )


def read_weights(document: JobDocument, path: str | os.PathLike[str]) -> Vector:
    """Return what clients train of a model's file.

    Returns:
        int32 array of shape (d,); read-only, and backed by the file, where the model has one lane.

    Raises:
        VectorError, OSError: as `read_vector`.
    """
    model = read_vector(path, document.model_parameters)
    return model if document.lanes == 1 else np.ascontiguousarray(model.reshape(-1, document.lanes)[:, 0])


def _first_moments(document: JobDocument) -> Vector:
    moments, end = np.zeros(document.tensors.parameters, np.int32), 0
    averaged = set(document.averaged or ())
    for tensor in document.tensors.tensors:
        begin, end = end, end + tensor.parameters
        if tensor.name in averaged:
            moments[begin:end] = AVERAGED
    return moments
