"""galaxy-chain key export."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import AtLedger, JobNumber
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.seal.job_keys import JobKeys
from galaxy_chain.seal.vault import vault_of

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
    with closing(JobFollower(at.connect(), job)) as follower:
        history, vault = follower.history, vault_of(at.home)
        keys = JobKeys(vault, lambda: history)
        if not history.epochs or keys.lacking():
            raise keys.missing()
        vault.export(keys.known(), file)
    console.print(f"the {len(history.epochs)} keys of job {job} are in {file}: whoever reads it reads the job")
