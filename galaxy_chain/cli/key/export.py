"""galaxy-chain key export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import AtLedger, JobNumber

__all__ = ["export"]


def export(
    job: JobNumber,
    file: Annotated[Path, typer.Argument(help="New file for the keys, which only its owner can read.")],
    at: AtLedger,
) -> None:
    """Write a sealed job's keys into a file, for an auditor: as any member.

    Whoever has the file reads all models and updates of the job so far. It is taken by --keys and by `galaxy-chain key
    import`; that the keys are the right ones the ledger tells.
    """
    at.at().export_keys(job, file)
    console.print(f"the keys of job {job} are in {file}: whoever reads it reads the job")
