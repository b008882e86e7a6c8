"""Handing a job in where its participants meet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.job import Job
from galaxy_fl.jobs.start import begin_with, round_of_job
from galaxy_fl.jobs.terms import MOST_CLIENTS
from galaxy_fl.modes.mode import At, HasModels, meeting

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["submit"]


def submit(
    job: Job, *, clients: int | None = None, at: At = None, sample: Tensor | None = None, **settings: Any
) -> str:
    """Submit a job, and return its id. A job that is submitted twice is two jobs.

    Participants make the model's class afresh, without arguments. An instance is compared with one that is made so, and
    what its participants would not get is refused, by name.

    Args:
        job: The job.
        clients: Number of clients of each round, for a federation whose size is known: every round waits for this many
            and ends with them, so it stands for both `min_clients` and `max_clients` of the job. None for those.
        at: Where participants meet: a folder (None for the working directory), or a ledger (`galaxy_chain.Ledger`).
        sample: A batch of samples; on these the outputs of the two instances are compared, too.
        settings: Settings of where they meet: on a ledger `terms`, such as `terms={"bond": "1 ether"}`.

    Raises:
        JobDocumentError: the job is not valid, or something about the model would not reach its participants.
        EncodingError: a weight is NaN, infinite or too large for its fraction bits.
        GalaxyError: the job can't be taken there.

    Example:
        >>> import galaxy_fl as galaxy
        >>> job = galaxy.Job(model="mlp", rounds=3, train=galaxy.Train(learning_rate=0.1))
        >>> job_id = galaxy.submit(job, clients=2)
    """
    if not isinstance(job, Job):
        raise JobDocumentError(f"job is {job!r:.80}, expected galaxy_fl.Job(model=…, rounds=…)")
    from galaxy_fl.jobs.preparing import new_job_id, prepare  # which loads torch

    mode = meeting(at)
    if clients is not None:
        if (job.min_clients, job.max_clients) != (1, None):
            raise JobDocumentError(
                f"clients is {clients!r}, and the job says min_clients {job.min_clients} and max_clients "
                f"{job.max_clients}: give one or the other"
            )
        if type(clients) is not int or not 1 <= clients <= MOST_CLIENTS:
            raise JobDocumentError(f"clients is {clients!r}, expected a whole number from 1 to {MOST_CLIENTS}")
        job = replace(job, min_clients=clients, max_clients=clients)
    request = prepare(job, new_job_id(), sample)
    if job.start is not None and (named := round_of_job(str(job.start))) is not None:
        if not isinstance(mode, HasModels):
            raise JobDocumentError(f"{mode} has no models to begin with: give start=… a safetensors file")
        document, initial = begin_with(request.document, mode.model_of(*named, **settings), job.fraction_bits)
        request = replace(request, document=document, initial=initial)
    return mode.submit(request, **settings)
