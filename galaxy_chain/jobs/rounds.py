"""Which round of a job is meant, and its model, to begin another job with."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from galaxy_fl.exceptions import ConfigurationError, RoundMovedOnError

if TYPE_CHECKING:
    from galaxy_chain.following.history import JobHistory
    from galaxy_chain.ledger.contract import LedgerContract
    from galaxy_fl.content import Store
    from galaxy_fl.jobs.start import Start

__all__ = ["metrics_of", "round_meant", "start_of"]


class _Metrics(BaseModel):
    """A line of a server's metrics, as far as it is shown."""

    attempt: int
    model: str
    loss: float | None = None
    accuracy: float | None = None
    metrics: dict[str, float | None] = Field(default_factory=dict)
    gas: int | None = None
    seconds: float | None = None


def metrics_of(path: Path) -> dict[tuple[int, str], dict[str, Any]]:
    """A server's metrics by attempt and model; empty where there are none."""
    if not path.exists():
        return {}
    found = {}
    for text in path.read_bytes().splitlines():
        with suppress(ValidationError):  # a server that was killed leaves half a line behind
            line = _Metrics.model_validate_json(text)
            found[line.attempt, line.model] = line.model_dump()
    return found


def start_of(ledger: LedgerContract, store: Store, job: int, round: str, metrics: Path, home: Path) -> Start:
    """Return the model after a round of a job, verified against the ledger, or recomputed where it is missing.

    Args:
        round: As `round_meant` takes it.
        metrics: The file of a server's measurements of the job.
        home: The folder with the keys of a job that is sealed.

    Raises:
        UnknownJobError: there is no such job.
        ConfigurationError, RoundMovedOnError: there is no such round.
        ContentError, JobMismatchError, JobDocumentError: the job or its model can't be had as the ledger says.
    """
    from galaxy_chain.following.follower import JobFollower
    from galaxy_chain.jobs.check import check_job
    from galaxy_chain.seal.store import contents_of
    from galaxy_chain.verify.verifier import Verifier
    from galaxy_fl.jobs.first_model import read_weights
    from galaxy_fl.jobs.start import Start

    history = JobFollower(ledger, job).history
    number = round_meant(history, round, metrics)
    document = check_job(ledger, store, job, history.terms)
    contents = contents_of(store, document, job, home, lambda: history)
    path = Verifier(contents, history.terms, document).model_after(history, number)
    return Start(f"round {number} of job {job}", document, read_weights(document, path).copy())


def round_meant(history: JobHistory, wanted: str, metrics: Path) -> int:
    """The number of the round that is meant: a number from 0 (the initial model) on, `last`, or `best`.

    Raises:
        ConfigurationError: it is none of these, or nothing was measured that tells the best one.
        RoundMovedOnError: it is not committed.
    """
    last = max(history.commits, default=0)
    if wanted.isascii() and wanted.isdecimal():
        if int(wanted) > last:
            raise RoundMovedOnError(
                f"round {wanted} of job {history.job} is not committed: {last} of {history.last_round} rounds are"
            )
        return int(wanted)
    if wanted not in ("best", "last"):
        raise ConfigurationError(
            f"{wanted!r} is not a round: expected a number from 0 (the initial model) on, best or last"
        )
    if not last:
        raise RoundMovedOnError(
            f"no round of job {history.job} is committed yet: wait for its server, or take round 0, the initial model"
        )
    return last if wanted == "last" else _best(history, metrics)


def _best(history: JobHistory, metrics: Path) -> int:
    """The round of the highest accuracy, where it was measured, or else of the lowest loss; the later of equal ones."""
    measured = metrics_of(metrics)
    ranked = []
    for number, commit in history.commits.items():
        found = measured.get((commit.attempt, commit.record.next.root.hex()), {})
        by = (_rank(found.get("accuracy"), 1), _rank(found.get("loss"), -1))
        if max(by) > -math.inf:
            ranked.append((by, number))
    if not ranked:
        raise ConfigurationError(
            f"there are no measurements of job {history.job} in {metrics}: best goes by those of a server on this "
            "machine that was given --data; name a round with --round N, or take --round last"
        )
    return max(ranked)[1]


def _rank(value: float | None, sign: int) -> float:
    return -math.inf if value is None or not math.isfinite(value) else sign * value
