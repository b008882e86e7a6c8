"""Reading and writing blocks of vector files: of updates and models (int32), and of sums (int64)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxy_fl.exceptions import VectorError
from galaxy_fl.vectors.kernels import kernels
from galaxy_fl.vectors.vector import SUM_DTYPE, VECTOR_DTYPE

__all__ = ["check_files", "check_length", "default_workers", "read_block", "wide", "write_block"]


def default_workers() -> int:
    """Return how many threads to use: one a processor that this process may use, as far as the kernels gain by it."""
    return min(kernels().workers, len(os.sched_getaffinity(0)))


def wide(block: slice, lanes: int) -> slice:
    """Return where a block of a model is whose parameters have so many lanes."""
    return slice(lanes * block.start, lanes * block.stop)


def check_length(path: Path, length: int, d: int, *, of_sum: bool = False, lanes: int = 1) -> None:
    """Check how long a file is.

    Raises:
        VectorError: it is longer or shorter than a vector, or a sum, of d parameters, each of so many lanes.
    """
    expected = lanes * d * (SUM_DTYPE if of_sum else VECTOR_DTYPE).itemsize
    if length != expected:
        of = f"{d} parameters" if lanes == 1 else f"a model of {d} parameters with {lanes} lanes"
        raise VectorError(f"{path} has {length} bytes, expected {expected} for {of}")


def check_files(paths: Iterable[Path], destination: Path, d: int, *, of_sum: bool = False, lanes: int = 1) -> None:
    """Check files that are to be read before anything is written.

    Raises:
        VectorError: a file has another length, or is the destination.
        OSError: a file can't be looked at.
    """
    exists = destination.exists()
    for path in paths:
        check_length(path, path.stat().st_size, d, of_sum=of_sum, lanes=lanes)
        if exists and destination.samefile(path):
            raise VectorError(f"{path} is to be read and can't be the destination: name another file")


def read_block(source: int, block: slice, buffer: npt.NDArray[Any]) -> None:
    """Read a block of an open file.

    Raises:
        VectorError: the file ends before it.
    """
    # pread rather than a mapping: mapped pages would count as this process's memory, every client's.
    length = os.preadv(source, [buffer.data], buffer.itemsize * block.start)
    if length != buffer.nbytes:
        raise VectorError(f"a file ended {buffer.nbytes - length} bytes early: it was shortened while being read")


def write_block(target: int, block: slice, result: npt.NDArray[Any]) -> None:
    """Write a contiguous block of an open file."""
    content = result.view(np.uint8).data
    done = 0
    while done < len(content):
        done += os.pwrite(target, content[done:], result.itemsize * block.start + done)
