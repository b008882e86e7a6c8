"""galaxy-chain client --shards: the clients of one operator in one process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import typer

from galaxy_chain.exceptions import JobCancelledError
from galaxy_chain.mode import LedgerClientPlace, ParticipantSettings, hosted_places
from galaxy_chain.place import Ledger
from galaxy_fl.exceptions import GalaxyError
from galaxy_fl.files import allow_open_files
from galaxy_fl.modes.mode import ClientPlace, ServerPlace
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import Listener, Noted
from galaxy_fl.participants.job_client import JobClient
from galaxy_fl.participants.participant import Outcome
from galaxy_fl.participants.participation import Participation
from galaxy_fl.participants.telling import listeners_of
from galaxy_fl.participants.tracking import Tracker
from galaxy_fl.participants.work import Work
from galaxy_fl.trust import Trust

__all__ = ["host_clients"]

FILES_OF_A_CLIENT = 8
"""What a client may have open at a time, and some to spare."""
LONGEST_TABLE = 50
"""Reasons of failures that are listed, each with those whom it befell."""
MOST_NAMED = 10
"""Clients that are named for a reason."""


def host_clients(
    at: Ledger,
    settings: ParticipantSettings,
    parts: Mapping[str, LocalData],
    trust: Trust,
    *,
    output: Path,
    listeners: Sequence[Listener],
    track: Sequence[Tracker],
    looked: Callable[[], None],
    workers: int | None,
    stop_at_epsilon: float | None = None,
) -> None:
    """Take part in a job as many clients, each by its account and on its part of the data, until all have ended.

    One that fails leaves the others alone.

    Args:
        at: The ledger, with as many accounts as there are parts.
        settings: How all of them take part, and in which job.
        parts: What each client trains on, by its shard, `i/n`; it is called i.
        trust: Decides which model sources may run here.
        output: Folder for the final model and the reports.
        listeners: Take what happens, by client where they can.
        track: Where each client's measurements go.
        looked: Called whenever a client has seen the chain.
        workers: How many processes train; None for as many as there are processors.
        stop_at_epsilon: The budget of each in a private job.

    Raises:
        GalaxyError: what concerns all of them.
        typer.Exit: some have failed; with the exit code of the first of them.
        JobCancelledError: the job was cancelled.
    """
    clients = {shard.partition("/")[0]: data for shard, data in parts.items()}

    def say(message: str) -> None:
        for listener in listeners:
            listener(Noted(message=message), "")

    allow_open_files(FILES_OF_A_CLIENT * len(clients))
    places = [place for (place,) in hosted_places(at, settings, list(clients), say)]
    names = dict(zip(places, clients, strict=True))

    def take_part(place: ClientPlace | ServerPlace, job_id: str, work: Work) -> Outcome:
        assert isinstance(place, LedgerClientPlace)
        name = names[place]
        with closing(place.open(job_id)) as coordinator:
            coordinator.looked = looked
            return JobClient(
                coordinator, clients[name], trust, name=name, output=output, listeners=listeners_of(listeners, name),
                track=track, work=work, alone=True, hosted=name, stop_at_epsilon=stop_at_epsilon,
            ).run()  # fmt: skip

    outcomes = Participation(places, take_part, listeners, Work(workers), list(clients)).run()
    _end(outcomes)


def _end(outcomes: Sequence[Outcome]) -> None:
    """End the command as its clients have ended."""
    failed = [(outcome, outcome.error) for outcome in outcomes if outcome.error is not None]
    if failed:
        sys.stderr.write(f"{len(failed)} of {len(outcomes)} clients failed:\n")
        clients: dict[str, list[str]] = {}
        for outcome, error in failed:
            clients.setdefault(str(error) or type(error).__name__, []).append(outcome.client)
        for reason, those in list(clients.items())[:LONGEST_TABLE]:
            those.sort(key=int)
            more = f" and {len(those) - MOST_NAMED} more" if len(those) > MOST_NAMED else ""
            sys.stderr.write(f"  {', '.join(those[:MOST_NAMED]) + more:>6}  {reason}\n")
        if len(clients) > LONGEST_TABLE:
            sys.stderr.write(f"  and for {len(clients) - LONGEST_TABLE} more reasons\n")
        first = failed[0][1]
        raise typer.Exit(first.exit_code if isinstance(first, GalaxyError) else 1)
    if all(outcome.cancelled for outcome in outcomes):
        raise JobCancelledError(
            f"job {outcomes[0].job} was cancelled, and ends without its round {outcomes[0].rounds}: nobody finished it"
        )
