"""What of a model goes with a job: its layout, its local tensors, its other parts. The rest is refused, by name.

Participants make the model's class afresh, without arguments, so whatever an instance is beyond its tensors would be
lost: it is compared with one that was made so.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from galaxy_fl.exceptions import JobDocumentError, VectorError
from galaxy_fl.jobs.likeness import difference, same_bits
from galaxy_fl.jobs.local_tensors import LocalTensor, type_of
from galaxy_fl.jobs.model_description import ModelDescription
from galaxy_fl.jobs.parts import ALL_SHARED, Part, Parts, PartTensor, divide
from galaxy_fl.vectors import Layout

__all__ = ["describe_model", "floats_of", "is_constant"]

LARGEST = 2.0**123
"""What the coarsest fixed point carries with its margin, 2**127 / 16."""

AFRESH = "participants make the class afresh, without arguments"


def describe_model(
    model: nn.Module,
    fresh: nn.Module,
    fraction_bits: Mapping[str, int] | None = None,
    parts: Parts = ALL_SHARED,
) -> ModelDescription:
    """Describe a model that a job begins with.

    Args:
        model: The instance.
        fresh: Another of its class, made as participants make it.
        fraction_bits: By name or pattern of a tensor: see `Layout.with_bits`.
        parts: Which tensors are shared, personal and frozen.

    Raises:
        JobDocumentError: something about the instance can't travel, a name or pattern of `fraction_bits` fits no
            tensor that is shared, or the parts are none of this model; names it.
    """
    _check_kinds(model)
    _check_kinds(fresh)
    state, built = model.state_dict(), fresh.state_dict()
    _check_alike(state, built)
    _check_tied(model, fresh)
    _check_buffers(model, fresh)
    if found := difference(model, fresh):
        raise JobDocumentError(
            f"{found}, but {AFRESH}: make it the default of the class's constructor, or a registered buffer"
        )
    buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
    unfit = {name for name, value in state.items() if not value.is_floating_point()}
    unfit |= {name for name, value in state.items() if name in buffers and is_constant(value)}
    division = divide(model, parts, unfit)
    parameters = [(name, value) for name, value in model.named_parameters(remove_duplicate=False)]
    if not any(value.requires_grad and division[name] != "frozen" for name, value in parameters):
        raise JobDocumentError(
            "no parameter of the model requires a gradient and is not frozen, so there is nothing to train"
        )
    shared = {name: value for name, value in state.items() if division[name] == "shared"}
    if not shared:
        raise JobDocumentError(
            f"none of the model's {len(state)} tensors is shared, so there is nothing to train together: leave some to "
            "neither personal nor frozen"
        )
    try:
        layout = Layout.of(shared, buffers).with_bits(fraction_bits or {}).padded()
    except VectorError as error:
        raise JobDocumentError(str(error)) from error

    first = _tied(model)

    def part(kind: Part) -> tuple[PartTensor, ...]:
        chosen: dict[str, list[str]] = {}
        for name in state:
            if division[name] == kind:
                same = first.get(name, name) if kind == "frozen" else name
                chosen.setdefault(same if same in chosen else name, []).append(name)
        return tuple(
            PartTensor(
                name=name,
                type=type_of(name, state[name]),
                shape=list(state[name].shape),
                tied=names[1:] or None,
            )
            for name, names in chosen.items()
        )

    return ModelDescription(
        layout,
        tuple(LocalTensor.of(name, value) for name, value in state.items() if division[name] == "local"),
        part("frozen"),
        part("personal"),
        buffers=tuple(tensor.name for tensor in layout.tensors if tensor.name in buffers),
    )


def floats_of(model: nn.Module, layout: Layout) -> dict[str, Tensor]:
    """The tensors of a model's state that its vectors have."""
    state = model.state_dict()
    return {tensor.name: state[tensor.name] for tensor in layout.tensors}


def is_constant(value: Tensor) -> bool:
    """Tell whether a buffer has a value that no fixed point carries: not finite, or beyond its coarsest range."""
    if value.is_complex():
        return True
    return value.is_floating_point() and value.numel() > 0 and not bool((value.detach().abs() < LARGEST).all())


def _check_kinds(model: nn.Module) -> None:
    """Make sure that each tensor is of a kind that travels."""
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(value):
            raise JobDocumentError(
                f"tensor {name!r} has no size before the first batch (a lazy module), but {AFRESH}: give sizes in the "
                "constructor"
            )
    for name, value in model.named_parameters():
        if value.is_complex():
            raise JobDocumentError(
                f"parameter {name!r} is {value.dtype}: complex numbers are not averaged; keep real and imaginary parts "
                "in a real parameter (torch.view_as_complex gives the complex one)"
            )
    for name, entry in model.state_dict().items():
        if not isinstance(entry, Tensor):
            raise JobDocumentError(
                f"{name!r} of the model's state is {type(entry).__name__}, not a tensor, and does not travel: leave "
                "out get_extra_state, or keep it in a buffer"
            )
        if entry.layout is not torch.strided or entry.is_meta or entry.is_quantized:
            raise JobDocumentError(f"tensor {name!r} is sparse, quantized or without values: only dense ones travel")


def _check_alike(state: dict[str, Tensor], built: dict[str, Tensor]) -> None:
    """Make sure that an instance has the tensors of its class."""
    for name in [*state, *built]:
        if name not in built:
            raise JobDocumentError(f"the model has a tensor {name!r}, but {AFRESH}, and then it has none of that name")
        if name not in state:
            raise JobDocumentError(f"the model has no tensor {name!r}, but {AFRESH}, and then it has one")
        for what, found, expected in (
            ("shape", tuple(state[name].shape), tuple(built[name].shape)),
            ("type", state[name].dtype, built[name].dtype),
        ):
            if found != expected:
                raise JobDocumentError(
                    f"tensor {name!r} of the model has the {what} {found}, but {AFRESH}, and then it has {expected}: "
                    "make it the constructor's default"
                )


def _check_tied(model: nn.Module, fresh: nn.Module) -> None:
    """Make sure that parameters which are one in an instance are one in its class."""
    if (found := _tied(model)) != (expected := _tied(fresh)):
        name = next(name for name, first in found.items() if expected[name] != first)
        state, then = ("tied to", "not") if found[name] != name else ("not tied to", "tied")
        other = found[name] if found[name] != name else expected[name]
        raise JobDocumentError(f"parameter {name!r} is {state} {other!r}, but {AFRESH}, and then it is {then}")


def _tied(model: nn.Module) -> dict[str, str]:
    """Each parameter's name, and the first name of the same parameter."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(value), name) for name, value in model.named_parameters(remove_duplicate=False)}


def _check_buffers(model: nn.Module, fresh: nn.Module) -> None:
    """Make sure that buffers which do not travel are as the class makes them."""
    saved, own = model.state_dict().keys(), dict(fresh.named_buffers(remove_duplicate=False))
    for name, value in model.named_buffers(remove_duplicate=False):
        # Integers travel whatever they are, and so do floats that are averaged.
        if name in saved and not is_constant(value):
            continue
        if name not in own or not same_bits(value, own[name]):
            why = "is constant, as no fixed point carries its values" if name in saved else "is not in the state_dict"
            raise JobDocumentError(
                f"buffer {name!r} {why}, and the model's is not as the class makes it, but {AFRESH}: let the "
                "constructor make it as it has to be"
            )
