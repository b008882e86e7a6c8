"""The base of a job: one file with what frozen tensors are and personal ones begin with.

It is a safetensors file, in the one form that such files have here (see `safetensors_head`), so that the same model is
the same content. It is written tensor by tensor and mapped into memory when it is read, because it may be larger than
memory.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from galaxy_fl.content.content_id import ContentId
from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.parts import Base, PartTensor
from galaxy_fl.jobs.state_files import NAMES, safetensors_head

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BaseFile", "check_base", "read_base", "write_base"]

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

    if unfit := [tensor for tensor in tensors if tensor.type not in NAMES]:
        raise JobDocumentError(f"tensor {unfit[0].name!r} is {unfit[0].type}, which a base can't have: make it shared")
    head, order = safetensors_head({tensor.name: (tensor.type, tensor.shape) for tensor in tensors})
    with path.open("wb") as file:
        file.write(head)
        for name in order:
            flat = state[name].detach().contiguous().reshape(-1)
            if flat.is_complex():
                flat = torch.view_as_real(flat.resolve_conj()).reshape(-1)
            for piece in torch.split(flat.view(torch.uint8), _PIECE) if flat.numel() else ():
                file.write(piece.cpu().numpy().data)


def read_base(path: Path, tensors: Sequence[PartTensor]) -> dict[str, Tensor]:
    """Map a base's tensors into memory. They are not copied; what is written to them does not reach the file.

    Raises:
        JobDocumentError: as `check_base`.
    """
    from safetensors import safe_open

    check_base(path, tensors)
    with safe_open(path, "pt") as file:
        return {tensor.name: file.get_tensor(tensor.name) for tensor in tensors}


def check_base(path: Path, tensors: Sequence[PartTensor]) -> None:
    """Make sure that a file is the base of these tensors.

    Raises:
        JobDocumentError: it is not; names the first tensor that is missing, one too many, or of another type or shape.
    """
    from safetensors import SafetensorError, safe_open

    expected = {tensor.name: (NAMES.get(tensor.type, tensor.type), tensor.shape) for tensor in tensors}
    try:
        with safe_open(path, "np") as file:
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
    except SafetensorError as error:
        raise JobDocumentError(f"the job's base is not a safetensors file: {error}") from error
