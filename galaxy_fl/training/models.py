"""A job's model, built: one that Galaxy or torchvision has, or one that the job brings along as source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field, ValidationError, validate_call
from torch import nn

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.document import Model, SourceModel
from galaxy_fl.training.names import unknown_name
from galaxy_fl.training.source_model import build_source_model
from galaxy_fl.validation import explain
from galaxy_fl.without_compiler import import_compiler_later

__all__ = ["build_model", "find_builder"]

# Documents come from strangers: a size beyond this is a mistake, or an attack on the client's memory.
Size = Annotated[int, Field(strict=True, ge=1, le=65_536)]
TORCHVISION = "torchvision:"
ELSEWHERE = "flower"
"""The model of a Flower app, which its clients have and Galaxy has not."""


def mlp(*, inputs: Size = 64, hidden: Size = 64, outputs: Size = 10) -> nn.Module:
    """One hidden layer over the flattened sample; gives logits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def cnn(*, channels: Size = 1, size: Size = 8, outputs: Size = 10, width: Size = 16, hidden: Size = 64) -> nn.Module:
    """A small convolutional network for square images of `size` pixels; gives logits.

    Convolutions of 3x3, doubling in width and halving the image until it has at most 4 pixels a side.
    The default is for the digits data set: 1x8x8, 10 classes, 38,282 parameters. It has no batch
    normalisation: its statistics are of one client's data and do not average well.
    """
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
    while size > 4:
        layers += [nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        width, size = 2 * width, size // 2
    layers += [nn.Flatten(), nn.Linear(width * size * size, hidden), nn.ReLU(), nn.Linear(hidden, outputs)]
    return nn.Sequential(*layers).apply(_initialize)


def _initialize(layer: nn.Module) -> None:
    """He's initialization (2015), made for ReLU: with torch's default the first rounds learn little."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def lenet(*, outputs: Size = 10) -> nn.Module:
    """The network of PFL's README for 1x28x28 images (MNIST), without its softmax: gives logits."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 4 * 50, 500),
        nn.ReLU(),
        nn.Linear(500, outputs),
    )


BUILTIN: dict[str, Callable[..., nn.Module]] = {"cnn": cnn, "lenet": lenet, "mlp": mlp}


def build_model(model: Model, seed: int, source: str | None = None) -> nn.Module:
    """Build the model of a job document, with initial weights that follow from `seed` alone.

    A builtin model is `mlp`, `cnn` or `lenet` with their keyword arguments as `options`, or `torchvision:<name>` for a
    classifier of torchvision, never with downloaded weights. A model that brings its `source` runs it: see
    `build_source_model`. The caller's random state on the CPU is left alone.

    Raises:
        JobDocumentError: the name is unknown, the model does not take the options, or what `build_source_model` raises.
        TrainingError: running the source fails.
    """
    if isinstance(model, SourceModel):
        return build_source_model(model, seed, source)
    name, options = model.builtin, model.options
    builder = find_builder(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return builder(**options)
        except ValidationError as error:
            raise JobDocumentError(f"options of model {name!r}: {explain(error)}") from error
        except (TypeError, ValueError, RuntimeError) as error:
            raise JobDocumentError(f"model {name!r} with options {options!r}: {error}") from error


def find_builder(name: str) -> Callable[..., nn.Module]:
    """Return what makes the model of that name from its options.

    Raises:
        JobDocumentError: there is none.
    """
    return _torchvision(name.removeprefix(TORCHVISION)) if name.startswith(TORCHVISION) else _builtin(name)


def _builtin(name: str) -> Callable[..., nn.Module]:
    if name == ELSEWHERE:
        raise JobDocumentError(
            "the job's model is that of a Flower app, whose code trains it: take part with that app "
            "(galaxy_chain.flower, docs/how-to/flower.md); `galaxy-chain audit` needs no model"
        )
    if name not in BUILTIN:
        known = [*BUILTIN, f"{TORCHVISION}resnet18"]
        raise JobDocumentError(
            f"unknown builtin model {name!r}: use one of {', '.join(known)} (or another classifier of torchvision)"
        )
    return validate_call(config=ConfigDict(arbitrary_types_allowed=True))(BUILTIN[name])


def _torchvision(name: str) -> Callable[..., nn.Module]:
    import_compiler_later()
    from torchvision import models  # only these models need it

    known = models.list_models(module=models)
    if name not in known:
        raise JobDocumentError(unknown_name("torchvision classifier", name, known))

    def build(**options: Any) -> nn.Module:
        if options.keys() & {"weights", "weights_backbone"}:
            raise TypeError("weights are the job's, never downloaded: leave 'weights' out")
        built: nn.Module = models.get_model(name, weights=None, **options)
        return built

    return build
