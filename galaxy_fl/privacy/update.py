"""The mode `update`: a client's whole update is clipped, and noise is added, in integers.

This runs in the client's own process, on the file that the worker has written: nothing that a model's code does can
leave out either. Whatever it has trained, the update is clipped first.

The noise of a parameter is a rounded Gaussian, an integer, and is added to an integer. That is the rounding of the
Gaussian mechanism's real number, so its guarantee holds as it is; and no low bits of a float tell what was added to
what (Mironov, "On Significance of the Least Significant Bits For Differential Privacy", CCS 2012).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galaxy_fl.files import handing_over
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.first_model import read_weights
from galaxy_fl.jobs.privacy import UpdatePrivacy
from galaxy_fl.privacy.entropy import gaussians
from galaxy_fl.vectors import Vector, read_vector, write_vector
from galaxy_fl.vectors.vector import INT32_MAX, INT32_MIN, VECTOR_DTYPE, blocks

__all__ = ["protect", "protected", "spans_of"]

Span = tuple[slice, int]
"""Where a tensor is in a vector, and its fraction bits."""

_MARGIN = 1 - 1e-9
"""More than all roundings of a norm in 64-bit floats, so that none makes an update longer than it may be."""


def protect(start: Path, raw: Path, trained: Path, document: JobDocument, privacy: UpdatePrivacy) -> None:
    """Write, of a trained vector, the one it began with, plus the clipped update, plus noise.

    Args:
        start: The file of the vector that the training began with, which the others know.
        raw: The file of the trained one. The worker knows no other, so that none of its processes can replace what was
            protected by what was not.
        trained: The file to write.
        document: The job's.
        privacy: Its section.

    Raises:
        VectorError, OSError: a file is not such a vector, or can't be read or written.
    """
    parameters = document.tensors.parameters
    vector = protected(read_weights(document, start), read_vector(raw, parameters), spans_of(document), privacy)
    with handing_over(trained) as new:
        write_vector(new, vector)


def protected(before: Vector, after: Vector, spans: Sequence[Span], privacy: UpdatePrivacy) -> Vector:
    """Return a vector plus the clipped update, plus noise.

    Whatever is in no span, such as padding, stays as it was before. What leaves the range of int32 is cut off.

    Args:
        before: int32 array of shape (d,), the vector that the training began with.
        after: Likewise, the trained one.
        spans: Where the tensors are.
        privacy: The job's section.
    """
    norm = math.sqrt(sum(_square(before[span], after[span]) * 4.0**-bits for span, bits in spans))
    scale = 1.0 if norm <= privacy.clip * _MARGIN else privacy.clip * _MARGIN / norm
    deviation = privacy.noise_multiplier * privacy.clip
    vector = np.array(before, VECTOR_DTYPE)
    for span, bits in spans:
        for block in blocks(span.stop - span.start):
            part = slice(span.start + block.start, span.start + block.stop)
            # Towards zero, so that rounding makes nothing longer.
            update = np.trunc(_difference(before[part], after[part]) * scale)
            noise = np.rint(gaussians(len(update)) * math.ldexp(deviation, bits))
            vector[part] = np.clip(before[part] + update + noise, INT32_MIN, INT32_MAX)
    return vector


def spans_of(document: JobDocument) -> list[Span]:
    """Return where the tensors of a job are in its vectors, each with its fraction bits."""
    start, spans = 0, []
    for tensor in document.tensors.tensors:
        spans.append((slice(start, start + tensor.parameters), tensor.fraction_bits))
        start += tensor.parameters
    return spans


def _difference(before: Vector, after: Vector) -> npt.NDArray[np.float64]:
    return after.astype(np.float64) - before


def _square(before: Vector, after: Vector) -> float:
    """The square of a difference's norm, in steps of the fixed point."""
    return sum(float(np.square(_difference(before[block], after[block])).sum()) for block in blocks(len(before)))
