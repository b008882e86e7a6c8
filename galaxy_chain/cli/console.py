"""How commands print: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from galaxy_chain.shown import date, ether

__all__ = ["confirmed", "console", "line_for_people", "print_json", "print_table", "short"]

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


def line_for_people(said: dict[str, Any]) -> str | None:
    """What a participant says, as a line of text; None for what is not worth one."""
    match said["event"]:
        case "started":
            samples = f" on {said['samples']} samples" if "samples" in said else ""
            notes = "".join(f"; {note}" for note in said.get("notes", ()))
            return f"{said['account']} takes part in “{said['name']}”{samples}{notes}"
        case "status":
            return f"status at {said['url']}/healthz and /metrics"
        case "trained":
            end = ", too late" if said["gas"] is None else f", submitted for {said['gas']} gas"
            return f"round {said['round']}: trained in {said['seconds']:.2f} s, {_quality(said)}{end}"
        case "committed":
            unmeasured = said.get("diverged") or said.get("unevaluated")
            quality = f", {_quality(said)}" if "loss" in said else f", {unmeasured}" if unmeasured else ""
            excluded = f", {len(said['excluded'])} excluded" if said["excluded"] else ""
            return (
                f"round {said['round']}: {said['updates']} updates{excluded} → model {short(said['model'])}"
                f"{quality}, {said['gas']} gas, {said['seconds']:.2f} s"
            )
        case "reopened":
            reasons = "; ".join(said["excluded"].values())
            return f"round {said['round']}: collecting again, too few usable updates: {reasons}"
        case "collecting":
            return f"round {said['round']}: {said['updates']} of {said['wanted']} updates are in"
        case "challenged":
            return (
                f"round {said['round']}: {said['server']} committed a wrong model; challenged by chunk "
                f"{said['chunk']}, and its bond is gone"
            )
        case "found":
            chunk = "" if said["chunk"] is None else f", chunk {said['chunk']}"
            reason = f": {said['reason']}" if said["reason"] else ""
            return f"round {said['round']}: {said['verdict']}{chunk}{reason}"
        case "trouble":
            return f"a look has failed, and is tried again: {said['reason']}"
        case "staying" if said["role"] == "client":
            return f"staying for what was earned, which can be had from {date(said['until'])} on; Ctrl-C loses nothing"
        case "staying":
            return f"staying to answer demands until {date(said['until'])}; Ctrl-C ends it, and risks the bond"
        case "leaving" if said["role"] == "client":
            return (
                f"leaving; what was earned can be had from {date(said['until'])} on: `galaxy-chain claim`, then "
                "`galaxy-chain withdraw`"
            )
        case "leaving":
            return f"leaving, though the bond answers for commits until {date(said['until'])}; without --leave it stays"
        case "paid":
            return f"{ether(said['amount'])} were earned, and are paid out"
        case "cancelled":
            return f"the job was cancelled, and ends without its round {said['round']}"
        case "finished":
            return f"finished: {said['rounds']} rounds, final model {said['model']}"
    return None


def _quality(said: dict[str, Any]) -> str:
    accuracy = "" if said["accuracy"] is None else f", accuracy {100 * said['accuracy']:.1f} %"
    return f"loss {said['loss']:.3f}{accuracy}"
