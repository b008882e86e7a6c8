"""The layout of a vector: which tensor lies where, and how fine its fixed point is (protocol section 1)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
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
    "MIN_FRACTION_BITS",
    "PARAMETER_BITS",
    "SHORTEST_VECTOR",
    "Layout",
    "State",
    "TensorLayout",
    "fitting_bits",
    "is_floating",
]

PARAMETER_BITS = 24
"""Fraction bits of a parameter: a range of ±128 with a step of 6e-8."""

BUFFER_BITS = 16
"""Fraction bits of a float buffer: running variances need the range (±32,768) more than the step."""

MAX_FRACTION_BITS = 30

MIN_FRACTION_BITS = -96
"""A step of 2**96 and a range of ±2**127: what is coarser reaches beyond float32."""

MARGIN_BITS = 4
"""Where fraction bits follow from a value, the range is more than 2**4 times that: training makes values grow."""

SHORTEST_VECTOR = 9
"""One more than the smallest chunk of a ledger; the vectors of smaller models are padded."""

MAX_DIMENSIONS = 64
"""Those of a numpy array."""

MAX_PARAMETERS = 2**53 - 1
"""The largest size of a layout: the largest integer that canonical JSON (RFC 8785) can carry exactly."""

State: TypeAlias = "Mapping[str, torch.Tensor | npt.NDArray[Any]]"


@dataclass(frozen=True)
class TensorLayout:
    """One tensor of a vector.

    Attributes:
        name: its key in the state_dict.
        shape: its dimensions; `()` is a scalar, and a dimension may be 0.
        fraction_bits: a value x is carried as round(x * 2**fraction_bits), -96 to 30.

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
        if type(self.fraction_bits) is not int or not MIN_FRACTION_BITS <= self.fraction_bits <= MAX_FRACTION_BITS:
            raise VectorError(
                f"fraction_bits of {self.name!r:.80} is {self.fraction_bits!r:.80}, "
                f"expected a whole number from {MIN_FRACTION_BITS} to {MAX_FRACTION_BITS}"
            )

    @property
    def parameters(self) -> int:
        """Number of elements; a scalar has one."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The tensors of a vector, in order; each is flattened row-major and follows the one before it.

    Attributes:
        tensors: at least one.
        padding: how many zeros come after them; they mean nothing, and whoever decodes ignores them.

    Raises:
        VectorError: at construction, if there is no tensor, a name occurs twice, or it is too large.
    """

    tensors: tuple[TensorLayout, ...]
    padding: int = 0

    def __post_init__(self) -> None:
        if type(self.padding) is not int or not 0 <= self.padding < SHORTEST_VECTOR:
            raise VectorError(
                f"padding is {self.padding!r:.80}, expected a whole number below {SHORTEST_VECTOR}, as many as make a "
                f"vector of {SHORTEST_VECTOR}"
            )
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
        """Length `d` of a vector of this layout, its padding included."""
        return sum(tensor.parameters for tensor in self.tensors) + self.padding

    def padded(self) -> Layout:
        """Return the layout with as much padding as makes its vectors long enough for every ledger."""
        return Layout(self.tensors, max(0, SHORTEST_VECTOR - (self.parameters - self.padding)))

    def with_bits(self, fraction_bits: Mapping[str, int]) -> Layout:
        """Return the layout with other fraction bits where these say so.

        Args:
            fraction_bits: by name, or by pattern as file names have (`norm.*`). A tensor's own name counts before
                patterns, and of several patterns the last.

        Raises:
            VectorError: a name or pattern fits no tensor, or the number is out of range.
        """
        for pattern in fraction_bits:
            if not any(tensor.name == pattern or fnmatchcase(tensor.name, pattern) for tensor in self.tensors):
                known = ", ".join(tensor.name for tensor in self.tensors[:20])
                raise VectorError(
                    f"fraction_bits names {pattern!r}, which fits none of the model's {len(self.tensors)} tensors, "
                    f"such as {known}"
                )

        def chosen(tensor: TensorLayout) -> TensorLayout:
            fitting = [bits for pattern, bits in fraction_bits.items() if fnmatchcase(tensor.name, pattern)]
            bits = fraction_bits.get(tensor.name, fitting[-1] if fitting else tensor.fraction_bits)
            return TensorLayout(tensor.name, tensor.shape, bits)

        return Layout(tuple(map(chosen, self.tensors)), self.padding)

    @classmethod
    def of(cls, source: torch.nn.Module | State, buffers: Collection[str] = ()) -> Layout:
        """Return the layout of a module's, or of a state_dict's, floating-point tensors.

        Of a module, parameters get 24 fraction bits and float buffers 16, or fewer where their values are so large
        that the range would not be 16 times as large. A bare state_dict does not tell the two apart: all its
        tensors count as parameters, but for those that `buffers` names. Tied parameters occur once a name, as in
        the state_dict. Integer tensors are left out: no vector has them.

        Raises:
            VectorError: there is no floating-point tensor.
        """
        if isinstance(source, Mapping):
            state: State = source
        else:
            state = source.state_dict()
            named = source.named_parameters(remove_duplicate=False)
            buffers = set(state) - {name for name, _ in named}
        return cls(
            tuple(
                TensorLayout(
                    name,
                    tuple(value.shape),
                    min(BUFFER_BITS if name in buffers else PARAMETER_BITS, fitting_bits(_largest(value))),
                )
                for name, value in state.items()
                if is_floating(value)
            )
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return the job document's `layout`; padding, where there is any, is its last entry."""
        tensors: list[dict[str, Any]] = [
            {"name": tensor.name, "shape": list(tensor.shape), "fraction_bits": tensor.fraction_bits}
            for tensor in self.tensors
        ]
        return [*tensors, {"padding": self.padding}] if self.padding else tensors

    @classmethod
    def from_json(cls, obj: object) -> Layout:
        """Read a job document's `layout`; `fraction_bits` may be left out and is 24 then.

        Raises:
            VectorError: naming the entry that has an unknown or missing key, a wrong type, a value out
                of range or a name that occurred before.
        """
        if not isinstance(obj, list):
            raise VectorError(f"a layout is a list of tensors, got {type(obj).__name__}")
        padding = 0
        if obj and isinstance(obj[-1], dict) and obj[-1].keys() == {"padding"}:
            padding, obj = obj[-1]["padding"], obj[:-1]
            if padding == 0:
                raise VectorError("the layout's last entry is a padding of 0: leave it out")
        return cls(tuple(_tensor_from_json(index, entry) for index, entry in enumerate(obj)), padding)


def fitting_bits(largest: float) -> int:
    """Return the most fraction bits whose range is over 16 times that value; the fewest there are, where none fit."""
    if not math.isfinite(largest):
        return MIN_FRACTION_BITS
    exponent = math.frexp(largest)[1]
    return max(MIN_FRACTION_BITS, min(MAX_FRACTION_BITS, 31 - MARGIN_BITS - exponent))


def _largest(value: torch.Tensor | npt.NDArray[Any]) -> float:
    """Return the largest magnitude of a tensor; 0 of one without elements."""
    if math.prod(value.shape) == 0:
        return 0.0
    if isinstance(value, np.ndarray):
        return float(np.abs(value).max())
    return float(value.detach().abs().max())


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
