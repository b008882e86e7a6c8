"""The base of a job: one file with what frozen tensors are and personal ones begin with.

It is a safetensors file, in the one form that such tensors have here, so that the same model is the same content: no
metadata, the largest types first and then by name, a head of canonical JSON filled up with spaces to a multiple of 8
bytes. It is written tensor by tensor and mapped into memory when it is read, because it may be larger than memory.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rfc8785

from galaxy_fl.content.content_id import ContentId
from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.local_tensors import BYTES, TensorType
from galaxy_fl.jobs.parts import Base, PartTensor

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BaseFile", "read_base", "write_base"]

_NAMES: dict[TensorType, str] = {
    "bool": "BOOL", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64", "complex64": "C64",
}  # fmt: skip
"""What safetensors calls the types."""
_PIECE = 2**24
"""Bytes of a tensor that are copied at a time."""


class BaseFile:
    """A base on its way into a job, in a temporary folder that is gone when nobody has this any more.

    Attributes:
        path: The file, which is yet to be written.
    """

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="galaxy-base-")
        self.path = Path(folder) / "base"
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    @property
    def described(self) -> Base:
        """What a document says of what was written."""
        found = ContentId.of_file(self.path)
        return Base(content=found.cid, size=found.size)


def write_base(path: Path, tensors: Sequence[PartTensor], state: Mapping[str, Tensor]) -> None:
    """Write the base of some tensors of a model's state.

    Raises:
        JobDocumentError: one is of a type that a base can't have.
        OSError: it can't be written.
    """
    import torch

    if unfit := [tensor for tensor in tensors if tensor.type not in _NAMES]:
        raise JobDocumentError(f"tensor {unfit[0].name!r} is {unfit[0].type}, which a base can't have: make it shared")
    ordered = sorted(tensors, key=lambda tensor: (-BYTES[tensor.type], tensor.name))
    head: dict[str, Any] = {}
    end = 0
    for tensor in ordered:
        begin, end = end, end + tensor.bytes
        head[tensor.name] = {"dtype": _NAMES[tensor.type], "shape": tensor.shape, "data_offsets": [begin, end]}
    content = rfc8785.dumps(head)
    content += b" " * (-len(content) % 8)
    with path.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        for tensor in ordered:
            flat = state[tensor.name].detach().contiguous().reshape(-1)
            if flat.is_complex():
                flat = torch.view_as_real(flat.resolve_conj()).reshape(-1)
            for piece in torch.split(flat.view(torch.uint8), _PIECE) if flat.numel() else ():
                file.write(piece.cpu().numpy().data)


def read_base(path: Path, tensors: Sequence[PartTensor]) -> dict[str, Tensor]:
    """Map a base's tensors into memory. They are not copied; what is written to them does not reach the file.

    Raises:
        JobDocumentError: it is not the base of these tensors; names the first that is missing, one too many, or of
            another type or shape.
    """
    from safetensors import SafetensorError, safe_open

    expected = {tensor.name: (_NAMES.get(tensor.type, tensor.type), tensor.shape) for tensor in tensors}
    try:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            for name in sorted(names | expected.keys()):
                if name not in expected or name not in names:
                    where = "its document" if name not in expected else "its base"
                    raise JobDocumentError(f"the tensor {name!r:.80} is not in {where}: the job's owner has to mend it")
                part = file.get_slice(name)
                if (found := (part.get_dtype(), part.get_shape())) != expected[name]:
                    raise JobDocumentError(
                        f"the tensor {name!r:.80} of the job's base is {found[0]} of shape {found[1]}, its document "
                        f"says {expected[name][0]} of shape {expected[name][1]}: the job's owner has to mend it"
                    )
            return {name: file.get_tensor(name) for name in expected}
    except SafetensorError as error:
        raise JobDocumentError(f"the job's base is not a safetensors file: {error}") from error
