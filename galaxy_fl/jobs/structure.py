"""What a model ends in, told by its structure when its job is made: the model's operations are traced, nothing is run.

The trace (`torch.fx`) is followed back from the output: a softmax, a log-softmax or a sigmoid decides it, and so does a
layer or an activation that gives any number; what only moves numbers about is passed through.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any, Literal

import torch
from torch import fx, nn

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.training.losses import BINARY, CATEGORICAL, PROBABILISTIC

__all__ = ["decide_ending"]

Found = Literal[Ending, "sigmoid"] | None
"""What the structure says; None where it does not."""

MODULES: list[tuple[tuple[type[nn.Module], ...], Found]] = [
    ((nn.Softmax, nn.Softmax2d, nn.Softmin), "probabilities"),
    ((nn.LogSoftmax,), "log-probabilities"),
    ((nn.Sigmoid, nn.Hardsigmoid), "sigmoid"),
    ((nn.LogSigmoid, nn.Threshold), None),
]
FUNCTIONS: dict[str, Found] = {
    "softmax": "probabilities",
    "softmin": "probabilities",
    "log_softmax": "log-probabilities",
    "sigmoid": "sigmoid",
    "sigmoid_": "sigmoid",
    "expit": "sigmoid",
    "hardsigmoid": "sigmoid",
}
LAYERS = {
    *("linear", "bilinear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "tensordot", "embedding"),
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("relu", "relu_", "relu6", "gelu", "elu", "selu", "celu", "silu", "mish", "leaky_relu", "softplus", "tanh"),
    *("batch_norm", "layer_norm", "group_norm", "instance_norm", "scaled_dot_product_attention"),
}
"""Functions that give any number."""
PASSING_MODULES = (nn.Identity, nn.Flatten, nn.Unflatten)
PASSING = {
    *("view", "view_as", "reshape", "flatten", "unflatten", "squeeze", "squeeze_", "unsqueeze", "transpose", "permute"),
    *("movedim", "swapaxes", "swapdims", "contiguous", "clone", "to", "type", "type_as", "float", "double", "half"),
    *("clamp", "clamp_", "clamp_min", "clamp_max", "clip", "t", "masked_fill", "masked_fill_"),
}
PARTS = {"getitem", "select", "chunk", "split", "unbind"}
LINEAR = {
    *("neg", "mean", "sum", "dropout", "cat", "concat", "stack", "max_pool1d", "max_pool2d", "interpolate"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "sin", "cos"),
}
"""Give any number where what they are given is any number, and what they make of anything else is unknown."""
MIXING = {"add", "add_", "iadd", "sub", "sub_", "isub", "mul", "mul_", "imul"}
"""Give any number where one of what they are given is any number, and the others are known."""
DIVIDING = {"div", "div_", "truediv", "itruediv"}
"""Likewise by a number; by a sum they may make probabilities of what is none."""
LINEAR_MODULES = (
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Upsample),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
)


def decide_ending(model: nn.Module, loss: str, distils: bool = False) -> Ending:
    """Return what a job's model ends in, given its loss.

    A sigmoid gives probabilities where the loss decides between yes and no; a loss over classes, which a sigmoid's
    outputs do not sum to 1 over, takes them as logits, as torch does.

    Raises TrainingError where that matters for the loss and can't be told, or is another thing in training than in
    evaluation.
    """
    over_classes = loss in CATEGORICAL | {"CrossEntropyLoss"}
    decisive = loss in BINARY | PROBABILISTIC
    found = [_structure(model, training) for training in (True, False)]
    if found[0] == found[1] and found[0] is not None:
        if found[0] == "sigmoid":
            return "logits" if over_classes else "probabilities"
        return found[0]
    if not (over_classes or decisive or distils):
        return "logits"
    why = "can't be told from its structure"
    if None not in found:
        why = f"is {found[0]} in training and {found[1]} in evaluation"
    raise TrainingError(
        f"what the model {type(model).__name__} ends in {why}, and the loss {loss} depends on it: say 'logits', "
        "'probabilities' or 'log-probabilities' by `output`, in Python or in the job file"
    )


def _structure(model: nn.Module, training: bool) -> Found:
    with suppress(Exception):  # those that can't be copied, such as one with the older weight_norm, are traced as such
        model = copy.deepcopy(model)  # tracing runs its Python, which may keep what it is given
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.random.fork_rng(devices=[]):
            graph = fx.Tracer().trace(model.train(training))
        (given,) = next(node for node in graph.nodes if node.op == "output").args
        return _of(given, model, {})
    except Exception:  # it decides by its data, or is not written for this
        return None
    finally:
        for module, mode in modes.items():
            module.training = mode


def _of(value: Any, model: nn.Module, known: dict[fx.Node, Found]) -> Found:
    """What a node of the trace gives."""
    if isinstance(value, tuple) and hasattr(value, "logits"):
        value = value.logits
    if not isinstance(value, fx.Node):
        return None
    if value not in known:
        known[value] = _operation(value, model, known)
    return known[value]


def _operation(node: fx.Node, model: nn.Module, known: dict[fx.Node, Found]) -> Found:
    if node.op in ("get_attr", "placeholder"):
        return "logits"
    if node.op == "call_module":
        return _module(model.get_submodule(str(node.target)), node, model, known)
    if node.op not in ("call_function", "call_method"):
        return None
    fields = getattr(node.target, "_fields", ())
    if "logits" in fields:  # torchvision's outputs with auxiliary ones
        named = dict(zip(fields, node.args, strict=False)) | node.kwargs
        return _of(named["logits"], model, known)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if name in LAYERS:
        return "logits"
    inner = _of(node.args[0], model, known) if node.args else None
    if name in PASSING:
        return inner
    if name == "log":
        return "log-probabilities" if inner == "probabilities" else None
    if name == "exp":
        return "probabilities" if inner == "log-probabilities" else None
    if name in PARTS:
        return "sigmoid" if inner in ("probabilities", "sigmoid") else inner if inner == "logits" else None
    if name in MIXING | DIVIDING and not any(isinstance(each, fx.Node) for each in node.args[1:]):
        by = node.args[1] if len(node.args) > 1 else None
        little = "add" in name and isinstance(by, float) and abs(by) <= 1e-4  # which keeps a logarithm finite
        return inner if inner == "logits" or (inner == "probabilities" and little) else None
    if name in MIXING:
        mixed = [_of(each, model, known) for each in node.all_input_nodes]
        return "logits" if "logits" in mixed and None not in mixed else None
    if name in LINEAR:
        return _all_logits(node.all_input_nodes, model, known)
    return None


def _module(module: nn.Module, node: fx.Node, model: nn.Module, known: dict[fx.Node, Found]) -> Found:
    for kinds, found in MODULES:
        if isinstance(module, kinds):
            return found
    if isinstance(module, PASSING_MODULES):
        return _of(node.args[0], model, known)
    if isinstance(module, LINEAR_MODULES):
        return _all_logits(node.all_input_nodes, model, known)
    return "logits"  # a layer or an activation of torch: all others are traced through


def _all_logits(nodes: list[fx.Node], model: nn.Module, known: dict[fx.Node, Found]) -> Found:
    return "logits" if nodes and all(_of(node, model, known) == "logits" for node in nodes) else None
