"""The `privacy` section of a job document: what of a client's data the others may learn from its updates, at most."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.specification import OWN_LOSS, TrainSpecification
from galaxy_fl.validation import Strict
from galaxy_fl.vectors import Layout

__all__ = ["ExamplePrivacy", "Privacy", "UpdatePrivacy", "check_noise", "expect_examples_apart"]

LEAST_NOISE, MOST_NOISE = 0.01, 1_000.0
MOST_STEPS = 2.0**30
"""Steps of the fixed point that the noise may deviate: int32 has twice that at each side."""


class _Privacy(Strict):
    """What both modes have.

    How noise is sampled is no choice: from the operating system's entropy, so that nobody can compute it again.
    """

    mode: str
    noise_multiplier: float
    """Standard deviation of the noise, as a multiple of the norm that is clipped to."""
    delta: float
    """The chance that is left out of epsilon's promise."""
    stop_at_epsilon: float | None = None
    """A client takes part for as long as its trainings in the job have an epsilon of no more than this; None for
    all rounds."""

    @field_validator("noise_multiplier")
    @classmethod
    def _noisy(cls, value: float) -> float:
        if not LEAST_NOISE <= value <= MOST_NOISE:
            raise ValueError(
                f"expected a number from {LEAST_NOISE:g} to {MOST_NOISE:g}: with less noise nothing is protected"
            )
        return value

    @field_validator("delta")
    @classmethod
    def _unlikely(cls, value: float) -> float:
        if not 0 < value < 1:
            raise ValueError("expected a probability above 0 and below 1, far below 1 / samples, such as 1e-5")
        return value

    @field_validator("stop_at_epsilon")
    @classmethod
    def _budget(cls, value: float | None) -> float | None:
        if value is not None and not value > 0:
            raise ValueError("expected a number above 0: a client with no budget can't train at all")
        return value


def _norm(value: float) -> float:
    if not value > 0:
        raise ValueError("expected a number above 0: whatever is clipped to a norm of 0 is nothing but noise")
    return value


class ExamplePrivacy(_Privacy):
    """Each step of training clips the gradient of every example and adds noise to their sum: DP-SGD (Abadi et al.,
    "Deep Learning with Differential Privacy", CCS 2016). Protects each example of a client."""

    mode: Literal["example"] = "example"
    max_grad_norm: float
    """L2 norm to which the gradient of an example is clipped, over all parameters."""

    @field_validator("max_grad_norm")
    @classmethod
    def _clips(cls, value: float) -> float:
        return _norm(value)


class UpdatePrivacy(_Privacy):
    """Each client clips its whole update and adds noise to it. Protects all data of a client (local differential
    privacy; McMahan et al., "Learning Differentially Private Recurrent Language Models", ICLR 2018, clips so)."""

    mode: Literal["update"] = "update"
    clip: float
    """L2 norm to which the update is clipped, over all trained tensors that travel."""

    @field_validator("clip")
    @classmethod
    def _clips(cls, value: float) -> float:
        return _norm(value)


Privacy = Annotated[ExamplePrivacy | UpdatePrivacy, Field(discriminator="mode")]


def check_noise(privacy: UpdatePrivacy, layout: Layout) -> None:
    """Make sure that the fixed point of each tensor can carry its noise.

    Raises:
        JobDocumentError: one can't; names it.
    """
    deviation = privacy.noise_multiplier * privacy.clip
    for tensor in layout.tensors:
        steps = math.ldexp(deviation, tensor.fraction_bits)
        if not 1 <= steps <= MOST_STEPS:
            raise JobDocumentError(
                f"privacy: noise of deviation {deviation:g} (noise_multiplier times clip) is {steps:.3g} steps of the "
                f"fixed point of {tensor.name!r}, expected 1 to {MOST_STEPS:.0f}: change clip or noise_multiplier, or "
                f"the tensor's fraction_bits, {tensor.fraction_bits}"
            )


def expect_examples_apart(train: TrainSpecification) -> None:
    """Make sure that nothing of how a job trains mixes examples before each one's gradient is clipped.

    Raises:
        ValueError: something does; names it.
    """
    where = "privacy of the mode 'example' clips the gradient of each example apart, and"
    if train.accumulate not in (None, 1):
        raise ValueError(
            f"{where} draws each step's examples by chance: leave out accumulate, and multiply batch_size by "
            f"{train.accumulate}; memory does not grow with it"
        )
    if train.loss == OWN_LOSS:
        raise ValueError(
            f"{where} can't tell the examples in the loss of the model's own {OWN_LOSS} apart: name a loss of "
            "torch.nn, or use the mode 'update'"
        )
    if train.precision is not None:
        raise ValueError(f"{where} has no use for {train.precision}: leave out precision")
    options = train.loss_options
    if train.loss in ("CrossEntropyLoss", "NLLLoss") and options.get("reduction", "mean") == "mean":
        for option in ("weight", "ignore_index"):
            if options.get(option) is not None:
                raise ValueError(
                    f"{where} {train.loss} with {option} divides by what it counts of all examples: take "
                    "loss_options with reduction 'sum' (and a smaller learning_rate), or leave it out"
                )
