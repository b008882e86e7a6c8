"""galaxy-chain job export."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.job_views import metrics_of, rounds_of, state_of
from galaxy_chain.cli.options import JobNumber, Json, Where
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import JobHistory
from galaxy_chain.verify.export import check_destination, export_model
from galaxy_fl.exceptions import ConfigurationError, RoundMovedOnError

__all__ = ["export"]


def export(
    job: JobNumber,
    where: Where,
    to: Annotated[
        Path,
        typer.Option(
            help="File to write: a state_dict for torch.load if it ends in .pt, .pth or .bin, or safetensors if it "
            "ends in .safetensors."
        ),
    ],
    round: Annotated[
        str,
        typer.Option(
            metavar="N|best|last",
            help="Round whose model to write: its number (0 for the initial model), last, or best, which goes by what "
            "a server on this machine has measured (accuracy, or else loss).",
        ),
    ] = "last",
    json: Json = False,
) -> None:
    """Write a job's model to a file for PyTorch. Needs no key, and none of the job's participants.

    The model is verified against the ledger, and recomputed from the updates where it is missing. None of its code is
    run.
    """
    check_destination(to)
    store = where.existing()
    ledger = where.connect()
    history = JobFollower(ledger, job).history
    number = _number(history, round, where.at().metrics(ledger.address, job))
    export_model(ledger, store, history, number, to)
    model = history.commits[number].record.next if number else history.initial
    [state] = [state_of(row) for row in rounds_of(history, {}) if row["round"] == number] or ["initial"]
    if json:
        print_json({"job": job, "round": number, "model": model.root.hex(), "state": state, "file": str(to)})
    else:
        console.print(f"job {job}, round {number} ({state}): model {model.root.hex()} is written to {to}")


def _number(history: JobHistory, wanted: str, metrics: Path) -> int:
    """The number of the round that is meant."""
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
            f"no round of job {history.job} is committed yet: wait for its server, or take --round 0, the initial model"
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
