"""Lines for people from many clients of one program: a line for what all of them do, and a name where one differs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from galaxy_fl.participants import events
from galaxy_fl.participants.console import Console, quality
from galaxy_fl.participants.events import Event, Listener

__all__ = ["GroupConsole"]


@dataclass
class _Round:
    """How the clients have trained in one round; the last attempt of each counts."""

    trained: dict[str, events.Trained] = field(default_factory=dict)
    epsilon: float | None = None
    """The largest of a private job's clients."""
    told: int = 0
    """Of how many clients was told."""


@dataclass
class _Job:
    """What the clients do in one job."""

    started: dict[str, events.Started] = field(default_factory=dict)
    rounds: dict[int, _Round] = field(default_factory=dict)
    evaluated: set[int] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    staying: set[str] = field(default_factory=set)
    paid: dict[str, int] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    said: set[str] = field(default_factory=set)


class GroupConsole:
    """Listener that prints one line a round for all clients of a program, and failures by the client's name.

    Args:
        clients: How many there are.

    Example:
        >>> import galaxy_fl as galaxy
        >>> from galaxy_fl.participants.group_console import GroupConsole
        >>> console = GroupConsole(2)
        >>> for client in ("1", "2"):
        ...     trained = galaxy.events.Trained(round=1, attempt=1, samples=8, seconds=0.5, loss=0.25, gas=50_000)
        ...     console.of(client)(trained, "7")
        job 7: round 1: 2 clients trained on 16 samples in 1.0 s, loss 0.250, 100,000 gas
    """

    def __init__(self, clients: int) -> None:
        self._clients = clients
        self._console = Console()
        self._jobs: dict[str, _Job] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event, job: str) -> None:
        self._console(event, job)

    def of(self, client: str) -> Listener:
        """Return the listener for one client."""
        return lambda event, job: self._take(event, job, client)

    def close(self) -> None:
        """Tell what was not told because it waited for other clients."""
        with self._lock:
            for number, job in self._jobs.items():
                for round in sorted(job.rounds):
                    self._tell_round(number, job, round)
                self._tell_paid(number, job)

    def _take(self, event: Event, job: str, client: str) -> None:
        with self._lock:
            self._note(event, job, client)

    def _note(self, event: Event, number: str, client: str) -> None:
        job = self._jobs.setdefault(number, _Job())
        match event:
            case events.Started():
                job.started[client] = event
                if self._all(job, len(job.started)):
                    samples = sum(started.samples or 0 for started in job.started.values())
                    self._say(
                        number, f"{len(job.started)} clients take part with {samples:,} samples in “{event.name}”"
                    )
                for note in event.notes:
                    self._once(number, job, client, note)
            case events.Spent():
                of = job.rounds.setdefault(event.round, _Round())
                of.epsilon = max(event.epsilon, of.epsilon or 0.0)
            case events.Trained():
                job.rounds.setdefault(event.round, _Round()).trained[client] = event
                for earlier in [round for round in job.rounds if round < event.round]:
                    self._tell_round(number, job, earlier)
                if self._all(job, len(job.rounds[event.round].trained)):
                    self._tell_round(number, job, event.round)
            case events.Evaluated():
                if event.round not in job.evaluated:  # all have the same model, and nearly always the same test data
                    job.evaluated.add(event.round)
                    self._console(event, number)
            case events.Finished() | events.Cancelled():
                job.ended.add(client)
                if self._all(job, len(job.ended)):
                    self._console(event, number)
            case events.Staying() | events.Leaving():
                job.staying.add(client)
                if self._all(job, len(job.staying)):
                    self._console(event, number)
            case events.Paid():
                job.paid[client] = job.paid.get(client, 0) + event.amount
                if self._all(job, len(job.paid)):
                    self._tell_paid(number, job)
            case events.Noted():
                self._once(number, job, client, event.message)
            case events.Failed():
                job.failed.add(client)
                self._console.of(client)(event, number)
            case events.Challenged() | events.Exhausted() | events.Retrying():
                self._console.of(client)(event, number)
            case _:  # waiting and the like: what one client does is nothing to people who watch a hundred
                return

    def _all(self, job: _Job, count: int) -> bool:
        return count >= self._clients - len(job.failed)

    def _once(self, number: str, job: _Job, client: str, message: str) -> None:
        if message not in job.said:
            job.said.add(message)
            self._say(number, f"client {client}: {message}")

    def _tell_round(self, number: str, job: _Job, round: int) -> None:
        of = job.rounds[round]
        if len(of.trained) == of.told:
            return
        of.told = len(of.trained)
        trained = list(of.trained.values())
        samples = sum(each.samples for each in trained)
        share = [each.samples / samples for each in trained]
        line = (
            f"round {round}: {_of(len(trained), self._clients)} trained on {samples:,} samples in "
            f"{sum(each.seconds for each in trained):.1f} s, "
        )
        # Means, weighted by samples, which for some metrics are not what they would be of all clients' data.
        accuracy = _mean(share, [each.accuracy for each in trained])
        metrics = {name: _mean(share, [each.metrics.get(name) for each in trained]) for name in trained[0].metrics}
        line += quality(_mean(share, [each.loss for each in trained]) or 0.0, accuracy, metrics)
        if gas := sum(each.gas or 0 for each in trained):
            line += f", {gas:,} gas"
        if of.epsilon is not None:
            line += f", epsilon {of.epsilon:.3f} at most"
        if late := sum(each.gas is None for each in trained):
            line += f", {late} too late"
        self._say(number, line)

    def _tell_paid(self, number: str, job: _Job) -> None:
        if job.paid:
            amount = sum(job.paid.values()) / 10**18
            self._say(number, f"{amount:g} ether were earned by {len(job.paid)} clients, and are paid out")
            job.paid = {}

    def _say(self, number: str, line: str) -> None:
        sys.stdout.write(f"job {number}: {line}\n" if number else f"{line}\n")
        sys.stdout.flush()


def _of(count: int, clients: int) -> str:
    return f"{count} clients" if count == clients else f"{count} of {clients} clients"


def _mean(shares: Sequence[float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return sum(share * value for share, value in zip(shares, known, strict=True))
