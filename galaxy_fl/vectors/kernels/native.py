"""The kernels in C: a shared library that the package's build makes where there is a compiler.

Called by ctypes, which lets other threads run meanwhile. C gets addresses and lengths, which are checked here.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxy_fl.vectors.kernels.sources import sources_digest
from galaxy_fl.vectors.kernels.twin import PythonKernels
from galaxy_fl.vectors.vector import BLOCK_PARAMETERS, Sums, Vector, blocks

__all__ = ["NativeKernels", "UnavailableError"]

SHA = 1
"""Bit of `instructions.h`."""

_DIGEST_BYTES = 32
_LONG_PIECE = 4096
"""Bytes of a piece that OpenSSL hashes faster than plain C."""
_FILES_AT_ONCE = 4
"""As `sums.c` adds them."""
_HIGHEST_WEIGHT = 2**32 - 1

_INSTRUCTIONS, _ADDRESS, _COUNT = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
_SIGNATURES: dict[str, tuple[Any, ...]] = {  # what it returns, what it takes
    "galaxy_sources": (ctypes.c_char_p,),
    "galaxy_instructions": (ctypes.c_int,),
    "galaxy_digests": (None, _INSTRUCTIONS, _ADDRESS, _COUNT, _COUNT, _ADDRESS),
    "galaxy_fold": (None, _INSTRUCTIONS, _ADDRESS, _COUNT, _COUNT),
    "galaxy_encode_float": (ctypes.c_ssize_t, _INSTRUCTIONS, _ADDRESS, _COUNT, ctypes.c_float, _ADDRESS),
    "galaxy_encode_double": (ctypes.c_ssize_t, _INSTRUCTIONS, _ADDRESS, _COUNT, ctypes.c_double, _ADDRESS),
    "galaxy_decode": (None, _INSTRUCTIONS, _ADDRESS, _COUNT, ctypes.c_float, _ADDRESS),
    "galaxy_add_update": (None, _INSTRUCTIONS, _ADDRESS, _ADDRESS, _COUNT, ctypes.c_int64),
    "galaxy_add_files": (
        ctypes.c_ssize_t,
        _INSTRUCTIONS,
        _ADDRESS,
        _COUNT,
        ctypes.c_int64,
        _ADDRESS,
        _ADDRESS,
        _COUNT,
        _ADDRESS,
        _COUNT,
    ),
    "galaxy_add_sum": (None, _ADDRESS, _ADDRESS, _COUNT, ctypes.c_int64, ctypes.c_int64, _ADDRESS),
    "galaxy_move": (None, _INSTRUCTIONS, _ADDRESS, _ADDRESS, _COUNT, ctypes.c_int64, _ADDRESS),
}


class UnavailableError(Exception):
    """The library can't be used; says why, as the rest of a sentence that begins "because"."""


class NativeKernels:
    """See `Kernels`.

    Args:
        path: The library.
        instructions: Which it may use, bits of `instructions.h`; by default all that the processor has.

    Raises:
        UnavailableError: it is not there, can't be loaded, or was built from other sources.
    """

    workers = 4

    def __init__(self, path: Path | None = None, instructions: int | None = None) -> None:
        if sys.byteorder != "little":
            raise UnavailableError("this processor is big-endian")
        self._library = _loaded(path or library())
        self.instructions = self._library.galaxy_instructions() if instructions is None else instructions
        self._twin = PythonKernels()

    def digests(self, content: bytes | bytearray | memoryview, size: int) -> bytearray:
        """See `Kernels.digests`."""
        if size >= _LONG_PIECE and not self.instructions & SHA:
            return self._twin.digests(content, size)
        pieces = np.frombuffer(content, np.uint8) if len(content) else np.empty(0, np.uint8)
        count = len(pieces) // size
        if count * size != len(pieces):
            raise ValueError(f"{len(pieces)} bytes are not pieces of {size}")
        out = bytearray(_DIGEST_BYTES * count)
        if count:
            target = np.frombuffer(out, np.uint8).ctypes.data
            self._library.galaxy_digests(self.instructions, pieces.ctypes.data, count, size, target)
        return out

    def fold(self, nodes: bytearray, levels: int) -> bytes:
        """See `Kernels.fold`."""
        count, rest = divmod(len(nodes), _DIGEST_BYTES)
        if rest or not 1 <= count <= 1 << levels:
            raise ValueError(f"{len(nodes)} bytes are not the nodes that are {levels} levels below a root")
        room = nodes + bytes(_DIGEST_BYTES)
        self._library.galaxy_fold(self.instructions, np.frombuffer(room, np.uint8).ctypes.data, count, levels)
        return bytes(room[:_DIGEST_BYTES])

    def encode(self, values: npt.NDArray[np.floating[Any]], fraction_bits: int, out: Vector) -> int | None:
        """See `Kernels.encode`."""
        wide = values.dtype.itemsize == 8
        dtype: type[np.floating[Any]] = np.float64 if wide else np.float32
        encode: Callable[..., int] = self._library.galaxy_encode_double if wide else self._library.galaxy_encode_float
        whole = values.dtype == dtype and values.flags.c_contiguous and values.flags.aligned
        for block in [slice(0, len(values))] if whole else blocks(len(values)):
            part = _ready(values[block], dtype)
            target = _checked(out[block], np.int32, len(part))
            wrong = encode(self.instructions, part.ctypes.data, len(part), 2.0**fraction_bits, target)
            if wrong >= 0:
                return block.start + wrong
        return None

    def decode(self, vector: Vector, fraction_bits: int, out: npt.NDArray[np.float32]) -> None:
        """See `Kernels.decode`."""
        vector = _ready(vector, np.int32)
        target = _checked(out, np.float32, len(vector))
        self._library.galaxy_decode(self.instructions, vector.ctypes.data, len(vector), 2.0**-fraction_bits, target)

    def add_update(self, total: Sums, update: Vector, weight: int) -> None:
        """See `Kernels.add_update`."""
        update = _ready(update, np.int32)
        target = _checked(total, np.int64, len(update))
        _check_weight(weight)
        self._library.galaxy_add_update(self.instructions, target, update.ctypes.data, len(update), weight)

    def add_files(self, total: Sums, start: int, files: Sequence[int], weights: Sequence[int]) -> int | None:
        """See `Kernels.add_files`."""
        target = _checked(total, np.int64, len(total))
        for weight in weights:
            _check_weight(weight)
        if len(files) != len(weights) or start < 0:
            raise ValueError(f"{len(files)} files and {len(weights)} weights, from lane {start}")
        numbers, factors = np.array(files, np.intc), np.array(weights, np.int64)
        at_once = min(len(total), BLOCK_PARAMETERS)
        buffer = _buffer.of(_FILES_AT_ONCE * at_once)
        failed: int = self._library.galaxy_add_files(
            self.instructions,
            target,
            len(total),
            start,
            numbers.ctypes.data,
            factors.ctypes.data,
            len(files),
            buffer.ctypes.data,
            at_once,
        )
        return None if failed < 0 else failed

    def add_sum(self, total: Sums, addend: Sums, bounds: tuple[int, int], beyond: npt.NDArray[np.bool_] | None) -> None:
        """See `Kernels.add_sum`."""
        if beyond is None:
            np.add(total, addend, out=total)
            return
        addend = _ready(addend, np.int64)
        target, marks = _checked(total, np.int64, len(addend)), _checked(beyond, np.bool_, len(addend))
        self._library.galaxy_add_sum(target, addend.ctypes.data, len(addend), *bounds, marks)

    def move(self, model: Vector, sums: Sums, weight: int, out: Vector) -> None:
        """See `Kernels.move`."""
        model, sums = _ready(model, np.int32), _ready(sums, np.int64)
        target = _checked(out, np.int32, len(model))
        _check_weight(weight)
        if len(sums) != len(model) or not weight:
            raise ValueError(f"{len(sums)} sums of weight {weight} do not move {len(model)} parameters")
        self._library.galaxy_move(self.instructions, model.ctypes.data, sums.ctypes.data, len(model), weight, target)


class _Buffer(threading.local):
    """Where a thread reads files to. Shorter pieces would fit a closer cache, but a call of the system costs more."""

    def __init__(self) -> None:
        self._lanes: Vector = np.empty(0, np.int32)

    def of(self, size: int) -> Vector:
        if len(self._lanes) < size:  # thousands of threads may have a small model each
            self._lanes = np.empty(size, np.int32)
        return self._lanes


_buffer = _Buffer()


def library() -> Path:
    """Return where the package's build puts the library."""
    names = [f"_library{suffix}" for suffix in EXTENSION_SUFFIXES]
    here = Path(__file__).parent
    return next((here / name for name in names if (here / name).exists()), here / names[0])


def _loaded(path: Path) -> ctypes.CDLL:
    if not path.exists():
        raise UnavailableError("it was not built (there was no C compiler when the package was installed)")
    try:
        loaded = ctypes.CDLL(str(path))
        for name, (returned, *taken) in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = returned, taken
    except (OSError, AttributeError) as error:
        raise UnavailableError(f"the library can't be loaded ({error})") from error
    if loaded.galaxy_sources().decode() != sources_digest(Path(__file__).with_name("c")):
        raise UnavailableError("the library was built from other sources: run `python setup.py build_ext --inplace`")
    return loaded


def _ready(array: npt.NDArray[Any], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Return an array that C can read: contiguous, aligned and of that type; a copy where it is not."""
    return np.require(array, dtype, ["C", "A"])


def _checked(out: npt.NDArray[Any], dtype: type[np.generic], count: int) -> int:
    """Return the address of an array that C writes to.

    Raises:
        ValueError: it is not a writable, contiguous, aligned array of so many items of the type.
    """
    flags = out.flags
    if out.dtype != dtype or out.shape != (count,) or not (flags.c_contiguous and flags.aligned and flags.writeable):
        raise ValueError(f"{out.dtype} of shape {out.shape} does not take {count} of {dtype.__name__}")
    return out.ctypes.data


def _check_weight(weight: int) -> None:
    if not 0 <= weight <= _HIGHEST_WEIGHT:
        raise ValueError(f"weight is {weight}, expected 0 to {_HIGHEST_WEIGHT}")
