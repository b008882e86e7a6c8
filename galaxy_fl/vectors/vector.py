"""What a vector is: `d` little-endian int32, one-dimensional, and nothing else; and a sum of such, `d` int64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from galaxy_fl.exceptions import VectorError

__all__ = [
    "BLOCK_PARAMETERS",
    "INT32_MAX",
    "INT32_MIN",
    "SUM_DTYPE",
    "VECTOR_DTYPE",
    "Sums",
    "Vector",
    "as_sums",
    "as_vector",
    "blocks",
]

Vector: TypeAlias = npt.NDArray[np.int32]
Sums: TypeAlias = npt.NDArray[np.int64]

VECTOR_DTYPE = np.dtype("<i4")
SUM_DTYPE = np.dtype("<i8")
INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1

BLOCK_PARAMETERS = 65_536
"""Parameters handled at a time: a block and its int64 twin stay in the processor's cache, and numpy's
cost a call is nothing against the work (4,096 and a million are both two to three times slower)."""


def as_vector(array: npt.NDArray[Any], parameters: int | None = None) -> Vector:
    """Return `array` as a contiguous little-endian int32 vector, without a copy where it is one.

    Args:
        array: one-dimensional int32 array.
        parameters: the length that it must have, if that is known.

    Raises:
        VectorError: another type, number of dimensions or length.
    """
    if array.dtype != np.int32 or array.ndim != 1:
        raise VectorError(
            f"a vector is a one-dimensional int32 array, got {array.dtype} of shape {array.shape}: "
            "encode a model's state first"
        )
    if parameters is not None and len(array) != parameters:
        raise VectorError(
            f"the vector has {len(array)} parameters, expected {parameters}: it belongs to another layout"
        )
    return np.ascontiguousarray(array, dtype=VECTOR_DTYPE)


def as_sums(array: npt.NDArray[Any], parameters: int | None = None) -> Sums:
    """Return `array` as contiguous little-endian int64 sums, without a copy where it is such.

    Args:
        array: one-dimensional int64 array.
        parameters: the length that it must have, if that is known.

    Raises:
        VectorError: another type, number of dimensions or length.
    """
    if array.dtype != np.int64 or array.ndim != 1:
        raise VectorError(f"a sum is a one-dimensional int64 array, got {array.dtype} of shape {array.shape}")
    if parameters is not None and len(array) != parameters:
        raise VectorError(f"the sum has {len(array)} parameters, expected {parameters}: it belongs to another layout")
    return np.ascontiguousarray(array, dtype=SUM_DTYPE)


def blocks(parameters: int) -> Iterator[slice]:
    """Yield the slices that cut `parameters` parameters into blocks, in order; the last may be shorter."""
    for start in range(0, parameters, BLOCK_PARAMETERS):
        yield slice(start, min(start + BLOCK_PARAMETERS, parameters))
