"""The `train` section of a job document: how every client trains, the same for all of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from galaxy_fl.validation import Strict

__all__ = ["LARGEST_INTEGER", "OWN_LOSS", "LossName", "Option", "TrainSpecification"]

LARGEST_INTEGER = 2**53 - 1
"""The largest integer that canonical JSON (RFC 8785) can carry exactly."""

ClassName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=64)]
OWN_LOSS = "training_step"
"""In place of a loss's name: the model's class has a method of this name, which computes it from a batch."""
LossName = Annotated[str, Field(pattern=rf"^([A-Za-z][A-Za-z0-9]*|{OWN_LOSS})$", max_length=64)]
Integer = Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]


LONGEST_LIST = 10_000
"""Weights of that many classes fit a job document."""


def _one_error(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """Not an error for each of the types that it could have been. What JSON has not becomes what it has."""
    try:
        return validate(_plain(value))
    except ValidationError:
        raise ValueError(
            "expected true, false, a number, a text of at most 256 characters, "
            f"or a list of at most {LONGEST_LIST} numbers"
        ) from None


def _plain(value: Any) -> Any:
    """A tuple, an array or a tensor (with one number along all axes but one) as a list, a scalar as a number."""
    if isinstance(value, tuple | list):
        return [each.tolist() if hasattr(each, "tolist") else each for each in value]
    if not hasattr(value, "tolist"):  # numpy's and torch's have it, neither of which is imported here
        return value
    if len(shape := value.shape) > 1 and sum(size != 1 for size in shape) <= 1:
        value = value.reshape(-1)  # of [classes, 1, 1], as torch takes weights of images
    return value.tolist()


Text = Annotated[str, Field(max_length=256)]
Numbers = Annotated[list[Integer | float], Field(max_length=LONGEST_LIST)]
Option = Annotated[bool | Integer | float | Text | Numbers | None, WrapValidator(_one_error)]
"""A keyword argument: a list is what Adam's `betas`, a schedule's `milestones` and a loss's class weights are."""


class TrainSpecification(Strict):
    """How a client trains. Where it trains (the device) is its own affair and no part of this.

    Whether torch has an optimizer, a schedule or a loss of that name is found where torch is: see
    `galaxy_fl.training.optimizers`, `galaxy_fl.training.schedulers` and `galaxy_fl.training.losses`.

    Raises pydantic's ValidationError for an unknown key, a wrong type or a value out of range.
    """

    optimizer: ClassName = "SGD"
    """A class of torch.optim."""
    optimizer_options: dict[str, Option] = Field(default_factory=dict)
    """Keyword arguments of the optimizer; SGD has momentum 0.5 unless it is given here."""
    learning_rate: float = Field(default=0.01, gt=0)
    scheduler: ClassName | None = None
    """A class of torch.optim.lr_scheduler; it takes a step after each local epoch and continues from round to round."""
    scheduler_options: dict[str, Option] = Field(default_factory=dict)
    """Keyword arguments of the scheduler."""
    loss: LossName = "CrossEntropyLoss"
    """A loss class of torch.nn; or `training_step`, which is the default where the model's class has such a method."""
    loss_options: dict[str, Option] = Field(default_factory=dict)
    """Keyword arguments of the loss; its tensors, `weight` and `pos_weight`, as a number for each class."""
    batch_size: int = Field(default=32, ge=0, le=2**31 - 1)
    """Samples a step; 0 is all of the client's in one batch."""
    local_epochs: int = Field(default=1, ge=1, le=2**31 - 1)
    """Passes over the client's data in one round."""
    seed: int = Field(default=0, ge=0, le=LARGEST_INTEGER)
    """Seed of the initial weights, of shuffling and of dropout."""
    accumulate: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Batches whose gradients make a step of the optimizer together, weighted by their samples; None for one."""
    clip_norm: float | None = Field(default=None, gt=0)
    """The L2 norm, over all parameters, to which a step's gradient is scaled down where it is longer."""
    clip_value: float | None = Field(default=None, gt=0)
    """The size to which each number of a step's gradient is cut."""
    precision: Literal["bf16"] | None = None
    """`bf16`: the model runs in torch's autocast to bfloat16, its weights stay what they are; None for no autocast."""
    metrics: dict[ClassName, dict[str, Option]] | None = Field(default=None, max_length=20)
    """Classes of torchmetrics by which models are measured besides loss and accuracy, with their keyword arguments."""
    proximal: float | None = Field(default=None, ge=0)
    """FedProx's mu: how strongly a round's weights are pulled towards those that it began with; None for not at all."""

    @field_validator("optimizer_options")
    @classmethod
    def _one_learning_rate(cls, options: dict[str, Option]) -> dict[str, Option]:
        if "lr" in options:
            raise ValueError("gives the learning rate a second time as 'lr': set learning_rate instead")
        return options

    @field_validator("scheduler_options")
    @classmethod
    def _of_a_scheduler(cls, options: dict[str, Option], info: ValidationInfo) -> dict[str, Option]:
        if options and info.data.get("scheduler", "invalid itself") is None:
            raise ValueError("are given without a scheduler: name one of torch.optim.lr_scheduler")
        return options

    @model_validator(mode="after")
    def _one_way_to_clip(self) -> TrainSpecification:
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError("clip_norm and clip_value are two ways to clip a gradient: leave one of them out")
        return self
