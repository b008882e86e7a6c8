"""How the clients of a job train, as its author writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from galaxy_fl.exceptions import JobDocumentError, TrainingError
from galaxy_fl.jobs.shown import shown, tabled
from galaxy_fl.jobs.specification import OWN_LOSS, TrainSpecification
from galaxy_fl.validation import explain

__all__ = ["Train"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Train:
    """How every client of a job trains in each round; the same for all of them.

    Names are those of torch's classes, or a short form: `"CrossEntropyLoss"` or `"cross_entropy"`, `"AdamW"` or
    `"adamw"`, `"CosineAnnealingLR"` or `"cosine_annealing"`. The attributes have the classes' own names.

    Args:
        loss: Loss of torch.nn that compares an output with a target: `"cross_entropy"`, `"nll"`, `"mse"`, `"bce"`, …
            A model may end in logits, probabilities or log-probabilities: each loss gets what it takes. None for
            `"training_step"`, where the model's class has a method of that name, which computes the loss from a batch,
            and for `"cross_entropy"` where it has none.
        learning_rate: Learning rate of the optimizer, more than 0.
        batch_size: Samples a step; 0 for all of a client's samples.
        local_epochs: Passes over a client's data in one round.
        optimizer: Optimizer of torch.optim, except LBFGS.
        momentum: Momentum of the optimizer; None for the optimizer's own default, which for SGD is 0.5 here.
        scheduler: Learning rate schedule of torch.optim.lr_scheduler; it takes a step after each local epoch and
            continues from round to round.
        seed: Seed of shuffling and dropout, and of the initial weights where the job's model is a class or a name.
        accumulate: Batches whose gradients make a step of the optimizer together, weighted by their samples: 4 batches
            of 8 are one of 32, in less memory. None for one.
        clip_norm: L2 norm, over all parameters, to which a step's gradient is scaled down where it is longer.
        clip_value: Size to which each number of a step's gradient is cut.
        precision: `"bf16"` to run the model in torch's autocast to bfloat16; None for the model's own types. Weights
            and updates are float32 in both.
        proximal: FedProx's mu (Li et al. 2020), at least 0: how strongly a client's weights are pulled towards those
            that the round began with.
        metrics: Further metrics that models are measured by: names of torchmetrics' classes, such as
            `["MeanAbsoluteError"]`, or each with its keyword arguments, such as `{"F1Score": {"task": "multiclass",
            "num_classes": 10, "average": "macro"}}`. Takes the extra `galaxy-fl[metrics]`, for every participant.
        loss_options, optimizer_options, scheduler_options: More keyword arguments of the three classes. Class weights
            (`weight`, `pos_weight`) are a list, an array or a tensor of a number for each class.

    Raises:
        JobDocumentError: a value has the wrong type or is out of range (all that are wrong are named), torch has no
            class of that name, or the class does not take an option.

    Example:
        >>> import galaxy_fl as galaxy
        >>> galaxy.Train(loss="nll", learning_rate=0.1, batch_size=32)
        Train(loss='NLLLoss', learning_rate=0.1)
        >>> galaxy.Train(optimizer="adamw", optimizer_options={"weight_decay": 0.01}, scheduler="exponential",
        ...              scheduler_options={"gamma": 0.9}).optimizer
        'AdamW'
    """

    loss: str | None = None
    learning_rate: float = 0.01
    batch_size: int = 32
    local_epochs: int = 1
    optimizer: str = "SGD"
    momentum: float | None = None
    scheduler: str | None = None
    seed: int = 0
    accumulate: int | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    precision: Literal["bf16"] | None = None
    proximal: float | None = None
    metrics: Mapping[str, Mapping[str, Any]] | Sequence[str] = ()
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    scheduler_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from galaxy_fl.training.checking import check_training
        from galaxy_fl.training.losses import FUNCTIONS, LOSSES
        from galaxy_fl.training.names import torch_name
        from galaxy_fl.training.optimizers import OPTIMIZERS
        from galaxy_fl.training.schedulers import REFUSED, SCHEDULERS

        try:
            for name, known, ending, functions in (
                ("loss", LOSSES, "loss", FUNCTIONS),
                ("optimizer", OPTIMIZERS, "", {}),
                ("scheduler", {*SCHEDULERS, *REFUSED}, "lr", {}),
            ):
                given = getattr(self, name)
                if isinstance(given, str) and given != OWN_LOSS:
                    object.__setattr__(self, name, torch_name(name, given, known, ending, functions))
            if self.metrics:
                from galaxy_fl.training.metrics import metric_name

                named = {metric_name(name): options for name, options in self._metrics().items()}
                object.__setattr__(self, "metrics", named)
            if self.momentum is not None and "momentum" in self.optimizer_options:
                raise TrainingError("momentum is given twice, once among the optimizer_options: leave one out")
            check_training(self.specification())
        except TrainingError as error:
            raise JobDocumentError(f"Train: {error}") from error

    def _metrics(self) -> Mapping[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        if not isinstance(self.metrics, str):
            found = dict(self.metrics) if isinstance(self.metrics, Mapping) else {name: {} for name in self.metrics}
        if (self.metrics and not found) or not all(
            isinstance(name, str) and isinstance(options, Mapping) for name, options in found.items()
        ):
            raise JobDocumentError(
                f"Train: metrics is {self.metrics!r:.80}, expected a list of names of torchmetrics' classes, or names "
                "with keyword arguments, such as {'F1Score': {'task': 'multiclass', 'num_classes': 10}}"
            )
        return found

    def __repr__(self) -> str:
        return shown(self)

    def _repr_html_(self) -> str:
        return tabled(self)

    def specification(self) -> TrainSpecification:
        """Return the `train` section of a job document.

        Raises:
            JobDocumentError: a value has the wrong type or is out of range.

        Example:
            >>> galaxy.Train(momentum=0.9).specification().optimizer_options
            {'momentum': 0.9}
        """
        chosen = {} if self.loss is None else {"loss": self.loss}
        momentum = {} if self.momentum is None else {"momentum": self.momentum}
        try:
            return TrainSpecification(
                optimizer=self.optimizer,
                optimizer_options={**self.optimizer_options, **momentum},
                learning_rate=self.learning_rate,
                scheduler=self.scheduler,
                scheduler_options=dict(self.scheduler_options),
                loss_options=dict(self.loss_options),
                batch_size=self.batch_size,
                local_epochs=self.local_epochs,
                seed=self.seed,
                accumulate=self.accumulate,
                clip_norm=self.clip_norm,
                clip_value=self.clip_value,
                precision=self.precision,
                proximal=self.proximal,
                metrics={name: dict(options) for name, options in self._metrics().items()} or None,
                **chosen,
            )
        except ValidationError as error:
            raise JobDocumentError(f"Train: {explain(error)}") from error
