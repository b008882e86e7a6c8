"""galaxy-chain job example."""

from __future__ import annotations

import typer

from galaxy_chain.demo.job import example_job

__all__ = ["example"]


def example() -> None:
    """Print an example of a job file."""
    typer.echo(example_job(), nl=False)
