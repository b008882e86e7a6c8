"""Files of a state_dict, for `torch.load` and as safetensors, written without PyTorch, whose import takes longer.

One tensor at a time is in memory, and the same tensors are the same bytes whoever writes them.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rfc8785

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.local_tensors import BYTES, TensorType

__all__ = ["NAMES", "StoredTensor", "safetensors_head", "stored_in", "write_safetensors", "write_state_dict"]

NAMES: dict[TensorType, str] = {
    "bool": "BOOL", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64", "complex64": "C64",
}  # fmt: skip
"""What safetensors calls the types."""
STORAGES: dict[TensorType, str] = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "float16": "Half", "bfloat16": "BFloat16", "float32": "Float", "float64": "Double",
    "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip
"""What `torch.load` calls the storage of the types that have one of their own."""
ALIGNMENT = 64
"""Bytes of which each tensor begins at a multiple in a file for `torch.load`, which may map it."""

FILE_HEADER, FIELD_HEADER = 30, 4
"""Bytes before the name of a file in a zip archive, and of a further field of it."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is yet to be read.

    Attributes:
        type: Name of torch's dtype.
        shape: Its shape.
        read: Returns its elements, row-major and little-endian, as uint8 array.
    """

    type: TensorType
    shape: Sequence[int]
    read: Callable[[], npt.NDArray[np.uint8]]

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * BYTES[self.type]


def stored_in(path: Path) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the bytes of each tensor of a safetensors file that is known to be one, mapped from it."""
    content = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
    begins = 8 + int.from_bytes(content[:8], "little")
    head = json.loads(bytes(content[8:begins]))
    head.pop("__metadata__", None)
    spans = {name: described["data_offsets"] for name, described in head.items()}
    return {name: content[begins + start : begins + end] for name, (start, end) in spans.items()}


def safetensors_head(tensors: dict[str, tuple[TensorType, Sequence[int]]]) -> tuple[bytes, list[str]]:
    """Return what a safetensors file of such tensors begins with, and the order in which their bytes follow.

    There is one form: no metadata, the largest types first and then by name, canonical JSON filled up with spaces to a
    multiple of 8 bytes.
    """
    order = sorted(tensors, key=lambda name: (-BYTES[tensors[name][0]], name))
    head: dict[str, Any] = {}
    end = 0
    for name in order:
        kind, shape = tensors[name]
        begin, end = end, end + math.prod(shape) * BYTES[kind]
        head[name] = {"dtype": NAMES[kind], "shape": list(shape), "data_offsets": [begin, end]}
    content = rfc8785.dumps(head)
    content += b" " * (-len(content) % 8)
    return len(content).to_bytes(8, "little") + content, order


def write_safetensors(path: Path, tensors: dict[str, StoredTensor]) -> None:
    """Write the tensors of a state_dict as safetensors.

    Raises:
        TrainingError: one is of a type that such a file can't have.
        OSError: it can't be written.
    """
    if unfit := [name for name, tensor in tensors.items() if tensor.type not in NAMES]:
        raise TrainingError(
            f"tensor {unfit[0]!r} is {tensors[unfit[0]].type}, which a safetensors file can't have: keep its real and "
            "imaginary parts in a real tensor"
        )
    head, order = safetensors_head({name: (tensor.type, tensor.shape) for name, tensor in tensors.items()})
    with path.open("wb") as file:
        file.write(head)
        for name in order:
            file.write(tensors[name].read().data)


def write_state_dict(path: Path, tensors: dict[str, StoredTensor]) -> None:
    """Write the tensors of a state_dict, for `torch.load(…, weights_only=True)`, each with storage of its own.

    Raises:
        OSError: it can't be written.
    """
    with zipfile.ZipFile(path, "w") as archive:  # whose contents torch expects uncompressed

        def write(name: str, content: bytes | memoryview) -> None:
            entry = zipfile.ZipInfo(f"archive/{name}")  # of 1980
            entry.create_system = 0
            # A field of no meaning before the content moves that to where it should begin.
            begins = archive.start_dir + FILE_HEADER + len(entry.filename) + FIELD_HEADER
            padding = -begins % ALIGNMENT
            entry.extra = b"FB" + padding.to_bytes(2, "little") + bytes(padding)
            archive.writestr(entry, content)

        write("data.pkl", b"".join(_instructions(tensors)))
        write("byteorder", b"little")
        for number, tensor in enumerate(tensors.values()):
            write(f"data/{number}", tensor.read().data)
        write("version", b"3\n")


def _instructions(tensors: dict[str, StoredTensor]) -> Iterator[bytes]:
    """Yield the program, in the language of pickle, by which `torch.load` makes a dictionary of the tensors.

    It is the one that `torch.save` writes, but that nothing is remembered for a second use.
    """
    yield b"\x80\x02}("  # version 2; a dictionary; what is in it begins
    for number, (name, tensor) in enumerate(tensors.items()):
        elements = math.prod(tensor.shape)
        strides = [math.prod(max(n, 1) for n in tensor.shape[place + 1 :]) for place in range(len(tensor.shape))]
        own = STORAGES.get(tensor.type)
        yield _text(name) + _name("torch._utils", f"_rebuild_tensor_v{3 if own is None else 2}") + b"("
        yield b"(" + _text("storage")
        yield _name("torch.storage", "UntypedStorage") if own is None else _name("torch", f"{own}Storage")
        yield _text(str(number)) + _text("cpu") + _number(tensor.bytes if own is None else elements) + b"tQ"
        yield _number(0) + _numbers(tensor.shape) + _numbers(strides)
        yield b"\x89" + _name("collections", "OrderedDict") + b")R"  # needs no gradient; has no hooks
        yield (_name("torch", tensor.type) if own is None else b"") + b"tR"
    yield b"u."  # all into the dictionary; the end


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + len(content).to_bytes(4, "little") + content


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _number(number: int) -> bytes:
    if number < 2**31:
        return b"J" + number.to_bytes(4, "little")
    return b"\x8a\x08" + number.to_bytes(8, "little")


def _numbers(numbers: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(_number, numbers)) + b"t"
