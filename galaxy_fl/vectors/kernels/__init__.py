"""The inner loops: hashing, fixed point and sums, in C where the package's build has made them, in Python elsewhere.

Both do the same to the bit. `GALAXY_KERNELS` may be `python`, or `c`, which is an error where C is not built.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.vectors.kernels.native import SHA, NativeKernels, UnavailableError
from galaxy_fl.vectors.kernels.twin import PythonKernels
from galaxy_fl.vectors.vector import Sums, Vector

__all__ = ["Kernels", "NativeKernels", "PythonKernels", "choose_anew", "description", "kernels"]

_VARIABLE = "GALAXY_KERNELS"


class Kernels(Protocol):
    """Loops over whole arrays, whose callers have checked types and lengths.

    Attributes:
        workers: How many threads are of use at most.
    """

    workers: int

    def digests(self, content: bytes | bytearray | memoryview, size: int) -> bytearray:
        """Return the sha256 (32 bytes each) of the pieces of `size` bytes that content consists of."""
        ...

    def fold(self, nodes: bytearray, levels: int) -> bytes:
        """Return the root (32 bytes) of a binary tree of sha256 that is so many levels above its lowest nodes, 32 bytes
        each, at least one and at most 2**levels; where there are fewer, zeros stand in for those that are missing."""
        ...

    def encode(self, values: npt.NDArray[np.floating[Any]], fraction_bits: int, out: Vector) -> int | None:
        """Write round(value * 2**fraction_bits), half to even, of 16, 32 or 64-bit floats.

        Returns:
            The position of the first value that is NaN or fits no int32; None where all do. What is written then
            means nothing.
        """
        ...

    def decode(self, vector: Vector, fraction_bits: int, out: npt.NDArray[np.float32]) -> None:
        """Write float32(q * 2**-fraction_bits)."""
        ...

    def add_update(self, total: Sums, update: Vector, weight: int) -> None:
        """Add weight * update to a total; the weight is 0 to 2**32 - 1, and int64 wraps."""
        ...

    def add_files(self, total: Sums, start: int, files: Sequence[int], weights: Sequence[int]) -> int | None:
        """Add weight * update of open vector files to a total, whose first lane is theirs of number `start`.

        Returns:
            Which file can't be read or ends before the total does; None where all have been added.
        """
        ...

    def add_sum(self, total: Sums, addend: Sums, bounds: tuple[int, int], beyond: npt.NDArray[np.bool_] | None) -> None:
        """Add a sum to a total, which wraps, and set `beyond` in the lanes in which it is out of its bounds."""
        ...

    def move(self, model: Vector, sums: Sums, weight: int, out: Vector) -> None:
        """Write clamp(model + floor((sum + floor(weight / 2)) / weight)) of any sums; the weight is 1 to 2**32 - 1."""
        ...


def kernels() -> Kernels:
    """Return the kernels that this process uses.

    Raises:
        ConfigurationError: GALAXY_KERNELS has another value, or is `c` and there are none.
    """
    return _chosen()[0]


def description() -> str:
    """Return which kernels this process uses, and why where they are not the fast ones.

    Raises:
        ConfigurationError: as `kernels`.
    """
    return _chosen()[1]


def choose_anew() -> None:
    """Look at the environment again, and at what is built; kernels are chosen once otherwise."""
    _chosen.cache_clear()


@cache
def _chosen() -> tuple[Kernels, str]:
    wanted = os.environ.get(_VARIABLE, "")
    if wanted not in ("", "c", "python"):
        raise ConfigurationError(
            f"{_VARIABLE} is {wanted!r:.40}, expected c or python, or nothing: C where it is built"
        )
    if wanted == "python":
        return PythonKernels(), f"Python, because {_VARIABLE} says so"
    try:
        native = NativeKernels()
    except UnavailableError as reason:
        if wanted == "c":
            raise ConfigurationError(f"{_VARIABLE} is c, and there are no kernels in C, because {reason}") from None
        return PythonKernels(), f"Python, because {reason}"
    return native, f"C with{'' if native.instructions & SHA else 'out'} SHA instructions"
