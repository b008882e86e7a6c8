"""How a job runs, in the names of PFL: where participants meet, what they make of their models, how they train."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.jobs.train import Train

__all__ = ["FederateStrategy", "RunTimeStrategy", "TrainStrategyFactory", "TrainStrategyFatorcy", "WorkModeStrategy"]


class WorkModeStrategy(StrEnum):
    """Where a job's participants meet."""

    WORKMODE_STANDALONE = "standalone"
    """In a folder of one machine."""
    WORKMODE_CLUSTER = "cluster"
    """At a server, by HTTP."""
    WORKMODE_BLOCKCHAIN = "blockchain"
    """On a ledger; needs `galaxy_chain`."""


class FederateStrategy(StrEnum):
    """What becomes of the clients' models."""

    FED_AVG = "fed_avg"
    """They are averaged (McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
    AISTATS 2017)."""
    FED_DISTILLATION = "fed_distillation"
    """Each client keeps its own and learns from the others' (Zhang et al., "Deep Mutual Learning", CVPR 2018)."""


class RunTimeStrategy(StrEnum):
    """Losses and optimizers. PFL's spellings come first; a second name is the same member, spelled correctly."""

    L1_LOSS = "L1loss"
    MSE_LOSS = "MSELoss"
    CROSSENTROPY_LOSS = "CrossEntropyLoss"
    NLL_LOSS = "NLLLoss"
    POISSIONNLL_LOSS = "PoissonNLLLoss"
    POISSONNLL_LOSS = "PoissonNLLLoss"
    KLDIV_LOSS = "KLDivLoss"
    BCE_LOSS = "BCELoss"
    BCEWITHLOGITS_Loss = "BCEWithLogitsLoss"
    BCEWITHLOGITS_LOSS = "BCEWithLogitsLoss"
    MARGINRANKING_Loss = "MarginRankinpfloss"
    MARGINRANKING_LOSS = "MarginRankinpfloss"
    OPTIM_SGD = "SGD"
    OPTIM_ADAM = "Adam"


_OPTIMIZERS = [RunTimeStrategy.OPTIM_SGD, RunTimeStrategy.OPTIM_ADAM]
_LOSSES = [one for one in RunTimeStrategy if one not in _OPTIMIZERS]
_CLASSES = {RunTimeStrategy.L1_LOSS: "L1Loss", RunTimeStrategy.MARGINRANKING_LOSS: "MarginRankingLoss"}
"""What torch.nn calls a loss that PFL calls otherwise."""


class TrainStrategyFatorcy:
    """How the clients of a job train. The name is PFL's; `TrainStrategyFactory` is the same class.

    Args:
        optimizer: `OPTIM_SGD` (with momentum 0.5, unless `optimizer_options` say otherwise) or `OPTIM_ADAM`.
        learning_rate: Learning rate of the optimizer, more than 0.
        loss_function: One of the losses of `RunTimeStrategy`. Models may end in probabilities, log-probabilities or
            logits: each loss gets what it takes. Which of them it is, the job's `output` decides: see
            `galaxy_fl.entity.job.Job`.
        batch_size: Samples a step; 0 is all of them.
        epoch: Rounds of the job, at least 1.
        local_epochs: Passes over a client's data in one round.
        seed: Seed of shuffling and dropout.
        optimizer_options: More keyword arguments of the optimizer in torch.optim.
        loss_options: Keyword arguments of the loss in torch.nn; class weights (`weight`, `pos_weight`) as a list, a
            tuple, an array or a tensor of a number for each class.
        scheduler: A learning rate schedule of torch.optim.lr_scheduler, by its class's name; a step a local epoch,
            continuing from round to round.
        scheduler_options: Keyword arguments of the schedule.

    Raises:
        PFLException: there is no such optimizer or loss. The other values are checked when a job is made.
    """

    def __init__(
        self,
        optimizer: str = RunTimeStrategy.OPTIM_SGD,
        learning_rate: float = 0.01,
        loss_function: str = RunTimeStrategy.NLL_LOSS,
        batch_size: int = 0,
        epoch: int = 10,
        *,
        local_epochs: int = 1,
        seed: int = 0,
        optimizer_options: Mapping[str, Any] | None = None,
        loss_options: Mapping[str, Any] | None = None,
        scheduler: str | None = None,
        scheduler_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.set_optimizer(optimizer)
        self.set_loss_function(loss_function)
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epoch = epoch
        self.local_epochs = local_epochs
        self.seed = seed
        self.optimizer_options = dict(optimizer_options or {})
        self.loss_options = dict(loss_options or {})
        self.scheduler = scheduler
        self.scheduler_options = dict(scheduler_options or {})

    def get_loss_functions(self) -> list[RunTimeStrategy]:
        """Return the losses that there are."""
        return list(_LOSSES)

    def get_fed_strategies(self) -> list[FederateStrategy]:
        """Return the federation strategies that there are."""
        return list(FederateStrategy)

    def get_optim_strategies(self) -> list[RunTimeStrategy]:
        """Return the optimizers that there are."""
        return list(_OPTIMIZERS)

    def get_optimizer(self) -> RunTimeStrategy:
        return self.optimizer

    def set_optimizer(self, optimizer: str) -> None:
        """Raises PFLException if there is no such optimizer."""
        if optimizer not in _OPTIMIZERS:
            raise PFLException("optimizer strategy not found")
        self.optimizer = RunTimeStrategy(optimizer)

    def get_learning_rate(self) -> float:
        return self.learning_rate

    def set_learning_rate(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def get_loss_function(self) -> RunTimeStrategy:
        return self.loss_function

    def set_loss_function(self, loss_function: str) -> None:
        """Raises PFLException if there is no such loss."""
        if loss_function not in _LOSSES:
            raise PFLException("loss strategy not found")
        self.loss_function = RunTimeStrategy(loss_function)

    def get_batch_size(self) -> int:
        return self.batch_size

    def set_batch_size(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def get_epoch(self) -> int:
        return self.epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def train(self) -> Train:
        """Return the strategy as Galaxy's own API has it, without the number of rounds.

        Raises:
            PFLException: a value is of the wrong type or out of range; every one that is wrong is named.
        """
        try:
            return Train(
                optimizer=self.optimizer.value,
                optimizer_options=self.optimizer_options,
                learning_rate=self.learning_rate,
                loss=_CLASSES.get(self.loss_function, self.loss_function.value),
                loss_options=self.loss_options,
                scheduler=self.scheduler,
                scheduler_options=self.scheduler_options,
                batch_size=self.batch_size,
                local_epochs=self.local_epochs,
                seed=self.seed,
            )
        except JobDocumentError as error:
            raise PFLException(f"the train strategy is not valid: {error}") from error

    def specification(self) -> TrainSpecification:
        """Return the `train` section of a job document.

        Raises:
            PFLException: as `train`.
        """
        return self.train().specification()

    @classmethod
    def of_specification(cls, train: TrainSpecification, rounds: int) -> TrainStrategyFatorcy:
        """Return the strategy whose `specification` is `train`.

        Raises:
            PFLException: its optimizer or loss has no name here.
        """
        names = {torch: pfl.value for pfl, torch in _CLASSES.items()}
        return cls(
            optimizer=train.optimizer,
            learning_rate=train.learning_rate,
            loss_function=names.get(train.loss, train.loss),
            batch_size=train.batch_size,
            epoch=rounds,
            local_epochs=train.local_epochs,
            seed=train.seed,
            optimizer_options=train.optimizer_options,
            loss_options=train.loss_options,
            scheduler=train.scheduler,
            scheduler_options=train.scheduler_options,
        )


TrainStrategyFactory = TrainStrategyFatorcy
