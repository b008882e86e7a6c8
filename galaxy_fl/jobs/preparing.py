"""Makes the request that is handed in of a job as its author describes it: model made, compared and encoded."""

from __future__ import annotations

import copy
import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from galaxy_fl.aggregation import RULES, is_sum
from galaxy_fl.aggregation.sum_tree import MOST_LEVELS
from galaxy_fl.exceptions import JobDocumentError, TrainingError, VectorError
from galaxy_fl.jobs.base import BaseFile, write_base
from galaxy_fl.jobs.document import BuiltinModel, Model, SourceModel, source_id, source_text
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.first_model import averaged_by
from galaxy_fl.jobs.job import Job
from galaxy_fl.jobs.likeness import check_output
from galaxy_fl.jobs.main_guard import expect_program, loading_model
from galaxy_fl.jobs.method import Averaging, Distillation
from galaxy_fl.jobs.request import JobRequest
from galaxy_fl.jobs.start import load_start, round_of_job
from galaxy_fl.jobs.structure import decide_ending
from galaxy_fl.jobs.submission import describe_model, floats_of
from galaxy_fl.training.checking import check_training
from galaxy_fl.training.frozen_weights import from_elsewhere
from galaxy_fl.training.models import build_model
from galaxy_fl.training.own_methods import collate_of, with_loss
from galaxy_fl.training.private_models import check_private_model
from galaxy_fl.vectors import encode

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["new_job_id", "prepare"]

_counter = itertools.count()


def new_job_id() -> str:
    """Return an id that no other job has: digits, in the order of time."""
    return f"{time.time_ns() // 1000}{next(_counter) % 1000:03}"


def prepare(job: Job, job_id: str, sample: Tensor | None = None) -> JobRequest:
    """Make the request for a job.

    Args:
        job: The job.
        job_id: What its author calls it.
        sample: A batch of samples, to compare the output of an instance with that of its class on.

    Raises:
        JobDocumentError: the job is not valid, or something about the model would not reach its participants.
        EncodingError: a weight is NaN, infinite or too large for its fraction bits.
        ConfigurationError: this is a worker that loads the model's file.
    """
    expect_program()
    _check_quorum(job)
    chosen, source = _chosen(job)
    specification = job.train.specification()
    try:
        with loading_model():
            text = None if source is None else source_text(source)
            with from_elsewhere():
                fresh = build_model(chosen, specification.seed, text)
            model = job.model if isinstance(job.model, nn.Module) else build_model(chosen, specification.seed, text)
        specification = with_loss(specification, fresh)
        collate_of(type(fresh))
        if job.start is not None and round_of_job(start := os.fspath(job.start)) is None:
            model = copy.deepcopy(model)  # an instance is its author's
            load_start(model, Path(start))
        check_training(specification, model.parameters())
        output = _output(job, model, specification.loss)
        described = describe_model(model, fresh, job.fraction_bits, job.parts())
        if sample is not None:
            check_output(model, fresh, sample)
    except (JobDocumentError, TrainingError, VectorError) as error:
        raise JobDocumentError(f"the model can't be submitted: {error}") from error
    base = None
    if described.has_base:
        base = BaseFile()
        write_base(base.path, [*described.frozen, *described.personal], model.state_dict())
    fields = described.fields(None if base is None else base.described)
    averaged = averaged_by(job.method.choice.name, described.buffers)
    document = job.document(train=specification, model=chosen, output=output, averaged=averaged, **fields)
    check_private_model(model, document.privacy, described.layout, {tensor.name for tensor in described.frozen})
    initial = encode(floats_of(model, document.tensors), document.tensors)
    return JobRequest(job_id, document, job.terms(), initial, source, base)


def _check_quorum(job: Job) -> None:
    """Make sure that the rule can aggregate as few and as many updates as a round may have."""
    if not isinstance(job.method, Averaging):
        return
    if job.min_clients <= 2 * job.method.trim:
        raise JobDocumentError(
            f"the trimmed mean leaves out {2 * job.method.trim} updates of a round, and min_clients is "
            f"{job.min_clients}: set min_clients to {2 * job.method.trim + 1} or more, or trim fewer"
        )
    if job.max_clients is None:
        return
    rule = RULES[job.method.rule]
    if job.max_clients > (most := rule.max_updates):
        raise JobDocumentError(f"max_clients is {job.max_clients}, and the rule {job.method.rule} takes {most} updates")
    if is_sum(rule) and job.max_clients > (most := job.fan_in**MOST_LEVELS):
        raise JobDocumentError(
            f"max_clients is {job.max_clients}, and partial sums of fan_in {job.fan_in} stand for {most} updates at "
            "most: raise fan_in, or lower max_clients"
        )


def _chosen(job: Job) -> tuple[Model, bytes | None]:
    """Return what the document says of the model, and the model's source."""
    path = job.source_path()
    if path is None:
        return BuiltinModel(builtin=job.model_name, options=dict(job.model_options)), None
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise JobDocumentError(f"the model's source {path} can't be read: {error.strerror}") from error
    return SourceModel(source=source_id(source), class_name=job.model_name), source


def _output(job: Job, model: nn.Module, loss: str) -> Ending:
    if job.output is not None:
        return job.output
    if isinstance(job.model, str):  # all that come with Galaxy give logits
        return "logits"
    return decide_ending(model, loss, isinstance(job.method, Distillation))
