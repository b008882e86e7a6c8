"""galaxy-chain --version."""

from __future__ import annotations

from typing import Annotated

import typer

import galaxy_chain

__all__ = ["options"]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"galaxy-chain {galaxy_chain.__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options of galaxy-chain itself."""
