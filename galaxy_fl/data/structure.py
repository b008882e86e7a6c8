"""Samples and batches with a structure: tuples, dicts and data classes of tensors, numbers and texts.

A value is taken apart into its form, which is JSON, and its leaves, and put together again, in this process or in the
worker: so nothing has to be pickled, and training sees the same whoever reads the data. Arrays and lists of numbers
become tensors. A data class or a named tuple becomes one of the same name and fields, without its methods, because the
worker may not have the class.
"""

from __future__ import annotations

import json
import keyword
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, make_dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from galaxy_fl.exceptions import DataError

__all__ = [
    "decode",
    "encode",
    "encode_each",
    "flatten",
    "join",
    "nbytes",
    "pick",
    "rows",
    "shapes",
    "stack",
    "to",
    "unflatten",
]

Form = Any
"""None for a leaf; or what contains others: `[kind, name, [[key, form], …]]`."""

DEEPEST = 32
EXPECTED = "a tensor, an array, a number, a text, or a tuple, list, dict or data class of these"


def flatten(value: object) -> tuple[Form, list[Any]]:
    """Take a value apart.

    Returns:
        Its form, and its leaves: tensors, numbers, texts, lists of texts, None.

    Raises:
        DataError: it has something else within; says where.
    """
    leaves: list[Any] = []
    return _form(value, leaves, "", 0), leaves


def _form(value: Any, leaves: list[Any], where: str, depth: int) -> Form:
    if depth > DEEPEST:
        raise DataError(f"a sample is more than {DEEPEST} levels deep{_at(where)}: give it fewer")
    if isinstance(value, Tensor | bool | int | float | str | None):
        leaves.append(value)
        return None
    if isinstance(value, np.ndarray | np.generic):
        try:  # ascontiguousarray, because torch has no negative strides, which flips leave
            flipped = any(stride < 0 for stride in value.strides)
            leaves.append(torch.as_tensor(np.ascontiguousarray(value) if flipped else value))
        except (TypeError, ValueError) as error:
            raise DataError(f"a sample has an array of type {value.dtype}{_at(where)}: {error}") from error
        return None
    kind, name, entries = "", "", list[tuple[Any, Any]]()
    if is_dataclass(value) and not isinstance(value, type):
        kind, name = "data", type(value).__name__
        entries = [(each.name, getattr(value, each.name)) for each in fields(value)]
    elif isinstance(value, Mapping):
        kind, entries = "dict", list(value.items())
        if wrong := next((key for key, _ in entries if type(key) not in (str, int)), None):
            raise DataError(f"a sample has the key {wrong!r:.40}{_at(where)}: keys are texts or whole numbers")
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        kind, name, entries = "named", type(value).__name__, list(zip(value._fields, value, strict=True))
    elif isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        leaves.append(value)
        return None
    elif isinstance(value, list) and where and value and all(isinstance(each, int | float) for each in value):
        try:
            leaves.append(torch.tensor(value))
        except (ValueError, RuntimeError) as error:
            raise DataError(f"a sample has a list of numbers{_at(where)} that torch can't take: {error}") from error
        return None
    elif isinstance(value, tuple | list):
        kind, entries = "list" if isinstance(value, list) else "tuple", list(enumerate(value))
    else:
        raise DataError(
            f"a sample has a {type(value).__name__}{_at(where)}, expected {EXPECTED}: give the data set a transform "
            "that makes one of it, such as ToTensor"
        )
    return [kind, name, [[key, _form(each, leaves, f"{where}[{key!r}]", depth + 1)] for key, each in entries]]


def _at(where: str) -> str:
    return f" at {where:.200}" if where else ""


def unflatten(form: Form, leaves: Sequence[Any]) -> Any:
    """Put a value together again."""
    rest = iter(leaves)
    value = _value(form, rest)
    assert next(rest, rest) is rest
    return value


def _value(form: Form, leaves: Any) -> Any:
    if form is None:
        return next(leaves)
    kind, name, entries = form
    keys = [key for key, _ in entries]
    values = [_value(each, leaves) for _, each in entries]
    if kind == "tuple":
        return tuple(values)
    if kind == "list":
        return values
    if kind == "dict":
        return dict(zip(keys, values, strict=True))
    return _class(kind, name, tuple(keys))(*values)


@lru_cache(1024)
def _class(kind: str, name: str, names: tuple[str, ...]) -> Any:
    name = name if name.isidentifier() and not keyword.iskeyword(name) else "Sample"
    return namedtuple(name, names, rename=True) if kind == "named" else make_dataclass(name, names)


# ---- Batches ----------------------------------------------------------------------------------------------


def stack(samples: Sequence[Any]) -> Any:
    """Return a batch of samples of one form: each tensor or number within is stacked, and texts become a list.

    Raises:
        DataError: they differ in form, or in the shape of a tensor, or have something within that is neither.
    """
    parts = [flatten(sample) for sample in samples]
    form = parts[0][0]
    for other, _ in parts:
        if other != form:
            raise DataError(
                f"samples can't be stacked to a batch, because one has {_told(form)} and another {_told(other)}: give "
                "all of them the same entries"
            )
    return unflatten(form, [_column(list(column)) for column in zip(*(leaves for _, leaves in parts), strict=True)])


def _column(column: list[Any]) -> Any:
    if all(each is None for each in column):
        return None
    if all(isinstance(each, str | list) for each in column):
        return column
    try:
        return default_collate(column)
    except (TypeError, RuntimeError, ValueError, KeyError) as error:
        raise DataError(
            f"samples can't be stacked to a batch: {error}; all of them have one shape: see to it in the data set, "
            "such as by padding, or give the data set a collate_fn, or the model's class a collate"
        ) from error


def _told(form: Form) -> str:
    if form is None:
        return "a tensor or a number"
    kind, name, entries = form
    keys = ", ".join(f"{key!s:.40}" for key, _ in entries[:10])
    return f"a {name or kind} of {keys}" if kind in ("dict", "data", "named") else f"a {kind} of {len(entries)}"


def to(batch: Any, device: str) -> Any:
    """Return a batch with its tensors on a device."""
    return _mapped(batch, lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf)


def pick(batch: Any, indices: Tensor) -> Any:
    """Return the samples at `indices`, int64 [n], of a batch that `stack` made."""

    def picked(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf[indices]
        return [leaf[index] for index in indices.tolist()] if isinstance(leaf, list) else leaf

    return _mapped(batch, picked)


def rows(batch: Any, start: int, stop: int) -> Any:
    """Return some samples of a batch that `stack` made; tensors share its memory."""
    return _mapped(batch, lambda leaf: leaf[start:stop] if isinstance(leaf, Tensor | list) else leaf)


def _mapped(batch: Any, function: Callable[[Any], Any]) -> Any:
    if _is_plain(batch):
        return tuple([function(leaf) for leaf in batch])
    form, leaves = flatten(batch)
    return unflatten(form, [function(leaf) for leaf in leaves])


def _is_plain(batch: Any) -> bool:
    """Whether it is a tuple of tensors, as most batches are, which need not be taken apart."""
    return type(batch) is tuple and all(isinstance(part, Tensor) for part in batch)


def join(batches: Sequence[Any]) -> Any:
    """Return one batch of several that `stack` made, in memory of its own."""
    if _is_plain(batches[0]):
        return tuple([torch.cat(parts) for parts in zip(*batches, strict=True)])
    parts = [flatten(batch) for batch in batches]
    joined: list[Any] = []
    for column in zip(*(leaves for _, leaves in parts), strict=True):
        if isinstance(column[0], Tensor):
            joined.append(torch.cat(column))
        else:
            joined.append([each for part in column for each in part] if isinstance(column[0], list) else column[0])
    return unflatten(parts[0][0], joined)


def nbytes(value: Any) -> int:
    """Return how much memory the tensors of a value take."""
    return sum(leaf.nbytes for leaf in flatten(value)[1] if isinstance(leaf, Tensor))


def shapes(batch: Any) -> str:
    """Return the form of a batch with the shapes and types of its tensors, apart from the number of samples."""
    form, leaves = flatten(batch)
    told = [[*leaf.shape[1:], str(leaf.dtype)] if isinstance(leaf, Tensor) else None for leaf in leaves]
    return json.dumps([form, told])


# ---- Over a pipe ------------------------------------------------------------------------------------------


def encode(value: Any) -> tuple[str, dict[str, Tensor]]:
    """Return a value's form and what of its leaves is JSON, as text, and its tensors by their numbers."""
    return _encoded(*flatten(value))


def encode_each(samples: Sequence[Any]) -> tuple[str, dict[str, Tensor]]:
    """Encode a list of samples, each with a form of its own."""
    parts = [flatten(sample) for sample in samples]
    forms = [[number, form] for number, (form, _) in enumerate(parts)]
    return _encoded(["list", "", forms], [leaf for _, leaves in parts for leaf in leaves])


def _encoded(form: Form, leaves: list[Any]) -> tuple[str, dict[str, Tensor]]:
    others = [None if isinstance(leaf, Tensor) else [leaf] for leaf in leaves]
    tensors, memory = dict[str, Tensor](), set[int]()
    for number, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            flat = leaf.detach().contiguous()
            begin = flat.untyped_storage().data_ptr()
            # safetensors has no tensors that share memory, as labels and inputs of a language model may, and windows.
            tensors[str(number)] = flat.clone() if begin in memory else flat
            memory.add(begin)
    return json.dumps([form, others]), tensors


def decode(text: str, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value that was encoded."""
    form, others = json.loads(text)
    return unflatten(form, [tensors[str(n)] if other is None else other[0] for n, other in enumerate(others)])
