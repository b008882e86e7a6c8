"""The layout of a vector: which tensor lies where, and how fine its fixed point is (protocol section 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from galaxy_fl.exceptions import VectorError

if TYPE_CHECKING:
    import torch

__all__ = [
    "BUFFER_BITS",
    "MAX_DIMENSIONS",
    "MAX_FRACTION_BITS",
    "MAX_PARAMETERS",
    "PARAMETER_BITS",
    "Layout",
    "State",
    "TensorLayout",
    "is_floating",
]

PARAMETER_BITS = 24
"""Fraction bits of a parameter: a range of ±128 with a step of 6e-8."""

BUFFER_BITS = 16
"""Fraction bits of a float buffer: running variances need the range (±32,768) more than the step."""

MAX_FRACTION_BITS = 30

MAX_DIMENSIONS = 64
"""Those of a numpy array."""

MAX_PARAMETERS = 2**53 - 1
"""Of a layout: the largest integer that canonical JSON (RFC 8785) can carry exactly."""

State: TypeAlias = "Mapping[str, torch.Tensor | npt.NDArray[Any]]"


@dataclass(frozen=True)
class TensorLayout:
    """One tensor of a vector.

    Attributes:
        name: its key in the state_dict.
        shape: its dimensions; `()` is a scalar, and a dimension may be 0.
        fraction_bits: a value x is carried as round(x * 2**fraction_bits), 0 to 30.

    Raises:
        VectorError: at construction, for a wrong type or a value out of range.
    """

    name: str
    shape: tuple[int, ...]
    fraction_bits: int = PARAMETER_BITS

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise VectorError(f"name is {self.name!r:.80}, expected the tensor's name, a string that is not empty")
        if not isinstance(self.shape, tuple) or not all(type(n) is int and n >= 0 for n in self.shape):
            raise VectorError(f"shape of {self.name!r:.80} is {self.shape!r:.80}, expected whole numbers from 0 on")
        # Empty dimensions count as one: numpy refuses what would be too large without them.
        if len(self.shape) > MAX_DIMENSIONS or math.prod(max(n, 1) for n in self.shape) > MAX_PARAMETERS:
            raise VectorError(
                f"shape of {self.name!r:.80} is {self.shape!r:.80}, expected at most {MAX_DIMENSIONS} dimensions and "
                f"{MAX_PARAMETERS} elements"
            )
        if type(self.fraction_bits) is not int or not 0 <= self.fraction_bits <= MAX_FRACTION_BITS:
            raise VectorError(
                f"fraction_bits of {self.name!r:.80} is {self.fraction_bits!r:.80}, "
                f"expected a whole number from 0 to {MAX_FRACTION_BITS}"
            )

    @property
    def parameters(self) -> int:
        """Number of elements; a scalar has one."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The tensors of a vector, in order; each is flattened row-major and follows the one before it.

    Raises:
        VectorError: at construction, if there is no tensor, a name occurs twice, or it is too large.
    """

    tensors: tuple[TensorLayout, ...]

    def __post_init__(self) -> None:
        if not self.tensors:
            raise VectorError("the layout is empty, expected at least one tensor")
        seen: set[str] = set()
        for index, tensor in enumerate(self.tensors):
            if tensor.name in seen:
                raise VectorError(f"layout entry {index}: the name {tensor.name!r:.80} occurs a second time")
            seen.add(tensor.name)
        if self.parameters > MAX_PARAMETERS:
            raise VectorError(f"the layout has {self.parameters} parameters, expected at most {MAX_PARAMETERS}")

    @property
    def parameters(self) -> int:
        """Length `d` of a vector of this layout."""
        return sum(tensor.parameters for tensor in self.tensors)

    @classmethod
    def of(cls, source: torch.nn.Module | State) -> Layout:
        """Return the layout of a module's, or of a state_dict's, floating-point tensors.

        Of a module, parameters get 24 fraction bits and float buffers 16. A bare state_dict does not
        tell the two apart: all its tensors count as parameters. Tied parameters occur once a name,
        as in the state_dict. Integer tensors are left out: they stay local.

        Raises:
            VectorError: there is no floating-point tensor.
        """
        if isinstance(source, Mapping):
            state: State = source
            buffers: set[str] = set()
        else:
            state = source.state_dict()
            named = source.named_parameters(remove_duplicate=False)
            buffers = set(state) - {name for name, _ in named}
        return cls(
            tuple(
                TensorLayout(name, tuple(value.shape), BUFFER_BITS if name in buffers else PARAMETER_BITS)
                for name, value in state.items()
                if is_floating(value)
            )
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return the job document's `layout`."""
        return [
            {"name": tensor.name, "shape": list(tensor.shape), "fraction_bits": tensor.fraction_bits}
            for tensor in self.tensors
        ]

    @classmethod
    def from_json(cls, obj: object) -> Layout:
        """Read a job document's `layout`; `fraction_bits` may be left out and is 24 then.

        Raises:
            VectorError: naming the entry that has an unknown or missing key, a wrong type, a value out
                of range or a name that occurred before.
        """
        if not isinstance(obj, list):
            raise VectorError(f"a layout is a list of tensors, got {type(obj).__name__}")
        return cls(tuple(_tensor_from_json(index, entry) for index, entry in enumerate(obj)))


def is_floating(value: object) -> bool:
    """Tell whether a value of a state_dict is a floating-point torch tensor or numpy array."""
    if isinstance(value, np.ndarray):
        return np.issubdtype(value.dtype, np.floating)
    # A torch tensor says so itself, so that this module need not import torch to ask.
    asked = getattr(value, "is_floating_point", None)
    return asked is not None and bool(asked())


def _tensor_from_json(index: int, entry: object) -> TensorLayout:
    if not isinstance(entry, dict):
        raise VectorError(f"layout entry {index} is {entry!r:.80}, expected an object with name and shape")
    if unknown := entry.keys() - {"name", "shape", "fraction_bits"}:
        raise VectorError(f"layout entry {index} has unknown keys: {', '.join(sorted(map(repr, unknown))):.200}")
    if missing := {"name", "shape"} - entry.keys():
        raise VectorError(f"layout entry {index} lacks {' and '.join(sorted(missing))}")
    shape = entry["shape"]
    if not isinstance(shape, list):
        raise VectorError(f"layout entry {index}: shape is {shape!r:.80}, expected a list of whole numbers")
    try:
        return TensorLayout(entry["name"], tuple(shape), entry.get("fraction_bits", PARAMETER_BITS))
    except VectorError as error:
        raise VectorError(f"layout entry {index}: {error}") from None
