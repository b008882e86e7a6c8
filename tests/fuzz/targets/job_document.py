"""Job documents of other participants."""

from __future__ import annotations

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.document import JobDocument
from tests.fuzz.clean import refused

__all__ = ["fuzz"]


def fuzz(data: bytes) -> bool:
    try:
        document = JobDocument.from_bytes(data)
    except JobDocumentError as error:
        return refused(error)
    assert document.to_bytes() == data
    assert str(document.tensors.parameters).isdecimal()
    assert len(document.rule.rule_word) == 32
    return True
