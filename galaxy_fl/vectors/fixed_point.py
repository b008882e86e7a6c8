"""Fixed point: between a model's floats and the int32 that cross the wire (protocol section 1)."""

from __future__ import annotations

import math
import os
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galaxy_fl.exceptions import EncodingError, VectorError
from galaxy_fl.vectors.kernels import kernels
from galaxy_fl.vectors.layout import Layout, State, TensorLayout, fitting_bits, is_floating
from galaxy_fl.vectors.vector import (
    BLOCK_PARAMETERS,
    INT32_MAX,
    INT32_MIN,
    SUM_DTYPE,
    VECTOR_DTYPE,
    Sums,
    Vector,
    as_vector,
    blocks,
)

if TYPE_CHECKING:
    import torch

__all__ = ["decode", "difference", "encode", "read_sums", "read_vector", "write_encoded", "write_vector"]

_SMALL = 1 << 18
"""Bytes that are read sooner than mapped."""


def encode(state: State, layout: Layout) -> Vector:
    """Encode a state_dict's floating-point tensors as one vector, rounding half to even.

    Args:
        state: torch tensors (on any device, of any strides) or numpy arrays, of 16, 32 or 64-bit
            floats, by name. Integer tensors are ignored: they stay local. What is on a CUDA device is encoded there.
        layout: which tensors, in which order and how fine.

    Returns:
        int32 array of shape (layout.parameters,).

    Raises:
        VectorError: a tensor is missing, one too many, or has another shape or type.
        EncodingError: a value is NaN, infinite or out of its tensor's range; names the first one.
    """
    _check_state(state, layout)
    if (there := _encoded_there(state, layout)) is not None:
        return there
    vector = np.empty(layout.parameters, VECTOR_DTYPE)
    start = 0
    for tensor in layout.tensors:
        end = start + tensor.parameters
        _encode_part(_floats(state[tensor.name]), tensor, 0, vector[start:end])
        start = end
    vector[start:] = 0
    return vector


def write_encoded(path: str | os.PathLike[str], state: State, layout: Layout, start: Vector | None = None) -> None:
    """Write to a file what `encode` returns, block by block: memory for all of it would cost more than encoding does.

    Args:
        path: the file.
        state, layout: as of `encode`.
        start: int32 array of shape (layout.parameters,), to write the `difference` from it instead.

    Raises:
        VectorError, EncodingError: as `encode`, or `start` has another type or length; part of the file may be there
            by then.
        OSError: the file can't be written.
    """
    _check_state(state, layout)
    if start is not None:
        start = as_vector(start, layout.parameters)
    if (there := _encoded_there(state, layout)) is not None:
        write_vector(path, there if start is None else difference(there, start))
        return
    buffer = np.empty(min(layout.parameters, BLOCK_PARAMETERS), VECTOR_DTYPE)
    first = 0
    with Path(path).open("wb") as file:
        for tensor in layout.tensors:
            values = _floats(state[tensor.name])
            for block in blocks(len(values)):
                part = buffer[: block.stop - block.start]
                _encode_part(values, tensor, block.start, part)
                if start is not None:
                    part = difference(part, start[first : first + len(part)])
                file.write(part.view(np.uint8).data)
                first += len(part)
        padding = np.zeros(layout.padding, VECTOR_DTYPE)
        file.write((padding if start is None else difference(padding, start[first:])).view(np.uint8).data)


def decode(vector: Vector, layout: Layout, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Decode a vector to a state_dict of float32 tensors, each with storage of its own.

    Args:
        vector: int32 array of shape (layout.parameters,).
        layout: which tensors, in which order and how fine.
        device: where the tensors are wanted; those for other devices than CUDA's are on the CPU.

    Raises:
        VectorError: the vector has another type or length.
    """
    import torch

    vector = as_vector(vector, layout.parameters)
    state: dict[str, torch.Tensor] = {}
    if torch.device(device).type == "cuda":
        from galaxy_fl.vectors import on_device

        there = on_device.send(vector, device)
        shapes = [(tensor.shape, tensor.fraction_bits) for tensor in layout.tensors]
        names = [tensor.name for tensor in layout.tensors]
        return dict(zip(names, on_device.decode(there, shapes), strict=True))
    start = 0
    for tensor in layout.tensors:
        # numpy's memory, because it asks for huge pages: three times faster than filling torch's.
        values = np.empty(tensor.shape, np.float32)
        end = start + tensor.parameters
        kernels().decode(vector[start:end], tensor.fraction_bits, values.reshape(-1))
        state[tensor.name] = torch.from_numpy(values)
        start = end
    return state


def difference(trained: Vector, model: Vector) -> Vector:
    """Return the update `trained - model`, saturating at the ends of int32.

    Args:
        trained: int32 array of shape (d,), the client's trained vector.
        model: int32 array of shape (d,), the vector that the round began with.

    Raises:
        VectorError: not int32 vectors of one length.
    """
    model = as_vector(model)
    trained = as_vector(trained, len(model))
    update = np.empty(len(model), VECTOR_DTYPE)
    longest = min(len(model), BLOCK_PARAMETERS)
    signs, changes = np.empty(longest, VECTOR_DTYPE), np.empty(longest, VECTOR_DTYPE)
    for block in blocks(len(model)):
        after, before, part = trained[block], model[block], update[block]
        np.subtract(after, before, out=part)
        # It has wrapped where the two differ in their signs, and the difference has not that of the first.
        wrapped, changed = signs[: len(part)], changes[: len(part)]
        np.bitwise_xor(after, before, out=wrapped)
        np.bitwise_xor(after, part, out=changed)
        np.bitwise_and(wrapped, changed, out=wrapped)
        if wrapped.min() < 0:
            where = wrapped < 0
            part[where] = np.where(after[where] < 0, INT32_MIN, INT32_MAX)
    return update


def read_vector(path: str | os.PathLike[str], parameters: int) -> Vector:
    """Map a vector's file into memory, read-only; a small one is read.

    Args:
        path: a file of exactly `4 * parameters` bytes.
        parameters: d, at least 1.

    Returns:
        Read-only int32 array of shape (parameters,), backed by the file unless that is small.

    Raises:
        VectorError: the file has another length, or `parameters` is less than 1.
        OSError: it can't be read.
    """
    return _mapped(path, parameters, VECTOR_DTYPE, "vector")


def read_sums(path: str | os.PathLike[str], parameters: int) -> Sums:
    """Map the file of a sum of vectors into memory, read-only; a small one is read.

    Args:
        path: a file of exactly `8 * parameters` bytes.
        parameters: d, at least 1.

    Returns:
        Read-only int64 array of shape (parameters,), backed by the file unless that is small.

    Raises:
        VectorError: the file has another length, or `parameters` is less than 1.
        OSError: it can't be read.
    """
    return _mapped(path, parameters, SUM_DTYPE, "sum")


def _mapped(path: str | os.PathLike[str], parameters: int, dtype: np.dtype[Any], what: str) -> npt.NDArray[Any]:
    expected = dtype.itemsize * parameters
    descriptor = os.open(path, os.O_RDONLY)  # of hundreds of clients small files are read most: no file object, no map
    try:
        length = os.fstat(descriptor).st_size
        if length == expected and 0 < length <= _SMALL:
            content = os.read(descriptor, expected + 1)
            length = len(content)
        if length != expected or not length:
            raise VectorError(
                f"{os.fspath(path)} has {length} bytes, expected {expected} for {parameters} parameters: "
                f"it is not a {what} of this job"
            )
        if length > _SMALL:
            return np.frombuffer(mmap(descriptor, length, access=ACCESS_READ), dtype)
        return np.frombuffer(content, dtype)
    finally:
        os.close(descriptor)


def write_vector(path: str | os.PathLike[str], vector: Vector) -> None:
    """Write a vector's bytes, little-endian int32, to a file of its own.

    Raises:
        VectorError: it is not a one-dimensional int32 array.
        OSError: the file can't be written.
    """
    Path(path).write_bytes(as_vector(vector).view(np.uint8).data)


def _check_state(state: State, layout: Layout) -> None:
    """Make sure that a state has the floating-point tensors of a layout, and no other."""
    names = {tensor.name for tensor in layout.tensors}
    for name, value in state.items():
        if name not in names and is_floating(value):
            raise VectorError(f"the state has a tensor {name!r} that the layout does not know")
    for tensor in layout.tensors:
        if tensor.name not in state:
            raise VectorError(f"the state has no tensor {tensor.name!r}, which the layout lists")
        _check(state[tensor.name], tensor)


def _check(value: Any, tensor: TensorLayout) -> None:
    """Make sure that a tensor of the state is the one that the layout means."""
    if not is_floating(value):
        raise VectorError(
            f"tensor {tensor.name!r} is {getattr(value, 'dtype', type(value).__name__)}, expected floating point"
        )
    if tuple(value.shape) != tensor.shape:
        raise VectorError(f"tensor {tensor.name!r} has the shape {tuple(value.shape)}, the layout says {tensor.shape}")
    if value.dtype.itemsize not in (2, 4, 8):
        raise VectorError(f"tensor {tensor.name!r} is {value.dtype}, expected 16, 32 or 64-bit floats")


def _encoded_there(state: State, layout: Layout) -> Vector | None:
    """Return the vector of a state that is on one CUDA device; None of others, and of values that do not fit."""
    found: Any = [(state[tensor.name], tensor.fraction_bits) for tensor in layout.tensors]
    if not all(getattr(value, "is_cuda", False) and value.device == found[0][0].device for value, _ in found):
        return None
    from galaxy_fl.vectors import on_device

    vector = on_device.encode(found, layout.parameters)
    return None if vector is None else on_device.bring(vector)


def _encode_part(values: npt.NDArray[Any], tensor: TensorLayout, first: int, out: Vector) -> None:
    """Encode as many of a tensor's values as `out` takes, from the `first` on."""
    unfit = kernels().encode(values[first : first + len(out)], tensor.fraction_bits, out)
    if unfit is not None:
        _refuse(values, tensor, first + unfit)


def _floats(value: Any) -> npt.NDArray[Any]:
    """Return a tensor of the state as a flat float array of at least the precision it came in."""
    if isinstance(value, np.ndarray):
        array = value
    else:
        tensor_on_cpu = value.detach().cpu()
        # numpy has no bfloat16; every 16-bit float is a float32 exactly.
        array = (tensor_on_cpu.float() if value.dtype.itemsize == 2 else tensor_on_cpu).numpy()
    return array.reshape(-1)


def _refuse(values: npt.NDArray[Any], tensor: TensorLayout, position: int) -> None:
    index = tuple(int(i) for i in np.unravel_index(position, tensor.shape))
    value, bits = float(values[position]), tensor.fraction_bits
    what = f"tensor {tensor.name!r} at {index} is {value!r}"
    if not math.isfinite(value):
        raise EncodingError(
            f"{what}, which no fixed point carries (the limit of {bits} fraction bits is ±{2.0 ** (31 - bits):g}): "
            "training has diverged; lower the learning rate, and look for NaN and unscaled values in the data"
        )
    limit = f"outside ±2**{31 - bits} (±{2.0 ** (31 - bits):g}), the limit of {bits} fraction bits"
    fitting = fitting_bits(abs(value))
    fewer = f'"{tensor.name}" = {fitting} in the table fraction_bits of its job file, or '
    fewer += f'generate_job(…, fraction_bits={{"{tensor.name}": {fitting}}})'
    raise EncodingError(
        f"{what}, {limit}: scale the data (inputs and targets to a deviation of about 1), or train with a smaller "
        f"learning rate; or submit the job with fewer fraction bits for the tensor: {fewer}"
    )
