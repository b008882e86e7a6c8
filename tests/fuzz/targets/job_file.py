"""Job files."""

from __future__ import annotations

from galaxy_chain.jobs.file import JobFile
from galaxy_fl.exceptions import JobDocumentError
from tests.fuzz.clean import refused
from tests.fuzz.folder import file_with

__all__ = ["fuzz"]


def fuzz(data: bytes) -> bool:
    try:
        job = JobFile.read(file_with("job.toml", data))
    except JobDocumentError as error:
        return refused(error)
    assert 0 < job.terms.bond < 2**96
    assert JobFile.model_validate(job.model_dump(by_alias=True)) == job
    return True
