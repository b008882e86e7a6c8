"""galaxy-chain --version."""

from __future__ import annotations

from typing import Annotated

import typer

import galaxy_chain

__all__ = ["options"]


def _print_version(wanted: bool) -> None:
    if wanted:
        # Imported here: numpy takes a tenth of a second.
        from galaxy_fl.vectors.kernels import description

        typer.echo(f"galaxy-chain {galaxy_chain.__version__}\nkernels: {description()}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options of galaxy-chain itself."""
