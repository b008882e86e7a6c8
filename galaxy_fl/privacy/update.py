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

from galaxy_fl.files import handing_over
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.privacy import UpdatePrivacy
from galaxy_fl.privacy.entropy import gaussians
from galaxy_fl.vectors import Vector, read_vector, write_vector
from galaxy_fl.vectors.vector import INT32_MAX, INT32_MIN, VECTOR_DTYPE, blocks

__all__ = ["protect", "protected", "spans_of"]

Span = tuple[slice, int]
"""Where a tensor is in a vector, and its fraction bits."""

_MARGIN = 1 - 1e-9
"""More than all roundings of a norm in 64-bit floats, so that none makes an update longer than it may be."""


def protect(raw: Path, update: Path, document: JobDocument, privacy: UpdatePrivacy) -> None:
    """Write an update clipped, plus noise.

    Args:
        raw: The file of the update. The worker knows no other, so that none of its processes can replace what was
            protected by what was not.
        update: The file to write.
        document: The job's.
        privacy: Its section.

    Raises:
        VectorError, OSError: a file is not such a vector, or can't be read or written.
    """
    vector = protected(read_vector(raw, document.tensors.parameters), spans_of(document), privacy)
    with handing_over(update) as new:
        write_vector(new, vector)


def protected(update: Vector, spans: Sequence[Span], privacy: UpdatePrivacy) -> Vector:
    """Return an update clipped, plus noise.

    Whatever is in no span, such as padding, is zero. What leaves the range of int32 is cut off.

    Args:
        update: int32 array of shape (d,), what training has made of each parameter, less what it began with.
        spans: Where the tensors are.
        privacy: The job's section.
    """
    norm = math.sqrt(sum(_square(update[span]) * 4.0**-bits for span, bits in spans))
    scale = 1.0 if norm <= privacy.clip * _MARGIN else privacy.clip * _MARGIN / norm
    deviation = privacy.noise_multiplier * privacy.clip
    vector = np.zeros(len(update), VECTOR_DTYPE)
    for span, bits in spans:
        for block in blocks(span.stop - span.start):
            part = slice(span.start + block.start, span.start + block.stop)
            # Towards zero, so that rounding makes nothing longer.
            clipped = np.trunc(update[part] * scale)
            noise = np.rint(gaussians(len(clipped)) * math.ldexp(deviation, bits))
            vector[part] = np.clip(clipped + noise, INT32_MIN, INT32_MAX)
    return vector


def spans_of(document: JobDocument) -> list[Span]:
    """Return where the tensors of a job are in its vectors, each with its fraction bits."""
    start, spans = 0, []
    for tensor in document.tensors.tensors:
        spans.append((slice(start, start + tensor.parameters), tensor.fraction_bits))
        start += tensor.parameters
    return spans


def _square(update: Vector) -> float:
    """The square of an update's norm, in steps of the fixed point."""
    return sum(float(np.square(update[block].astype(np.float64)).sum()) for block in blocks(len(update)))
