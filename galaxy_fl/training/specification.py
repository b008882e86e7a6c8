"""The `train` section of a job document: how every client trains, the same for all of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

__all__ = ["LARGEST_INTEGER", "Option", "TrainSpecification"]

LARGEST_INTEGER = 2**53 - 1
"""The largest integer that canonical JSON (RFC 8785) can carry exactly."""

ClassName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=64)]
Integer = Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]


def _one_error(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """Not an error for each of the types that it could have been."""
    try:
        return validate(value)
    except ValidationError:
        raise ValueError("expected true, false, a number, or a text of at most 256 characters") from None


Option = Annotated[bool | Integer | float | Annotated[str, Field(max_length=256)] | None, WrapValidator(_one_error)]


class TrainSpecification(BaseModel):
    """How a client trains. Where it trains (the device) is its own affair and no part of this.

    Whether torch has an optimizer or a loss of that name is found where torch is: see
    `galaxy_fl.training.optimizers` and `galaxy_fl.training.losses`.

    Raises pydantic's ValidationError for an unknown key, a wrong type or a value out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    optimizer: ClassName = "SGD"
    """A class of torch.optim."""
    optimizer_options: dict[str, Option] = {}
    """Keyword arguments of the optimizer; SGD has momentum 0.5 unless it is given here."""
    learning_rate: float = Field(default=0.01, gt=0)
    loss: ClassName = "CrossEntropyLoss"
    """A loss class of torch.nn."""
    loss_options: dict[str, Option] = {}
    batch_size: int = Field(default=32, ge=1, le=2**31 - 1)
    local_epochs: int = Field(default=1, ge=1, le=2**31 - 1)
    """Passes over the client's data in one round."""
    seed: int = Field(default=0, ge=0, le=LARGEST_INTEGER)
    """Of the initial weights."""

    @field_validator("optimizer_options")
    @classmethod
    def _one_learning_rate(cls, options: dict[str, Option]) -> dict[str, Option]:
        if "lr" in options:
            raise ValueError("gives the learning rate a second time as 'lr': set learning_rate instead")
        return options
