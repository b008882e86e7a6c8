"""The kernels in Python: those in C have to equal them to the bit, and they stand in where those are not built."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from hashlib import sha256
from struct import iter_unpack
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxy_fl.vectors.vector import BLOCK_PARAMETERS, INT32_MAX, INT32_MIN, VECTOR_DTYPE, Sums, Vector, blocks

__all__ = ["PythonKernels"]

_DIGEST_BYTES = 32


class PythonKernels:
    """See `Kernels`."""

    workers = 2

    def digests(self, content: bytes | bytearray | memoryview, size: int) -> bytearray:
        """See `Kernels.digests`."""
        # iter_unpack cuts the pieces in C; hashlib keeps the GIL below 2 KB, so threads would not help.
        return bytearray().join(sha256(piece).digest() for (piece,) in iter_unpack(f"{size}s", content))

    def fold(self, nodes: bytearray, levels: int) -> bytes:
        """See `Kernels.fold`."""
        padding = bytes(_DIGEST_BYTES)
        for _ in range(levels):
            if len(nodes) % (2 * _DIGEST_BYTES):
                nodes = nodes + padding
            nodes = self.digests(nodes, 2 * _DIGEST_BYTES)
            padding = sha256(padding + padding).digest()
        return bytes(nodes)

    def encode(self, values: npt.NDArray[np.floating[Any]], fraction_bits: int, out: Vector) -> int | None:
        """See `Kernels.encode`."""
        # float32 stays float32: scaling by a power of two only moves the exponent (one too large becomes infinite and
        # is refused; one that gets too small to be normal is far below a half), rint is exact, and the result is
        # compared with 2**31, which float32 holds; the largest float32 below it is 2**31 - 128.
        dtype: type[np.floating[Any]] = np.float64 if values.dtype.itemsize == 8 else np.float32
        scale = dtype(2.0**fraction_bits)
        buffer = np.empty(min(len(values), BLOCK_PARAMETERS), dtype)
        for block in blocks(len(values)):
            scaled = buffer[: block.stop - block.start]
            with np.errstate(over="ignore", invalid="ignore"):
                np.multiply(values[block], scale, out=scaled)
                np.rint(scaled, out=scaled)
                # NaN spreads into min and max and makes both comparisons false.
                in_range = bool(scaled.min() >= INT32_MIN) and bool(scaled.max() < 2**31)
            if not in_range:
                fits = np.logical_and(np.greater_equal(scaled, INT32_MIN), np.less(scaled, 2**31))
                return int(block.start) + int(np.argmin(fits))
            np.copyto(out[block], scaled, casting="unsafe")
        return None

    def decode(self, vector: Vector, fraction_bits: int, out: npt.NDArray[np.float32]) -> None:
        """See `Kernels.decode`."""
        # Only the conversion rounds (half to even); the power of two then changes just the exponent, and
        # never below the normal floats, so this is float32(q * 2**-fraction_bits).
        step = np.float32(2.0**-fraction_bits)
        for block in blocks(len(vector)):
            part = out[block]
            part[...] = vector[block]
            part *= step

    def add_update(self, total: Sums, update: Vector, weight: int) -> None:
        """See `Kernels.add_update`."""
        for block in blocks(len(total)):
            product = _scratch.of(block.stop - block.start)
            # Widened first: int32 times a bare int would overflow, and widening while multiplying is slower.
            np.copyto(product, update[block])
            np.multiply(product, weight, out=product)
            np.add(total[block], product, out=total[block])

    def add_files(self, total: Sums, start: int, files: Sequence[int], weights: Sequence[int]) -> int | None:
        """See `Kernels.add_files`."""
        for index, (file, weight) in enumerate(zip(files, weights, strict=True)):
            for block in blocks(len(total)):
                update = _scratch.lanes(block.stop - block.start)
                if os.preadv(file, [update.data], update.itemsize * (start + block.start)) != update.nbytes:
                    return index
                self.add_update(total[block], update, weight)
        return None

    def add_sum(self, total: Sums, addend: Sums, bounds: tuple[int, int], beyond: npt.NDArray[np.bool_] | None) -> None:
        """See `Kernels.add_sum`."""
        if beyond is not None:
            lowest, highest = bounds
            np.logical_or(beyond, (addend < lowest) | (addend > highest), out=beyond)
        np.add(total, addend, out=total)

    def move(self, model: Vector, sums: Sums, weight: int, out: Vector) -> None:
        """See `Kernels.move`."""
        lowest, highest = weight * INT32_MIN, weight * INT32_MAX
        for block in blocks(len(model)):
            moved = _scratch.of(block.stop - block.start)
            np.copyto(moved, sums[block])
            if moved.min() >= lowest and moved.max() <= highest:
                np.add(moved, weight // 2, out=moved)
                np.floor_divide(moved, weight, out=moved)
            else:
                # No updates sum to that, and adding half of the weight may overflow: divided first, and cut to what
                # moves every model to the end of int32.
                quotient, rest = np.divmod(moved, weight)
                np.add(rest, weight // 2, out=rest)
                np.floor_divide(rest, weight, out=rest)
                np.clip(quotient, 2 * INT32_MIN, 2 * INT32_MAX + 1, out=quotient)
                np.add(quotient, rest, out=moved)
            np.add(moved, model[block], out=moved)
            np.clip(moved, INT32_MIN, INT32_MAX, out=moved)
            out[block] = moved.astype(VECTOR_DTYPE)


class _Scratch(threading.local):
    """A block of sums and one of a vector a thread: mapping fresh memory for every block would halve the speed."""

    def __init__(self) -> None:
        self._block: Sums = np.empty(0, np.int64)
        self._lanes: Vector = np.empty(0, VECTOR_DTYPE)

    def of(self, size: int) -> Sums:
        if len(self._block) < size:  # thousands of threads may have a small model each
            self._block = np.empty(size, np.int64)
        return self._block[:size]

    def lanes(self, size: int) -> Vector:
        if len(self._lanes) < size:
            self._lanes = np.empty(size, VECTOR_DTYPE)
        return self._lanes[:size]


_scratch = _Scratch()
