"""Learning rate schedules by their names in torch.optim.lr_scheduler."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from torch.optim import Optimizer, lr_scheduler

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.names import unknown_name

__all__ = ["REFUSED", "SCHEDULERS", "Schedule"]

REFUSED = {
    "ChainedScheduler": "it is made of other schedulers, which no option can name",
    "LambdaLR": "it calls a function, and options are values; MultiStepLR or PolynomialLR may do instead",
    "MultiplicativeLR": "it calls a function, and options are values; ExponentialLR may do instead",
    "ReduceLROnPlateau": "it steps by a metric, and the rounds of a job have none that all clients agree on",
    "SequentialLR": "it is made of other schedulers, which no option can name",
}

SCHEDULERS: dict[str, Any] = {
    name: found
    for name, found in inspect.getmembers(lr_scheduler, inspect.isclass)
    if issubclass(found, lr_scheduler.LRScheduler) and name not in {"LRScheduler", "_LRScheduler", *REFUSED}
}


class Schedule:
    """The schedule of `specification`, if it names one, over an optimizer that a round has just made.

    In round r it has taken (r-1) * local_epochs steps before; `step` takes the next, after a local epoch.

    Raises TrainingError for a name that torch does not have (with the nearest ones), for a schedule that needs
    more than to be stepped, for options that it does not take, and past the end of one that has an end.
    """

    def __init__(self, optimizer: Optimizer, specification: TrainSpecification, round: int = 1) -> None:
        self._name = name = specification.scheduler
        self._scheduler: lr_scheduler.LRScheduler | None = None
        if name is None:
            return
        if name in REFUSED:
            raise TrainingError(f"scheduler {name} can't be used: {REFUSED[name]}")
        if name not in SCHEDULERS:
            raise TrainingError(unknown_name("scheduler", name, SCHEDULERS))
        options = specification.scheduler_options
        try:
            self._scheduler = SCHEDULERS[name](optimizer, **options)
        except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
            raise TrainingError(f"scheduler {name} with options {options!r}: {error}") from error
        with warnings.catch_warnings():  # the optimizer took its steps in the rounds before, and is a new one
            warnings.filterwarnings("ignore", r"Detected call of `lr_scheduler.step\(\)`", UserWarning)
            for _ in range((round - 1) * specification.local_epochs):
                self.step()

    def step(self) -> None:
        """A local epoch is over."""
        if self._scheduler is None:
            return
        try:
            self._scheduler.step()
        except (ValueError, ZeroDivisionError) as error:
            raise TrainingError(
                f"scheduler {self._name} can't take another step: {error}; it takes one a local epoch, "
                "over all rounds of the job"
            ) from error
