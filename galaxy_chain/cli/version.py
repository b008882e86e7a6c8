"""galaxy-chain --version."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

__all__ = ["options"]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"galaxy-chain {version('galaxy-fl')}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options of galaxy-chain itself."""
