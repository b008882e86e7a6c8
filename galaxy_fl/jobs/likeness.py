"""Whether two instances of a model's class are alike, apart from the tensors of their state_dicts.

A module is more than its parameters: the probability of a dropout, an activation that was an argument, a list of
layers that torch was never told of. What is compared is all that Python shows of both, by value; of objects that show
nothing (locks, generators, what is written in C) only the type.
"""

from __future__ import annotations

import enum
import functools
import types
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.training.minibatches import output_of

__all__ = ["check_output", "difference", "same_bits"]

_VALUES = (bool, int, float, complex, str, bytes, type(None), torch.dtype, range, slice, np.generic)
_UNTOLD = frozenset({"training", "_version", "__module__", "__weakref__"})
"""Attributes that say nothing: training mode is set before each use."""
_DEEPEST = 100


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors are of one type and shape and have the same bits, so that NaN equals NaN."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    flat, beside = (value.detach().cpu().contiguous().reshape(-1) for value in (one, other))
    if flat.is_complex():
        flat, beside = (torch.view_as_real(value.resolve_conj()).reshape(-1) for value in (flat, beside))
    return torch.equal(flat.view(torch.uint8), beside.view(torch.uint8))


def difference(model: nn.Module, fresh: nn.Module) -> str | None:
    """Return a clause on the first thing in which `model` is not like `fresh`, another instance of its class.

    Parameters and buffers that are registered are left out.
    """
    registered = {id(value) for each in (model, fresh) for value in (*each.parameters(), *each.buffers())}
    return next(_Comparison(registered).of(model, fresh, "", 0), None)


@torch.no_grad()
def check_output(model: nn.Module, fresh: nn.Module, sample: Tensor) -> None:
    """Make sure that two instances with the same state give the same output, in evaluation mode.

    Both are left as they were, apart from `fresh`'s weights.

    Raises:
        JobDocumentError: they don't, or one of them fails on the sample.
    """
    state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    fresh.load_state_dict(state)
    copy_of = {name: value.clone() for name, value in model.state_dict().items()}
    outputs = []
    for each in (model, fresh):
        training = each.training
        place = next(each.parameters()).device
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                outputs.append(output_of(each.eval(), sample.to(place)).cpu())
        finally:
            each.train(training)
    model.load_state_dict(copy_of)
    if outputs[0].shape != outputs[1].shape or not torch.allclose(outputs[0], outputs[1], equal_nan=True):
        raise JobDocumentError(
            "on the sample the model's output is another than that of its class with the same weights, which is what "
            "participants have: something about it is neither a tensor of its state nor a default of the class"
        )


class _Comparison:
    def __init__(self, registered: set[int]) -> None:
        self._registered = registered
        self._seen: set[tuple[int, int]] = set()
        self._held: list[object] = []
        """What was seen, so that no other object gets its id meanwhile."""

    def of(self, one: Any, other: Any, where: str, depth: int) -> Iterator[str]:
        """Yield what differs."""
        if one is other or depth > _DEEPEST or (id(one), id(other)) in self._seen:
            return
        self._seen.add((id(one), id(other)))
        self._held += (one, other)
        if id(one) in self._registered and id(other) in self._registered:
            return
        if isinstance(one, int | float) and isinstance(other, int | float) and one == other:
            return
        if _kind(one) != _kind(other):
            yield f"the model's {where or 'class'} is {_shown(one)}, the class makes {_shown(other)}"
        elif isinstance(one, Tensor):
            # One that was computed from parameters is computed again before it is used.
            if one.grad_fn is None and not same_bits(one, other):
                yield f"the model's {where}, a tensor that is not registered, is not as the class makes it"
        elif isinstance(one, np.ndarray):
            if one.shape != other.shape or one.tobytes() != other.tobytes():
                yield f"the model's {where}, an array, is not as the class makes it"
        elif isinstance(one, enum.Enum):
            if one.name != other.name:
                yield f"the model's {where} is {_shown(one)}, the class makes {_shown(other)}"
        elif isinstance(one, _VALUES):
            if one != other and not (one != one and other != other):
                yield f"the model's {where} is {_shown(one)}, the class makes {_shown(other)}"
        else:
            yield from self._parts(one, other, where, depth + 1)

    def _parts(self, one: Any, other: Any, where: str, depth: int) -> Iterator[str]:
        if isinstance(one, nn.Module):
            yield from self._modules(one, other, where, depth)
        elif isinstance(one, Mapping):
            if list(map(_key, one)) != list(map(_key, other)):
                yield f"the model's {where} has the keys {_shown(list(one))}, the class makes {_shown(list(other))}"
                return
            for key, (mine, yours) in zip(one, zip(one.values(), other.values(), strict=True), strict=True):
                yield from self.of(mine, yours, f"{where}[{key!r:.40}]", depth)
        elif isinstance(one, Set):
            if set(map(_key, one)) != set(map(_key, other)):
                yield f"the model's {where} is {_shown(one)}, the class makes {_shown(other)}"
        elif isinstance(one, Sequence):
            if len(one) != len(other):
                yield f"the model's {where} has {len(one)} items, the class makes {len(other)}"
                return
            for index, (mine, yours) in enumerate(zip(one, other, strict=True)):
                yield from self.of(mine, yours, f"{where}[{index}]", depth)
        elif isinstance(one, functools.partial):
            mine, yours = ([each.func, each.args, each.keywords] for each in (one, other))
            yield from self.of(mine, yours, where, depth)
        elif isinstance(one, types.MethodType):
            yield from self.of(one.__self__, other.__self__, f"{where}.__self__", depth)
        elif isinstance(one, types.FunctionType):
            if _code(one.__code__) != _code(other.__code__):
                yield f"the model's {where} is another function than the class makes"
                return
            yield from self.of(_captured(one), _captured(other), where, depth)
        elif not isinstance(one, type | types.ModuleType | types.BuiltinFunctionType):
            yield from self._attributes(one, other, where, depth)

    def _modules(self, one: nn.Module, other: nn.Module, where: str, depth: int) -> Iterator[str]:
        # Names that a hook computes from parameters before each use, as torch.nn.utils.spectral_norm does.
        derived = {getattr(hook, "name", None) for hook in one._forward_pre_hooks.values()}
        mine, yours = vars(one), vars(other)
        for name in dict.fromkeys([*mine, *yours]):
            if name in _UNTOLD or name in derived:
                continue
            if name.endswith("hooks") and isinstance(mine.get(name), Mapping) and isinstance(yours.get(name), Mapping):
                # Their keys are numbers that count all hooks of the program.
                found = self.of(list(mine[name].values()), list(yours[name].values()), _dotted(where, name), depth)
            elif name in ("_parameters", "_buffers", "_modules"):
                found = self._registered_parts(mine[name], yours[name], where, depth)
            else:
                found = self._attribute(mine, yours, name, where, depth)
            yield from found

    def _registered_parts(self, mine: dict[str, Any], yours: dict[str, Any], where: str, depth: int) -> Iterator[str]:
        for name in dict.fromkeys([*mine, *yours]):
            yield from self._attribute(mine, yours, name, where, depth)

    def _attributes(self, one: object, other: object, where: str, depth: int) -> Iterator[str]:
        mine, yours = _shows(one), _shows(other)
        for name in dict.fromkeys([*mine, *yours]):
            if name not in _UNTOLD:
                yield from self._attribute(mine, yours, name, where, depth)

    def _attribute(
        self, mine: Mapping[str, Any], yours: Mapping[str, Any], name: str, where: str, depth: int
    ) -> Iterator[str]:
        path = _dotted(where, name)
        if name not in yours:
            yield f"the model's {path} is {_shown(mine[name])}, the class makes no such attribute"
        elif name not in mine:
            yield f"the model has no {path}, the class makes {_shown(yours[name])}"
        else:
            yield from self.of(mine[name], yours[name], path, depth)


def _dotted(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _kind(value: object) -> str:
    """The class, or of functions and classes the name, by its name alone: the model's file is loaded a second time."""
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | types.MethodType):
        return f"{type(value).__name__} {value.__qualname__}"
    return type(value).__qualname__


def _key(value: object) -> object:
    return value if isinstance(value, str | int | float | bytes | bool | None) else _kind(value)


def _code(code: types.CodeType) -> tuple[object, ...]:
    constants = (_code(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts)
    return code.co_code, code.co_names, tuple(constants)


def _captured(function: types.FunctionType) -> list[object]:
    """What a function has besides its code: defaults, and the variables around it."""
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # empty yet
            cells.append(None)
    return [cells, function.__defaults__, function.__kwdefaults__]


def _shows(value: object) -> dict[str, Any]:
    """The attributes of any other object."""
    found = dict(getattr(value, "__dict__", {}))
    for each in type(value).__mro__:
        slots = each.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                found[name] = getattr(value, name)
    return found


def _shown(value: object) -> str:
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.MethodType | type):
        return value.__qualname__
    if isinstance(value, Tensor | nn.Module):
        return f"a {type(value).__name__}"
    try:
        return f"{value!r:.80}"
    except Exception:  # anybody's __repr__
        return f"a {type(value).__name__}"
