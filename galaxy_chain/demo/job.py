"""The job that a demonstration runs: the digits, or one of a job file that somebody wants to try."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxy_fl.exceptions import ConfigurationError

if TYPE_CHECKING:
    from galaxy_chain.jobs.creation import CreatedJob
    from galaxy_chain.jobs.file import JobFile
    from galaxy_chain.ledger.contract import LedgerContract

__all__ = ["CLIENTS", "DIGITS", "MOST_CLIENTS", "ROUNDS", "OwnJob", "example_job", "with_terms"]

CLIENTS, ROUNDS = 4, 5
"""Of the digits, where nothing else is asked for."""
MOST_CLIENTS = 1_000
DIGITS = "digits"
"""The data that they are."""


@dataclass(frozen=True)
class OwnJob:
    """A job file to try, and the data to try it on.

    Attributes:
        file: Of the job.
        data: As `galaxy-chain client --data` has it; each client trains on a part of its own.
        test_data: As `galaxy-chain server --data` has it; None for no evaluation.
        partition: How the data are divided.
        data_root: Folder in which downloaded data sets are; None for `data`.
    """

    file: Path
    data: str
    test_data: str | None = None
    partition: str = "iid"
    data_root: str | None = None

    @property
    def modules(self) -> tuple[str, ...]:
        """What its model takes long to import, as far as that can be told before the file is read with care."""
        if not self.file.is_file():  # a pipe is read once
            return ()
        try:
            model = tomllib.loads(self.file.read_text())["model"]["builtin"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return ()
        return ("torchvision.models",) if str(model).startswith("torchvision:") else ()

    def warnings(self, ledger: LedgerContract, rules: Mapping[str, str], created: CreatedJob) -> list[str]:
        """Return what is to be said of the job's terms as they are written, where it is registered with those of a
        demonstration.

        Raises:
            UnsoundTermsError: nobody could register them.
            JobDocumentError: they don't suit the model.
        """
        from galaxy_chain.jobs.acceptance import accept_terms
        from galaxy_chain.jobs.terms import Limits, Role

        job, made = self.written, created.terms
        uniform = job.weighting == "uniform"
        terms = job.terms.on_ledger(
            made.spec, job.rule, rules[job.rule.name], made.parameters, created.owner, uniform=uniform
        )
        what, pool = f"“{job.name}”", job.terms.reward
        concerns = accept_terms(ledger, what, terms, job.rule.name, Role.OWNER, Limits(), pool=pool)
        return [concern.message for concern in concerns]

    @cached_property
    def written(self) -> JobFile:
        """The job.

        Raises:
            JobDocumentError: the file can't be read, or is not valid.
            DataError: a name is no data set's.
            ConfigurationError: the partition is not of its form, or the job needs what a demonstration has not.
        """
        from galaxy_chain.jobs.file import JobFile
        from galaxy_fl.data.names import check_data_name
        from galaxy_fl.data.partition import Partition
        from galaxy_fl.jobs.start import round_of_job

        for name in (self.data, self.test_data):
            if name is not None:
                check_data_name(name)
        Partition.parse(self.partition)
        job_file = JobFile.read(self.file)
        if job_file.seal is not None:
            raise ConfigurationError(
                f"seal is {job_file.seal!r} in {self.file}, and nobody in a demonstration has a key: leave seal out to "
                "try the job, and put it back for those that have"
            )
        if job_file.start is not None and round_of_job(job_file.start) is not None:
            raise ConfigurationError(
                f"start is {job_file.start!r} in {self.file}, and there is no other job on a demonstration's ledger: "
                "try it from a safetensors file (galaxy-chain job export writes one), or leave start out"
            )
        return job_file


def example_job() -> str:
    """The example of a job file, a digits job."""
    return files("galaxy_chain.demo").joinpath("digits.toml").read_text()


def with_terms(job_file: JobFile, clients: int, **others: Any) -> JobFile:
    """Return the job with a demonstration's terms: so many clients, all of them in each round.

    Args:
        job_file: The job.
        clients: How many take part.
        others: Other terms that the demonstration decides on.

    Raises:
        ConfigurationError: the job's own terms don't allow for so many clients.
    """
    from pydantic import ValidationError

    from galaxy_chain.jobs.file import TermsSection
    from galaxy_fl.validation import explain

    excluded = job_file.terms.max_excluded
    terms = {
        **job_file.terms.model_dump(),
        "min_clients": clients,
        "max_clients": clients,
        "max_excluded": None if excluded is None else min(excluded, clients),
        **others,
    }
    try:
        return job_file.model_copy(update={"terms": TermsSection.model_validate(terms)})
    except ValidationError as error:
        raise ConfigurationError(
            f"the terms of {job_file.name!r} don't suit {clients} clients: {explain(error)}"
        ) from None
