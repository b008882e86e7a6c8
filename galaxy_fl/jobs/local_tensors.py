"""Local tensors: what of a model's state is not in its vectors, and goes with the job document instead (section 8).

Integer and boolean tensors belong to each client, which continues from its own; tensors of floats and complex numbers
that no fixed point carries, such as a mask of -inf, are constants. The document says what each of them begins with.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from galaxy_fl.exceptions import JobDocumentError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BYTES", "MAX_LOCAL_BYTES", "LocalTensor", "TensorType", "type_of"]

MAX_LOCAL_BYTES = 2**28
"""Bytes of one tensor; a document of 262,144 bytes could not hold many more, however well they are compressed."""

TensorType = Literal[
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
]  # fmt: skip
BYTES = {
    "bool": 1, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8, "int8": 1, "int16": 2, "int32": 4, "int64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16,
}  # fmt: skip
"""Of an element of each type."""


def type_of(name: str, value: Tensor) -> TensorType:
    """Return the type of a tensor of a model's state.

    Raises:
        JobDocumentError: it is one that does not travel.
    """
    kind = str(value.dtype).removeprefix("torch.")
    if kind not in get_args(TensorType):
        raise JobDocumentError(f"tensor {name!r} is {value.dtype}, which does not travel with a job")
    return cast(TensorType, kind)


class LocalTensor(BaseModel):
    """One local tensor, and what it begins with."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=1000)]
    """Its key in the state_dict."""
    type: TensorType
    """The name of torch's dtype."""
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=64)]
    data: str
    """Its elements, row-major and little-endian, as zlib compresses them, in base64."""

    @model_validator(mode="after")
    def _whole(self) -> LocalTensor:
        self._content()
        return self

    @property
    def constant(self) -> bool:
        """Whether training may not change it."""
        return self.type.startswith(("float", "bfloat", "complex"))

    @classmethod
    def of(cls, name: str, value: Tensor) -> LocalTensor:
        """A tensor of a model's state.

        Raises:
            JobDocumentError: it is of a type that does not travel, or too large.
        """
        import torch

        kind = type_of(name, value)
        size = value.numel() * BYTES[kind]
        if size > MAX_LOCAL_BYTES:
            raise JobDocumentError(f"tensor {name!r} has {size} bytes, at most {MAX_LOCAL_BYTES} travel with a job")
        flat = value.detach().cpu().contiguous().reshape(-1)
        if flat.is_complex():
            flat = torch.view_as_real(flat.resolve_conj()).reshape(-1)
        content = flat.view(torch.uint8).numpy().tobytes()
        data = base64.b64encode(zlib.compress(content, 9)).decode()
        return cls(name=name, type=kind, shape=list(value.shape), data=data)

    def tensor(self) -> Tensor:
        """What it begins with, on the CPU, with storage of its own."""
        import torch

        dtype = getattr(torch, self.type)
        if math.prod(self.shape) == 0:
            return torch.empty(self.shape, dtype=dtype)
        return torch.frombuffer(bytearray(self._content()), dtype=dtype).reshape(self.shape)

    def _content(self) -> bytes:
        # Empty dimensions count as one, as in a layout.
        if math.prod(max(n, 1) for n in self.shape) * BYTES[self.type] > MAX_LOCAL_BYTES:
            raise ValueError(f"{self.name!r:.80} has more than {MAX_LOCAL_BYTES} bytes")
        size = math.prod(self.shape) * BYTES[self.type]
        try:
            inflate = zlib.decompressobj()
            content = inflate.decompress(base64.b64decode(self.data, validate=True), size + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"the data of {self.name!r:.80} can't be read: {error}") from None
        if len(content) != size or not inflate.eof or inflate.unused_data:
            raise ValueError(f"the data of {self.name!r:.80} are not the {size} bytes of its type and shape")
        return content
