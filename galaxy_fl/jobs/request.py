"""A job as it is handed in, complete."""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_fl.jobs.base import BaseFile
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.terms import Terms
from galaxy_fl.vectors import Vector

__all__ = ["JobRequest"]


@dataclass(frozen=True)
class JobRequest:
    """A job to be submitted.

    Attributes:
        job_id: What its author calls it; a mode may give it another id.
        document: The document that its participants agree on.
        terms: Terms by which its rounds are collected.
        initial: Model that round 1 starts from, int32 of shape (d,).
        source: Source of the model, where the document names one.
        base: File of the frozen and personal tensors, where the document names one.
    """

    job_id: str
    document: JobDocument
    terms: Terms
    initial: Vector
    source: bytes | None
    base: BaseFile | None = None
