"""PFL's way to describe and submit jobs: a face of `galaxy_fl.jobs.job.Job` and `galaxy_fl.jobs.preparing.prepare`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from galaxy_fl.core.strategy import FederateStrategy, TrainStrategyFatorcy, WorkModeStrategy
from galaxy_fl.entity.job import Job
from galaxy_fl.exceptions import ConfigurationError, JobDocumentError
from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.jobs.document import SourceModel
from galaxy_fl.jobs.job import Job as NativeJob
from galaxy_fl.jobs.job import source_file
from galaxy_fl.jobs.main_guard import expect_program
from galaxy_fl.jobs.method import Averaging, Distillation
from galaxy_fl.modes.job_folder import JobFolder, JobsFolder
from galaxy_fl.modes.mode import find_mode
from galaxy_fl.vectors.layout import BUFFER_BITS, PARAMETER_BITS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from galaxy_fl.jobs.ending import Ending

__all__ = ["JobManager"]


class JobManager:
    """Makes jobs, and submits them to where their participants meet."""

    def generate_job(
        self,
        work_mode: str = WorkModeStrategy.WORKMODE_STANDALONE,
        train_strategy: TrainStrategyFatorcy | None = None,
        fed_strategy: str = FederateStrategy.FED_AVG,
        model: type[nn.Module] | None = None,
        distillation_alpha: float | None = None,
        *,
        weighting: Literal["samples", "uniform"] = "samples",
        min_clients: int = 1,
        max_clients: int | None = None,
        deadline: float | None = 600,
        distillation_reduction: Literal["batchmean", "mean"] = "batchmean",
        output: Ending | None = None,
        fraction_bits: Mapping[str, int] | None = None,
    ) -> Job:
        """Describe a job.

        Args:
            work_mode: Where its participants meet.
            train_strategy: How clients train, and for how many rounds; the default strategy if None.
            fed_strategy: What becomes of the clients' models.
            model: The model's class: on the top level of a Python file, made without arguments. The file goes with the
                job, alone: what it imports has to be installed where it runs.
            distillation_alpha: With `FED_DISTILLATION`: the weight of the divergence to the others' models.
            weighting, min_clients, max_clients, deadline, distillation_reduction, output, fraction_bits: See
                `galaxy_fl.entity.job.Job`.

        Raises:
            PFLException: an argument is missing, the class is in no file, or the file has no main guard.
        """
        from galaxy_fl.jobs.preparing import new_job_id

        with _in_pfls_words(ConfigurationError):
            expect_program()
        if fed_strategy == FederateStrategy.FED_DISTILLATION and distillation_alpha is None:
            raise PFLException("generate_job() missing 1 positoonal argument: 'distillation_alpha'")
        if fed_strategy not in list(FederateStrategy):
            raise PFLException("federate strategy not found")
        if not inspect.isclass(model):
            raise PFLException(f"model is {model!r}, expected the model's class: generate_job(model=Net)")
        with _in_pfls_words(JobDocumentError):
            path = source_file(model)
        return Job(
            server_host="localhost:8080" if work_mode == WorkModeStrategy.WORKMODE_STANDALONE else "",
            job_id=new_job_id(),
            train_model=str(path),
            train_model_class_name=model.__name__,
            aggregate_strategy=FederateStrategy(fed_strategy),
            train_strategy=TrainStrategyFatorcy() if train_strategy is None else train_strategy,
            distillation_alpha=distillation_alpha,
            work_mode=work_mode,
            weighting=weighting,
            min_clients=min_clients,
            max_clients=max_clients,
            deadline=deadline,
            distillation_reduction=distillation_reduction,
            output=output,
            fraction_bits=fraction_bits,
        )

    def submit_job(self, job: Job, model: nn.Module, *, sample: Tensor | None = None, **settings: Any) -> None:
        """Submit a job, whose id is then what the mode calls it.

        Args:
            job: A job that `generate_job` returned.
            model: What round 1 starts from: an instance of the job's class, which is compared with one that is made
                without arguments, as participants do.
            sample: A batch of samples, to compare the two instances' output on, too.
            settings: Settings of the job's mode: where, and as whom. See docs/migration.md.

        Raises:
            PFLException: the job is not valid, or something about the model would not reach its participants.
            EncodingError: a weight is NaN, infinite or too large for its fraction bits.
            GalaxyError: the mode can't take it.
        """
        from galaxy_fl.jobs.preparing import prepare

        name = job.train_model_class_name
        if type(model).__name__ != name:
            raise PFLException(
                f"the model is a {type(model).__name__}, expected an instance of the job's class, {name}"
            )
        with _in_pfls_words(JobDocumentError):
            request = prepare(_native(job, model), job.job_id, sample)
        job.output = request.document.output
        job.set_job_id(find_mode(job.work_mode).submit(request, **settings))
        print(f"job {job.job_id} added successfully", flush=True)

    @staticmethod
    def get_job_list(job_path: str | Path) -> list[Job]:
        """Return the jobs in a folder of jobs, such as `res/jobs`, oldest first.

        Raises:
            PFLException: it is not such a folder, or a job there was made by other means.
            GalaxyError: a job there is damaged.
        """
        folder = Path(job_path).absolute()
        if folder.parts[-2:] != ("res", "jobs"):
            raise PFLException(f"{folder} is no folder of jobs: they are in res/jobs of a working directory")
        jobs = JobsFolder(folder.parent.parent)
        return [_job(jobs.open(job_id)) for job_id in jobs.ids()]


@contextmanager
def _in_pfls_words(kind: type[Exception]) -> Iterator[None]:
    """Raise PFLException in place of `kind`."""
    try:
        yield
    except kind as error:
        raise PFLException(str(error)) from error


def _native(job: Job, model: nn.Module) -> NativeJob:
    distils = job.aggregate_strategy == FederateStrategy.FED_DISTILLATION
    method: Averaging | Distillation = Averaging()
    if distils and job.distillation_alpha is not None:
        method = Distillation(job.distillation_alpha, job.distillation_reduction)
    elif distils:
        raise PFLException("the job is not valid: set_distillation_alpha has to be called for FED_DISTILLATION")
    return NativeJob(
        model,
        rounds=job.train_strategy.epoch,
        train=job.train_strategy.train(),
        method=method,
        weighting=job.weighting,
        min_clients=job.min_clients,
        max_clients=job.max_clients,
        deadline=job.deadline,
        output=job.output,
        fraction_bits=job.fraction_bits,
        source=job.train_model,
    )


def _job(folder: JobFolder) -> Job:
    document, terms = folder.document, folder.terms
    if not isinstance(document.model, SourceModel):
        raise PFLException(f"job {folder.job_id} was not made by generate_job: its model has no source")
    distils = document.distillation_alpha is not None
    bits = {tensor.name: tensor.fraction_bits for tensor in document.tensors.tensors}
    return Job(
        server_host="localhost:8080",
        job_id=folder.job_id,
        train_model=str(folder.path / "model.py"),
        train_model_class_name=document.model.class_name,
        aggregate_strategy=FederateStrategy.FED_DISTILLATION if distils else FederateStrategy.FED_AVG,
        train_strategy=TrainStrategyFatorcy.of_specification(document.train, terms.rounds),
        distillation_alpha=document.distillation_alpha,
        weighting=document.weighting,
        min_clients=terms.min_clients,
        max_clients=terms.max_clients,
        deadline=terms.deadline,
        distillation_reduction=document.distillation_reduction,
        output=document.output,
        fraction_bits=bits if set(bits.values()) - {PARAMETER_BITS, BUFFER_BITS} else None,
    )
