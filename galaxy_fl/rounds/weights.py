"""What an update may weigh: the rules count with any weight, and without a ledger nobody but the server bounds it.

On a ledger a job of uniform weights allows a weight of 1 alone, so there an update that weighs more is never in.
"""

from __future__ import annotations

from galaxy_fl.jobs.document import JobDocument

__all__ = ["UNIFORM", "overweight"]

UNIFORM = 1
"""What every update weighs in a job of uniform weights."""


def overweight(document: JobDocument, weight: int) -> str | None:
    """Why an update of this weight is not to be included in a round of the job; None if it is."""
    if document.weighting == "uniform" and weight != UNIFORM:
        return f"it weighs {weight}, but each update of this job weighs {UNIFORM}"
    return None
