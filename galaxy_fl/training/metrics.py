"""Metrics of torchmetrics, by their names there, of what a model gives and what it should have given.

torchmetrics is an extra, and takes seconds to import: only a job that names a metric does.
"""

from __future__ import annotations

import importlib
import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from galaxy_fl.exceptions import DataError, TrainingError
from galaxy_fl.training.names import torch_name

__all__ = ["Metrics", "check_metrics", "metric_name"]

MISSING = "the job has metrics of torchmetrics, which is not installed here: pip install 'galaxy-fl[metrics]'"
DOMAINS = (".classification", ".regression", ".text", ".segmentation", ".nominal", "")
OF_TEXTS, OF_TOKENS = "torchmetrics.text.", {"Perplexity"}
"""Metrics of texts compare no tensors, and some (BERTScore, InfoLM) load whatever model their options name from
wherever, which nobody who takes part was asked about."""


def metric_name(name: str) -> str:
    """Return the name of a class of torchmetrics, given that or a short form of it, such as `f1_score`.

    Raises:
        TrainingError: there is no such class, or torchmetrics is not installed.
    """
    return torch_name("metric", name, _classes())


def check_metrics(chosen: Mapping[str, Mapping[str, Any]] | None) -> None:
    """Make sure that torchmetrics has the metrics, and that they take their options.

    Raises:
        TrainingError: it does not, or is not installed.
    """
    Metrics(chosen)


class Metrics:
    """The metrics of a job, over the batches of a data set.

    Args:
        chosen: By name the options of each.
        device: The device of what they are given.

    Raises:
        TrainingError: as `check_metrics`.
    """

    def __init__(self, chosen: Mapping[str, Mapping[str, Any]] | None, device: str = "cpu") -> None:
        self._metrics = {name: _built(name, options, device) for name, options in (chosen or {}).items()}

    def add(self, output: Tensor | None, target: Tensor | None) -> None:
        """Take in a batch: [N, …] each.

        Raises:
            DataError: they do not fit a metric.
            TrainingError: the model's own step does not say them.
        """
        if not self._metrics:
            return
        if output is None or target is None:
            raise TrainingError(
                f"the job measures {', '.join(self._metrics)}, and the model's own step does not say of what: let it "
                "return a dict of 'loss', 'preds' and 'target'"
            )
        output = output.detach()
        if output.shape != target.shape and output.numel() == target.numel():
            output = output.view_as(target)  # one output a sample, [N, 1]
        for name, metric in self._metrics.items():
            yes_or_no = target.is_floating_point() and type(metric).__module__.startswith("torchmetrics.classification")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of classes that are missing in a batch, and the like
                try:
                    metric.update(output, target.long() if yes_or_no else target)
                except (RuntimeError, ValueError, IndexError, TypeError) as error:
                    raise DataError(
                        f"the metric {name} does not fit an output of shape {tuple(output.shape)} and targets of shape "
                        f"{tuple(target.shape)} and type {target.dtype}: {error}"
                    ) from error

    def values(self) -> dict[str, float | None]:
        """Return what each has come to; None where that is not a finite number, such as for a class without samples.

        Raises:
            DataError: a metric gives several numbers.
        """
        return {name: _value(name, metric) for name, metric in self._metrics.items()}


def _value(name: str, metric: Any) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = metric.compute()
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise DataError(f"the metric {name} can't be computed: {error}") from error
    if not isinstance(found, Tensor) or found.numel() != 1:
        told = f"{found.numel()} numbers" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise DataError(
            f"the metric {name} gives {told}, expected one: choose how they are averaged by its options, such as "
            "average = 'macro'"
        )
    value = float(found)
    return value if math.isfinite(value) else None


def _classes() -> dict[str, Any]:
    """The classes of torchmetrics that compare `preds` with `target`."""
    try:
        modules = [importlib.import_module(f"torchmetrics{domain}") for domain in DOMAINS]
        kind = modules[-1].Metric
    except ImportError as error:
        raise TrainingError(MISSING) from error
    found: dict[str, Any] = {}
    for module in modules:
        for name in module.__all__:
            each = getattr(module, name)
            of_texts = getattr(each, "__module__", "").startswith(OF_TEXTS) and name not in OF_TOKENS
            if inspect.isclass(each) and issubclass(each, kind) and not of_texts:
                found.setdefault(name, each)
    return found


def _built(name: str, options: Mapping[str, Any], device: str) -> Any:
    classes = _classes()
    if name not in classes:
        torch_name("metric", name, classes)  # raises, unless it is a short form
        raise TrainingError(f"unknown metric {name!r}: did you mean {torch_name('metric', name, classes)}?")
    try:
        metric = classes[name](**options)
    except (TypeError, ValueError, RuntimeError, ImportError) as error:
        raise TrainingError(f"metric {name} with options {dict(options)!r}: {error}") from error
    if list(inspect.signature(metric.update).parameters)[:2] != ["preds", "target"]:
        raise TrainingError(
            f"metric {name} does not compare an output with a target, as accuracies, errors and the like do: choose "
            "one whose update takes preds and target"
        )
    return metric.to(device)
