"""What an update may weigh: the rules count with any weight, and but for a ledger nobody else bounds it."""

from __future__ import annotations

from galaxy_fl.job_document import JobDocument

__all__ = ["UNIFORM", "overweight"]

UNIFORM = 1
"""What every update weighs in a job of uniform weights."""


def overweight(document: JobDocument, weight: int) -> str | None:
    """Why an update of this weight is not to be included in a round of the job; None if it is."""
    if document.weighting == "uniform" and weight != UNIFORM:
        return f"it weighs {weight}, but each update of this job weighs {UNIFORM}"
    return None
