"""Aggregating the updates of a round by its job's rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from galaxy_fl.aggregation import RULES
from galaxy_fl.aggregation.aggregate import aggregate_files
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.rounds.coordinator import Submitted

__all__ = ["aggregate_round"]


def aggregate_round(job: JobDocument, model: Path, updates: Mapping[Submitted, Path], next_model: Path) -> None:
    """Write the next model of a job by the updates of a round.

    Args:
        job: Which rule, and how large the model is.
        model: The vector file of the round's model.
        updates: Those of the updates.
        next_model: Takes the result.

    Raises:
        AggregationError, VectorError, OSError: as `aggregate_files`.
    """
    aggregate_files(
        RULES[job.rule.name],
        job.rule.rule_word,
        model,
        list(updates.values()),
        [submitted.weight for submitted in updates],
        next_model,
        job.tensors.parameters,
    )
