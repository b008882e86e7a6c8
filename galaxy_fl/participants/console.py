"""A participant's lines for people: what happens goes to standard output, what fails to standard error."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import assert_never

from galaxy_fl.participants import events
from galaxy_fl.participants.events import Event, Listener

__all__ = ["Console", "quality"]


class Console:
    """Listener that prints each event as a line, whole, from whichever thread; no line twice in a row.

    Example:
        >>> import galaxy_fl as galaxy
        >>> galaxy.Console()(galaxy.events.Noted(message="the last batch is smaller"), "7")
        job 7: the last batch is smaller
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event, job: str) -> None:
        self._print(event, job, "")

    def of(self, client: str) -> Listener:
        """Return the listener for one client of a program that hosts several, whose lines have its name."""
        return lambda event, job: self._print(event, job, client)

    def _print(self, event: Event, job: str, client: str) -> None:
        line = _line(event)
        if line is None:
            return
        what = ", ".join([*([f"job {job}"] if job else []), *([f"client {client}"] if client else [])])
        text = f"{what}: {line}" if what else line
        with self._lock:
            if self._last.get((job, client)) == text:
                return
            self._last[job, client] = text
            stream = sys.stderr if isinstance(event, events.Failed) else sys.stdout
            stream.write(text + "\n")
            stream.flush()


def _line(event: Event) -> str | None:
    """What is worth a line of text; None for the rest."""
    match event:
        case events.Started(role="client"):
            notes = "".join(f"; {note}" for note in event.notes)
            return f"client {event.account} takes part with {event.samples} samples in “{event.name}”{notes}"
        case events.Started():
            return f"{f'server {event.account}'.strip()} takes part in “{event.name}”"
        case events.Training():
            return None
        case events.Spent():
            stop = "" if event.stop_at is None else f" of {event.stop_at:g}"
            return f"round {event.round}: training takes epsilon to {event.epsilon:.3f}{stop} (delta {event.delta:g})"
        case events.Exhausted():
            return (
                f"round {event.round}: trains no more, as another training would take epsilon from "
                f"{event.epsilon:.3f} to {event.next:.3f}, beyond stop_at_epsilon {event.stop_at:g}; the job goes on "
                "without this client"
            )
        case events.Trained():
            late = "too late" if event.gas is None else f"submitted for {event.gas} gas" if event.gas else "submitted"
            return (
                f"round {event.round}: trained on {event.samples} samples in {event.seconds:.2f} s, "
                f"{quality(event.loss, event.accuracy, event.metrics)}, {late}"
            )
        case events.Evaluated():
            measured = quality(event.loss, event.accuracy, event.metrics)
            return f"after round {event.round}: {measured} on {event.samples} test samples"
        case events.Waiting():
            awaited = {"clients": "the other clients", "server": "the server"}[event.awaited]
            return f"round {event.round}: waiting for {awaited}"
        case events.Collecting():
            return f"round {event.round}: {event.updates} of {event.wanted} updates are in"
        case events.Committed():
            measured = "" if event.loss is None else f", {quality(event.loss, event.accuracy, event.metrics)}"
            unmeasured = event.diverged or event.unevaluated
            why = "" if unmeasured is None else f", not evaluated: {unmeasured}"
            gas = f", {event.gas} gas" if event.gas else ""
            return (
                f"round {event.round}: aggregated {event.updates} update{'' if event.updates == 1 else 's'}{measured}, "
                f"{event.seconds:.2f} s{gas}, model {event.model[:12]}…{why}{_reasons(event.excluded)}"
            )
        case events.Best():
            where = "" if event.best_model is None else f", kept in {_shown(event.best_model)}"
            return f"round {event.round}: the best model so far, {event.metric} {event.value:.4g}{where}"
        case events.Ending(round=round, last=last) if last == round:
            return f"ends early, with round {last}: {event.reason}"
        case events.Ending():
            return f"ends early: {event.reason}; round {event.last}, which is under way, is the last, and paid as any"
        case events.Reopened():
            return f"round {event.round}: too few usable updates, collecting again{_reasons(event.excluded)}"
        case events.Challenged():
            wrong = f"partial sum {event.node}" if event.node else "model"
            return (
                f"round {event.round}: {event.server} committed a wrong {wrong}; challenged by chunk {event.chunk}, "
                "and its bond is gone"
            )
        case events.Finished():
            where = "" if event.final_model is None else f"; the final model is in {_shown(event.final_model)}"
            root = "" if event.model is None else f", on the ledger {event.model}"
            early = "" if event.planned is None else f" of {event.planned}, because it was ended early"
            return f"finished after {event.rounds} rounds{early}{where}{root}"
        case events.Cancelled(by="owner"):
            return f"was cancelled by its owner in round {event.round}"
        case events.Cancelled():
            return f"was cancelled, and ends without its round {event.round}"
        case events.Staying(role="client"):
            return f"staying for what was earned, until {_date(event.until)} at least; Ctrl-C loses nothing"
        case events.Staying():
            return (
                f"staying to answer demands, and in case a commit is taken back, until {_date(event.until)}; Ctrl-C "
                "ends it, and risks the bond of whoever has committed"
            )
        case events.Leaving(role="client"):
            return (
                f"leaving; from {_date(event.until)} on, `galaxy-chain claim` and `galaxy-chain withdraw` pay out what "
                "was earned"
            )
        case events.Leaving():
            return (
                f"leaving, although until {_date(event.until)} its bond answers for what it has committed, or a commit "
                "may be taken back; without --leave it stays"
            )
        case events.Paid():
            return f"{event.amount / 10**18:g} ether were earned, and are paid out"
        case events.Noted():
            return event.message
        case events.Status():
            return f"status at {event.url}/healthz and /metrics"
        case events.Opened():
            return f"{event.role} of {', '.join(event.places)}"
        case events.Looking():
            return f"waiting for jobs in {', '.join(event.places)}"
        case events.Unreachable():
            return f"{event.place} can't be reached now, and is tried again: {event.message}"
        case events.Retrying():
            return f"begins again: {event.message}"
        case events.Failed():
            return f"{event.trace or ''}given up: {event.message}"
        case _:
            assert_never(event)


def quality(loss: float, accuracy: float | None, metrics: Mapping[str, float | None]) -> str:
    """Return what a model is measured by, for people."""
    told = [f"loss {loss:.3f}"] + ([] if accuracy is None else [f"accuracy {100 * accuracy:.1f} %"])
    return ", ".join(told + [f"{name} {'none' if each is None else f'{each:.4g}'}" for name, each in metrics.items()])


def _reasons(excluded: Mapping[str, str]) -> str:
    return "".join(f"; the update of {client} can't be used: {reason}" for client, reason in excluded.items())


def _shown(path: str) -> str:
    """The path as seen from the working directory, where it lies below it."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")
