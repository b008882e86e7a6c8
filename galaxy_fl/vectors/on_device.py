"""Fixed point where a model is: what is trained on a card is encoded there, and one array of integers crosses the bus.

The same bits as the kernels' (`galaxy_fl.vectors.kernels`): scaling by a power of two only moves a float's exponent,
rounding to whole numbers and from int32 to float32 is to the even neighbour on CUDA as on a CPU, and nothing else
rounds. Floats that are too small to be normal, which a device may take for zero, round to zero anyway.

A vector crosses through a block of memory that the system may not move, from which and to which a card reads and writes
by itself. Otherwise the driver does the same in smaller pieces, and torch's new memory is touched page by page, which
takes longer than to bring floats over, tensor by tensor, and to encode them here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from galaxy_fl.vectors.vector import VECTOR_DTYPE, Vector

__all__ = ["bring", "decode", "encode", "send"]

STAGE = 2**20
"""Integers that cross at a time."""


def encode(tensors: Iterable[tuple[Tensor, int]], parameters: int) -> Tensor | None:
    """Return the vector of tensors of 16, 32 or 64-bit floats on one device, each with its fraction bits.

    Args:
        tensors: In the order of the layout.
        parameters: The length of the vector, whose end is filled with zeros.

    Returns:
        int32 on the same device; None where a value is NaN or fits no int32.
    """
    vector: Tensor | None = None
    start = 0
    for tensor, fraction_bits in tensors:
        values = tensor.detach().reshape(-1)
        if vector is None:
            vector = torch.zeros(parameters, dtype=torch.int32, device=values.device)
            fits = torch.ones((), dtype=torch.bool, device=values.device)
        scaled = (values.float() if values.dtype.itemsize == 2 else values) * 2.0**fraction_bits
        scaled.round_()
        fits &= ((scaled >= -(2.0**31)) & (scaled < 2.0**31)).all()  # NaN makes both false
        vector[start : start + len(values)] = scaled
        start += len(values)
    assert vector is not None  # no layout is empty
    return vector if bool(fits) else None


def decode(vector: Tensor, shapes: Sequence[tuple[tuple[int, ...], int]]) -> list[Tensor]:
    """Return float32 tensors, each with storage of its own, on the device of an int32 vector.

    Args:
        vector: What it is decoded from.
        shapes: The shape and the fraction bits of each, in the order of the layout.
    """
    tensors = []
    start = 0
    for shape, fraction_bits in shapes:
        end = start + torch.Size(shape).numel()
        tensors.append((vector[start:end].float() * 2.0**-fraction_bits).reshape(shape))
        start = end
    return tensors


def bring(vector: Tensor) -> Vector:
    """Return an int32 vector that is on a device."""
    here = np.empty(len(vector), VECTOR_DTYPE)  # numpy's memory, because it asks for huge pages
    stage = _stage(len(vector), vector.is_cuda)
    for start in range(0, len(vector), STAGE):
        part = stage[: len(vector) - start]
        part.copy_(vector[start : start + STAGE])
        here[start : start + STAGE] = part.numpy()
    return here


def send(vector: Vector, device: str) -> Tensor:
    """Return an int32 vector on a device, which it shares no memory with."""
    there = torch.empty(len(vector), dtype=torch.int32, device=device)
    stage = _stage(len(vector), there.is_cuda)
    for start in range(0, len(vector), STAGE):
        part = stage[: len(vector) - start]
        part.numpy()[:] = vector[start : start + STAGE]
        there[start : start + STAGE].copy_(part)
    return there


def _stage(length: int, pinned: bool) -> Tensor:
    return torch.empty(min(length, STAGE), dtype=torch.int32, pin_memory=pinned)
