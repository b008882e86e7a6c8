"""What training and evaluation report. A worker's reports are checked against these before use."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Evaluation", "TrainResult"]

Fraction = Annotated[float, Field(ge=0, le=1)]


class Evaluation(BaseModel):
    """Of a model on a data set. `accuracy` is None where the targets are not class labels."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    samples: int = Field(ge=1)
    loss: float
    """Mean over the samples."""
    accuracy: Fraction | None


class TrainResult(Evaluation):
    """Of one client's round. `loss` and `accuracy` are means over the last local epoch, as it ran."""

    seconds: float = Field(ge=0)
    batches: int = Field(ge=1)
    """Optimizer steps, over all local epochs."""
