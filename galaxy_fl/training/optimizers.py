"""Optimizers by their names in torch.optim."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.names import unknown_name

__all__ = ["OPTIMIZERS", "build_optimizer"]


def _without_compiler(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """The same optimizer, whose methods do not import torch's compiler, which nothing here uses.

    torch wraps them so that a compiled training loop leaves them out, and each wrapper imports the compiler when it is
    first called: some 900 modules, and a second in every process that trains. Within the wrappers are the methods that
    do the work; where torch has none, nothing changes.
    """
    within: Callable[..., Any] = inspect.unwrap(kind.step)

    def step(self: torch.optim.Optimizer, closure: Callable[[], float] | None = None) -> Any:
        with torch.set_grad_enabled(self.defaults.get("differentiable", False)):
            return within(self, closure)

    methods = {name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "zero_grad")}
    return type(kind.__name__, (kind,), {**methods, "step": step})


# LBFGS evaluates the loss many times a step, so it can't be driven by an ordinary training loop.
OPTIMIZERS: dict[str, Any] = {
    name: _without_compiler(found)
    for name, found in inspect.getmembers(torch.optim, inspect.isclass)
    if issubclass(found, torch.optim.Optimizer) and name not in {"Optimizer", "LBFGS"}
}
DEFAULTS: dict[str, dict[str, Any]] = {"SGD": {"momentum": 0.5}}


def build_optimizer(
    parameters: Iterable[torch.nn.Parameter], specification: TrainSpecification
) -> torch.optim.Optimizer:
    """The optimizer of `specification` over `parameters`; SGD has momentum 0.5 unless told otherwise.

    Raises TrainingError for a name that torch does not have (with the nearest ones) and for options that
    the optimizer does not take.
    """
    name = specification.optimizer
    if name not in OPTIMIZERS:
        raise TrainingError(unknown_name("optimizer", name, OPTIMIZERS))
    options: dict[str, Any] = DEFAULTS.get(name, {}) | specification.optimizer_options
    try:
        built: torch.optim.Optimizer = OPTIMIZERS[name](parameters, lr=specification.learning_rate, **options)
        return built
    except (TypeError, ValueError, IndexError) as error:
        raise TrainingError(f"optimizer {name} with options {options!r}: {error}") from error
