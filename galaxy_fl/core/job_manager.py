"""Describing and submitting jobs."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from galaxy_fl.core.strategy import FederateStrategy, TrainStrategyFatorcy, WorkModeStrategy
from galaxy_fl.entity.job import Job
from galaxy_fl.exceptions import ConfigurationError, JobDocumentError, TrainingError, VectorError
from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.jobs.document import JobDocument, RuleChoice, SourceModel, explain, source_id, source_text
from galaxy_fl.jobs.main_guard import expect_program, loading_model
from galaxy_fl.jobs.request import JobRequest
from galaxy_fl.jobs.terms import Terms
from galaxy_fl.modes.job_folder import JobFolder, JobsFolder
from galaxy_fl.modes.mode import find_mode
from galaxy_fl.vectors import encode
from galaxy_fl.vectors.layout import BUFFER_BITS, PARAMETER_BITS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from galaxy_fl.jobs.ending import Ending

__all__ = ["JobManager"]

_counter = itertools.count()


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
        """Describes a job.

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
        expect_program()
        if fed_strategy == FederateStrategy.FED_DISTILLATION and distillation_alpha is None:
            raise PFLException("generate_job() missing 1 positoonal argument: 'distillation_alpha'")
        if fed_strategy not in list(FederateStrategy):
            raise PFLException("federate strategy not found")
        if not inspect.isclass(model):
            raise PFLException(f"model is {model!r}, expected the model's class: generate_job(model=Net)")
        return Job(
            server_host="localhost:8080" if work_mode == WorkModeStrategy.WORKMODE_STANDALONE else "",
            job_id=f"{time.time_ns() // 1000}{next(_counter) % 1000:03}",
            train_model=_source_file(model),
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
        """Submits a job, whose id is then what the mode calls it.

        Args:
            job: As `generate_job` gives it.
            model: What round 1 starts from: an instance of the job's class, which is compared with one that is made
                without arguments, as participants do.
            sample: A batch of samples, to compare the two instances' output on, too.
            settings: Of the job's mode: where, and as whom. See docs/migration.md.

        Raises:
            PFLException: the job is not valid, or something about the model would not reach its participants.
            EncodingError: a weight is NaN, infinite or too large for its fraction bits.
            GalaxyError: the mode can't take it.
        """
        from galaxy_fl.jobs.submission import floats_of

        document, source = _document(job, model, sample)
        request = JobRequest(
            job_id=job.job_id,
            document=document,
            terms=_terms(job),
            initial=encode(floats_of(model, document.tensors), document.tensors),
            source=source,
        )
        job.output = document.output
        job.set_job_id(find_mode(job.work_mode).submit(request, **settings))
        print(f"job {job.job_id} added successfully", flush=True)

    @staticmethod
    def get_job_list(job_path: str | Path) -> list[Job]:
        """The jobs in a folder of jobs, such as `res/jobs`, oldest first.

        Raises:
            PFLException: it is no such folder, or a job there was made by other means.
            GalaxyError: a job there is damaged.
        """
        folder = Path(job_path).absolute()
        if folder.parts[-2:] != ("res", "jobs"):
            raise PFLException(f"{folder} is no folder of jobs: they are in res/jobs of a working directory")
        jobs = JobsFolder(folder.parent.parent)
        return [_job(jobs.open(job_id)) for job_id in jobs.ids()]


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


def _source_file(model: type) -> str:
    try:
        path = inspect.getsourcefile(model)
    except (OSError, TypeError):  # of a notebook, of the interactive interpreter, of C
        path = None
    if path is None or not Path(path).is_file():
        raise PFLException(
            f"the class {model.__name__} is in no Python file, which is what participants get: write it into a file "
            "of its own (in a notebook with %%writefile) and import it from there"
        )
    if model.__qualname__ != model.__name__:
        raise PFLException(f"the class {model.__qualname__} is not on the top level of {path}: move it there")
    return path


def _document(job: Job, model: nn.Module, sample: Tensor | None) -> tuple[JobDocument, bytes]:
    """What the participants agree on, and the model's source."""
    from galaxy_fl.jobs.likeness import check_output
    from galaxy_fl.jobs.structure import decide_ending
    from galaxy_fl.jobs.submission import describe_model
    from galaxy_fl.training.losses import build_loss
    from galaxy_fl.training.models import build_model
    from galaxy_fl.training.optimizers import build_optimizer
    from galaxy_fl.training.schedulers import Schedule

    name = job.train_model_class_name
    if type(model).__name__ != name:
        raise PFLException(f"the model is a {type(model).__name__}, expected an instance of the job's class, {name}")
    try:
        source = Path(job.train_model).read_bytes()
    except OSError as error:
        raise PFLException(f"the model's source {job.train_model} can't be read: {error.strerror}") from error
    distils = job.aggregate_strategy == FederateStrategy.FED_DISTILLATION
    specification = job.train_strategy.specification()
    try:
        build_loss(specification)
        Schedule(build_optimizer(model.parameters(), specification), specification)
    except TrainingError as error:
        raise PFLException(f"the train strategy is not valid: {error}") from error
    try:
        output = job.output or decide_ending(model, specification.loss, distils)
    except TrainingError as error:
        raise PFLException(str(error)) from error
    try:
        chosen = SourceModel(source=source_id(source), class_name=name)
        with loading_model():
            fresh = build_model(chosen.model_dump(mode="json"), specification.seed, source_text(source))
        described = describe_model(model, fresh, job.fraction_bits)
        if sample is not None:
            check_output(model, fresh, sample)
    except (JobDocumentError, TrainingError, VectorError) as error:
        raise PFLException(f"the model can't be submitted: {error}") from error
    except ValidationError as error:
        raise PFLException(f"the job is not valid: {explain(error)}") from error
    try:
        document = JobDocument(
            name=name,
            model=chosen,
            layout=described.layout.to_json(),
            local=list(described.local),
            frozen=list(described.frozen),
            output=output,
            train=specification,
            rule=RuleChoice(name="relay" if distils else "weighted_mean"),
            weighting=job.weighting,
            distillation_alpha=job.distillation_alpha if distils else None,
            distillation_reduction=job.distillation_reduction,
        )
    except ValidationError as error:
        raise PFLException(f"the job is not valid: {explain(error)}") from error
    return document, source


def _terms(job: Job) -> Terms:
    try:
        return Terms(job.train_strategy.epoch, job.min_clients, job.max_clients, job.deadline)
    except ConfigurationError as error:
        raise PFLException(f"the job is not valid: {error}") from error
