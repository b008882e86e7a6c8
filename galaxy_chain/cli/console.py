"""How commands print: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

__all__ = ["confirmed", "console", "print_json", "print_table", "short"]

WIDE = 400
"""Columns where no terminal limits them: what a file or a pipe is given has to be whole."""

# No markup: names of jobs come from strangers.
console = Console(
    highlight=False, soft_wrap=True, markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDE
)


def print_json(value: Any, file: TextIO | None = None) -> None:
    """Print a JSON value in one line, at once; to standard output by default."""
    to = sys.stdout if file is None else file
    to.write(json.dumps(value) + "\n")
    to.flush()


def confirmed(question: str) -> bool:
    """Ask on the terminal; anything but yes is no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, numbers to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    rows = [list(row) for row in rows]
    for index, column in enumerate(columns):
        numbers = all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numbers and rows else "left")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(table)


def short(digest: bytes | str) -> str:
    """The beginning of a digest or an address, for tables."""
    text = digest.hex() if isinstance(digest, bytes) else digest
    return text[:12] + "…"
