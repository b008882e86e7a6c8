"""The mode `example` of privacy: DP-SGD, with the gradients of single examples by Opacus.

Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar and Zhang, "Deep Learning with Differential Privacy", CCS 2016. Each
step takes each example by chance (a Poisson sample), clips the gradient of each that it took, adds noise to their sum,
and divides by the number that was to be expected. Neither chance follows from the job's seed, which everybody knows:
whoever knew the samples, or the noise, would be told more than the accountant counts.

Whatever comes after the noise (FedProx's pull, clipping, the optimizer's step) depends on no example, so it costs
nothing.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from galaxy_fl.data import structure
from galaxy_fl.data.batches import batches, count
from galaxy_fl.data.loaded import indexed, streams
from galaxy_fl.exceptions import ConfigurationError, DataError, DivergedError, TrainingError
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.likeness import same_bits
from galaxy_fl.jobs.privacy import ExamplePrivacy
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.privacy.accountant import MISSING, sampling
from galaxy_fl.privacy.entropy import gaussians, uniforms
from galaxy_fl.training.accuracy import IGNORED
from galaxy_fl.training.descent import Descent
from galaxy_fl.training.minibatches import output_of, split
from galaxy_fl.training.objective import Objective, Outcome, build_objective
from galaxy_fl.training.randomness import secret_seed, seed_torch
from galaxy_fl.training.results import TrainResult
from galaxy_fl.training.trainer import OnBatch, Tally, evaluate

__all__ = ["check_examples_apart", "expect_indexed", "train_privately"]

PART = 64
"""Examples at a time whose gradients are in memory: each is as large as the model."""
APART = 4
"""Examples of which is tried whether each is computed apart from the others."""
TOLERANCE = 1e-3
NOT_APART = (
    "Opacus does not find the gradient of each example for this model: a layer is given something else than one row an "
    "example (as by a reshape that joins examples with another dimension), or its weight is used past its forward; "
    "give each layer [examples, …] and call the layer itself, or use privacy of the mode 'update'"
)


def train_privately(
    model: nn.Module,
    dataset: Dataset[Any],
    specification: TrainSpecification,
    privacy: ExamplePrivacy,
    device: str = "cpu",
    on_batch: OnBatch | None = None,
    round: int = 1,
    ending: Ending = "logits",
    shared: Collection[str] | None = None,
) -> TrainResult:
    """Train `model` in place as `galaxy_fl.training.trainer.train` does, privately.

    No seed decides anything of it: the same data never give the same weights. An epoch has as many steps as there are
    batches in the data; a step has `batch_size` examples on average, and may have none. `loss` and `accuracy` are over
    all examples that were taken, and are not private.

    Raises DivergedError, DataError and TrainingError as `train`, ConfigurationError where Opacus is not installed.
    """
    started = time.perf_counter()
    hooks, noisy = _opacus()
    expect_indexed(dataset)
    samples, dataset = count(dataset), indexed(dataset)
    rate, steps = sampling(specification, samples)
    model.to(device).train()
    objective = build_objective(model, specification, ending, device)
    descent = Descent(model, specification, round, shared)
    mean = specification.loss_options.get("reduction", "mean") != "sum"
    optimizer = noisy(
        descent.optimizer,
        noise_multiplier=privacy.noise_multiplier,
        max_grad_norm=privacy.max_grad_norm,
        expected_batch_size=samples * rate,
        loss_reduction="mean" if mean else "sum",
    )
    tally = Tally(model, specification, ending, device)
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    per_example = hooks(model, loss_reduction="sum")
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of hooks on inputs that need no gradient
            seed_torch(secret_seed(), device)  # dropout
            for epoch in range(1, specification.local_epochs + 1):
                for number in range(1, steps + 1):
                    value = math.nan
                    for batch, size, last in _parts(dataset, _drawn(samples, rate)):
                        outcome = objective(structure.to(batch, device))
                        value = _finite(outcome, specification)
                        (outcome.loss * size if mean else outcome.loss).backward()  # type: ignore[no-untyped-call]
                        tally.add(outcome, value, size)
                        _take(optimizer, descent, size, last)
                    if math.isnan(value):  # nothing was drawn, which nobody may see
                        optimizer.sum_of_none()
                        descent.step()
                        optimizer.zero_grad()
                    if on_batch is not None:
                        on_batch(epoch, number, value)
                descent.end_epoch()
    finally:
        per_example.cleanup()
        for parameter in model.parameters():
            parameter.__dict__.pop("summed_grad", None)
        for module in model.modules():
            module.__dict__.pop("activations", None)
    _expect_same(model, buffers)
    seen = tally if tally.samples else evaluate(model, dataset, specification, device, ending=ending)
    return TrainResult(
        samples=samples,
        loss=seen.loss,
        accuracy=seen.accuracy,
        metrics=seen.metrics,
        seconds=time.perf_counter() - started,
        batches=specification.local_epochs * steps,
    )


def _expect_same(model: nn.Module, buffers: dict[str, Tensor]) -> None:
    for name, value in model.named_buffers():
        if name not in buffers or not same_bits(value, buffers[name]):
            raise TrainingError(
                f"training changed the buffer {name!r}: what it has seen of one example would reach others, whose "
                "gradients are protected one by one; leave it out, or use privacy of the mode 'update'"
            )


def _drawn(samples: int, rate: float) -> Tensor:
    """The indices of a step: each is there with the probability `rate`, whether or not others are."""
    return torch.from_numpy(uniforms(samples) <= rate).nonzero().reshape(-1)


def _parts(dataset: Dataset[Any], indices: Tensor) -> Iterator[tuple[Any, int, bool]]:
    """The examples of a step, a few at a time; how many they are, and whether they are the last."""
    if not len(indices):
        return
    picks = list(torch.split(indices, PART))
    for number, (pick, batch) in enumerate(zip(picks, batches(dataset, picks), strict=True), start=1):
        yield batch, len(pick), number == len(picks)


def _finite(outcome: Outcome, specification: TrainSpecification) -> float:
    """The loss, which has to be finite, and a mean over all of its examples."""
    ignores = specification.loss in ("CrossEntropyLoss", "NLLLoss")
    mean = specification.loss_options.get("reduction", "mean") == "mean"
    if ignores and mean and outcome.target is not None and bool((outcome.target == IGNORED).any()):
        raise TrainingError(
            f"there are targets {IGNORED}, which the loss leaves out of its mean: so an example's part depends on "
            "others, and is not private; leave such examples out, or take reduction 'sum' (loss_options)"
        )
    value = outcome.loss.item()
    if not math.isfinite(value):
        raise DivergedError(
            f"the loss became {value}, with learning rate {specification.learning_rate:g}: lower it, or the noise, or "
            "look for NaN and unscaled values in the data"
        )
    return value


def _take(optimizer: Any, descent: Descent, size: int, last: bool) -> None:
    """Clip the gradients of some examples, and with the last ones of a step take it."""
    for parameter in optimizer.params:
        rows = parameter.grad_sample
        if isinstance(rows, Tensor) and len(rows) != size:
            raise TrainingError(NOT_APART)  # what would be clipped are not examples
    optimizer.signal_skip_step(not last)
    try:
        complete = optimizer.pre_step()
    except (ValueError, RuntimeError) as error:
        raise TrainingError(f"the gradients of single examples can't be computed for this model: {error}") from error
    if complete:
        descent.step()
    optimizer.zero_grad(set_to_none=True)


def _opacus() -> tuple[Any, Any]:
    """Opacus's hooks, and its optimizer with noise from the operating system's entropy."""
    try:
        from opacus.grad_sample.grad_sample_module import GradSampleHooks
        from opacus.optimizers import DPOptimizer
    except ImportError as error:
        raise ConfigurationError(f"{MISSING} ({error})") from error

    class Noisy(DPOptimizer):  # type: ignore[misc]
        """Adds in 64 bits, and rounds the sum to those of the gradient, so that its last bits tell no summand."""

        def add_noise(self) -> None:
            deviation = self.noise_multiplier * self.max_grad_norm
            for parameter in self.params:
                total = parameter.summed_grad.double().cpu()
                noise = torch.from_numpy(gaussians(total.numel())).reshape(total.shape)
                parameter.grad = (total + deviation * noise).to(parameter.device, parameter.dtype).view_as(parameter)

        def scale_grad(self) -> None:
            if self.loss_reduction == "mean":
                for parameter in self.params:
                    parameter.grad /= self.expected_batch_size

        def sum_of_none(self) -> None:
            for parameter in self.params:
                parameter.summed_grad = torch.zeros_like(parameter)
            self.add_noise()
            self.scale_grad()
            self._is_last_step_skipped = False

    return GradSampleHooks, Noisy


def expect_indexed(dataset: Dataset[Any]) -> None:
    """Make sure that any example of a data set can be drawn.

    Raises:
        DataError: it is a stream.
    """
    if streams(indexed(dataset)):
        raise DataError(
            "the data set is a stream, of which no example can be drawn by chance, as privacy of the mode 'example' "
            "does: give it __getitem__, or take part in a job with privacy of the mode 'update'"
        )


def check_examples_apart(
    model: nn.Module,
    dataset: Dataset[Any],
    specification: TrainSpecification,
    device: str = "cpu",
    ending: Ending = "logits",
) -> None:
    """Make sure that a model computes each example apart from the others of its batch, on some examples; and that
    what Opacus takes for the gradient of an example is that.

    A model that draws at random, beyond torch's dropout layers, can't be compared with itself, and is let through.

    Raises:
        TrainingError: it does not.
    """

    def some(*indices: int) -> Any:
        [batch] = batches(dataset, [torch.tensor(indices)])
        return structure.to(batch, device)

    @torch.no_grad()
    def output(*indices: int) -> Tensor:
        return output_of(model, *split(some(*indices))[0])

    numbers = range(min(APART, count(dataset)))
    dropouts = [module for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    rates = [module.p for module in dropouts]
    model.train()
    try:
        for module in dropouts:
            module.p = 0.0
        together, again = output(*numbers), output(*numbers)
        if not torch.equal(together, again):
            return
        for one, number in zip(together, numbers, strict=True):
            other = output(number)
            if one.shape != other.shape[1:] or not torch.allclose(one, other[0], rtol=TOLERANCE, atol=TOLERANCE):
                raise TrainingError(
                    "what the model gives for an example depends on the others of its batch (as batch normalisation's "
                    "does), so that no example can be protected on its own: let each be computed by itself, or use "
                    "privacy of the mode 'update'"
                )
        objective = build_objective(model, specification, ending, device)
        _check_gradients(model, objective, [some(*numbers), *map(some, numbers)], specification)
    finally:
        for module, rate in zip(dropouts, rates, strict=True):
            module.p = rate


def _check_gradients(
    model: nn.Module, objective: Objective, given: list[Any], specification: TrainSpecification
) -> None:
    """Compare the gradients of examples in a batch, the first of those given, with those of batches of one each."""
    hooks, _ = _opacus()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    mean = specification.loss_options.get("reduction", "mean") != "sum"
    per_example = hooks(model, loss_reduction="sum")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of hooks on inputs that need no gradient
            loss = objective(given[0]).loss
            (loss * (len(given) - 1) if mean else loss).backward()  # type: ignore[no-untyped-call]
        found = [getattr(parameter, "grad_sample", None) for parameter in trained]
    finally:
        per_example.cleanup()
        model.zero_grad(set_to_none=True)
    for number, batch in enumerate(given[1:]):
        expected = torch.autograd.grad(objective(batch).loss, trained, allow_unused=True)
        for rows, gradient in zip(found, expected, strict=True):
            if rows is None or gradient is None:
                continue  # the first step says which parameter is not used
            size = float(gradient.abs().max())
            if len(rows) != len(given) - 1 or not torch.allclose(
                rows[number], gradient, rtol=TOLERANCE, atol=TOLERANCE * size + 1e-7, equal_nan=True
            ):
                raise TrainingError(NOT_APART)
