"""What training and evaluation report. A worker's reports are checked against these before use."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from galaxy_fl.validation import Strict, printable

__all__ = ["Count", "Evaluation", "TrainResult"]

Count = Annotated[int, Field(ge=1, lt=2**63)]
"""Models' code may have made it up: no more than what databases and floats take."""
MetricName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(printable)]


class Evaluation(Strict):
    """How good a model is on a data set."""

    samples: Count
    loss: float
    """Mean over the samples."""
    accuracy: float | None
    """The fraction of class labels that is right, or a user's own measure; None where neither is available."""
    metrics: dict[MetricName, float | None] = Field(default_factory=dict, max_length=100)
    """The job's further metrics, and what a model's own step says of it; None for what is not a finite number."""


class TrainResult(Evaluation):
    """What training in a round came to. `loss` and `accuracy` are means over the last local epoch, as it ran."""

    seconds: float = Field(ge=0)
    batches: Count
    """Optimizer steps, over all local epochs."""
