"""galaxy-chain job export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.job_views import rounds_of, state_of
from galaxy_chain.cli.options import JobNumber, Json, Keys, Where
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.jobs.rounds import round_meant
from galaxy_chain.verify.export import check_destination, export_model

__all__ = ["export"]


def export(
    job: JobNumber,
    where: Where,
    keys: Keys,
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
    own: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="What a client has kept of its own tensors (own-ROUND in its folder), whose personal ones are "
            "written; by default those that the job began with.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write a job's model to a file for PyTorch. Needs no key, and none of the job's participants.

    The model is verified against the ledger, and recomputed from the updates where it is missing. None of its code is
    run.
    """
    check_destination(to)
    keys.take(where.home)
    store = where.existing()
    ledger = where.connect()
    history = JobFollower(ledger, job).history
    number = round_meant(history, round, where.at().metrics(ledger.address, job))
    export_model(ledger, store, history, number, to, own, where.home)
    model = history.commits[number].record.next if number else history.initial
    [state] = [state_of(row) for row in rounds_of(history, {}) if row["round"] == number] or ["initial"]
    if json:
        print_json({"job": job, "round": number, "model": model.root.hex(), "state": state, "file": str(to)})
    else:
        console.print(f"job {job}, round {number} ({state}): model {model.root.hex()} is written to {to}")
