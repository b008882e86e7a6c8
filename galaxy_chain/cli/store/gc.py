"""galaxy-chain store gc."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import AtStore, Json

__all__ = ["gc"]


def gc(
    at: AtStore,
    grace: Annotated[float, typer.Option(min=0, help="Keep what was put within the last so many seconds.")] = 3600.0,
    json: Json = False,
) -> None:
    """Remove what is not pinned."""
    report = at.existing().gc(grace)
    if json:
        print_json({"removed": report.removed, "freed_bytes": report.freed_bytes})
    else:
        kept = f"; what was put within the last {grace:g} s is kept (--grace)" if grace else ""
        console.print(f"removed {report.removed} files, {report.freed_bytes} bytes{kept}")
