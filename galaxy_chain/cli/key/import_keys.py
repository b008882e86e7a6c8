"""galaxy-chain key import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Home
from galaxy_chain.seal.vault import vault_of

__all__ = ["import_keys"]


def import_keys(
    file: Annotated[Path, typer.Argument(help="File that a member has exported.")],
    at: Home,
) -> None:
    """Keep the keys of a file for every command that uses this folder."""
    keys = vault_of(at.home).read(file)
    console.print(f"{len(keys)} keys are kept in {at.home / 'keys'}; {file} is not needed any more")
