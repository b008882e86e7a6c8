"""PFL's job: its attributes can be changed until it is submitted. Galaxy's own is `galaxy_fl.Job`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from galaxy_fl.core.strategy import TrainStrategyFatorcy
    from galaxy_fl.jobs.ending import Ending

__all__ = ["Job"]


class Job:
    """What `JobManager.generate_job` returns. Its attributes are the arguments; those of PFL have getters and setters.

    Args:
        server_host: PFL's; kept and not used, since a mode knows where it is.
        job_id: Digits; after it is submitted, what the mode calls it.
        train_model: Path of the Python file that defines the model's class.
        train_model_class_name: The class, a torch.nn.Module that is made without arguments.
        aggregate_strategy: A `FederateStrategy`.
        train_strategy: How clients train, and for how many rounds.
        distillation_alpha: Weight of the divergence to the other clients' models; used by `FED_DISTILLATION` only.
        work_mode: Where its participants meet.
        weighting: What an update weighs: as much as the samples that it was trained on (`samples`), or 1 (`uniform`).
        min_clients: How many updates make a round.
        max_clients: The update with this number closes the round; None for no such number.
        deadline: Seconds that others have, once `min_clients` updates are in.
        distillation_reduction: The divergence divided by the samples (`batchmean`), or by the classes, too (`mean`).
        output: What the model ends in: `logits`, `probabilities` or `log-probabilities`. None until the job is
            submitted: then its structure decides it.
        fraction_bits: How finely tensors are carried, by name or pattern such as `norm.*`, where what follows from
            their initial values does not suit: a value x is rounded to a multiple of 2**-bits, and may be up to
            2**(31 - bits). Give fewer to tensors whose values grow large.
    """

    def __init__(
        self,
        server_host: str,
        job_id: str,
        train_model: str,
        train_model_class_name: str,
        aggregate_strategy: str,
        train_strategy: TrainStrategyFatorcy,
        distillation_alpha: float | None = None,
        *,
        work_mode: str = "standalone",
        weighting: Literal["samples", "uniform"] = "samples",
        min_clients: int = 1,
        max_clients: int | None = None,
        deadline: float | None = 600,
        distillation_reduction: Literal["batchmean", "mean"] = "batchmean",
        output: Ending | None = None,
        fraction_bits: Mapping[str, int] | None = None,
    ) -> None:
        self.server_host = server_host
        self.job_id = job_id
        self.train_model = train_model
        self.train_model_class_name = train_model_class_name
        self.aggregate_strategy = aggregate_strategy
        self.train_strategy = train_strategy
        self.distillation_alpha = distillation_alpha
        self.work_mode = work_mode
        self.weighting = weighting
        self.min_clients = min_clients
        self.max_clients = max_clients
        self.deadline = deadline
        self.distillation_reduction = distillation_reduction
        self.output = output
        self.fraction_bits = dict(fraction_bits or {})

    def __repr__(self) -> str:
        return f"Job(job_id={self.job_id!r}, train_model_class_name={self.train_model_class_name!r}, {self.work_mode})"

    def get_server_host(self) -> str:
        return self.server_host

    def set_server_host(self, server_host: str) -> None:
        self.server_host = server_host

    def get_job_id(self) -> str:
        return self.job_id

    def set_job_id(self, job_id: str) -> None:
        self.job_id = job_id

    def get_train_model(self) -> str:
        return self.train_model

    def set_train_model(self, train_model: str) -> None:
        self.train_model = train_model

    def get_train_model_class_name(self) -> str:
        return self.train_model_class_name

    def set_train_model_class_name(self, train_model_class_name: str) -> None:
        self.train_model_class_name = train_model_class_name

    def get_aggregate_strategy(self) -> str:
        return self.aggregate_strategy

    def set_aggregate_strategy(self, aggregate_strategy: str) -> None:
        self.aggregate_strategy = aggregate_strategy

    def get_train_strategy(self) -> TrainStrategyFatorcy:
        return self.train_strategy

    def set_train_strategy(self, train_strategy: TrainStrategyFatorcy) -> None:
        self.train_strategy = train_strategy

    def get_distillation_alpha(self) -> float | None:
        return self.distillation_alpha

    def set_distillation_alpha(self, distillation_alpha: float | None) -> None:
        self.distillation_alpha = distillation_alpha
