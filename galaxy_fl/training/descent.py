"""What becomes of the gradients: clipping, FedProx's pull, the optimizer's step, and the learning rate's schedule."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.optimizers import build_optimizer
from galaxy_fl.training.proximal import Proximal
from galaxy_fl.training.schedulers import Schedule

__all__ = ["Descent"]


class Descent:
    """The steps of one round, down the gradient of a model's loss.

    Args:
        model: With the weights that the round begins with.
        specification: How the job trains.
        round: The round's number, from 1, which the schedule continues from.
        shared: The names of the parameters that are averaged; None for all.

    Attributes:
        optimizer: The job's, which is made anew for each round.

    Raises:
        TrainingError: torch has no such optimizer or schedule, or it does not take its options.
    """

    def __init__(
        self, model: nn.Module, specification: TrainSpecification, round: int = 1, shared: Collection[str] | None = None
    ) -> None:
        self.optimizer = build_optimizer(model.parameters(), specification)
        self._schedule = Schedule(self.optimizer, specification, round)
        self._model = model
        self._specification = specification
        mu = specification.proximal
        self._proximal = Proximal(model, mu, shared) if mu else None

    def add(self, loss: Tensor, share: float = 1.0, first: bool = True) -> None:
        """Add a batch's gradient to those of its step.

        Args:
            loss: The batch's, a mean over its samples.
            share: The batch's part of all samples of the step.
            first: Whether the step begins with it.
        """
        if first:
            self.optimizer.zero_grad()
        (loss if share == 1.0 else loss * share).backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """Take the step.

        Raises:
            TrainingError: the optimizer can't train this model.
        """
        try:
            if self._proximal is not None:
                self._proximal.pull()
            self._clip()
            self.optimizer.step()
        except RuntimeError as error:  # such as of sparse gradients
            raise TrainingError(f"optimizer {self._specification.optimizer} can't train this model: {error}") from error

    def end_epoch(self) -> None:
        """Have the schedule take its step."""
        self._schedule.step()

    def _clip(self) -> None:
        norm, value = self._specification.clip_norm, self._specification.clip_value
        if norm is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), norm)
        if value is not None:
            nn.utils.clip_grad_value_(self._model.parameters(), value)
