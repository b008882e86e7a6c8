"""A client and a server of a ledger's job, whole: coordinator, worker process, and what they say of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxy_chain.coordinators import (
    LedgerClientCoordinator,
    LedgerCoordinator,
    LedgerServerCoordinator,
)
from galaxy_chain.exceptions import JobCancelledError
from galaxy_fl.exceptions import ContentError, DivergedError, GalaxyError
from galaxy_fl.faults import fault_point
from galaxy_fl.jobs.document import SourceModel
from galaxy_fl.rounds.client import ClientReport, run_client
from galaxy_fl.rounds.coordinator import Phase, Round
from galaxy_fl.rounds.kept import Kept
from galaxy_fl.rounds.server import ServerReport, run_server
from galaxy_fl.training.results import TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.trust import Trust
from galaxy_fl.worker.messages import Prepared, WorkerSettings
from galaxy_fl.worker.worker import Worker

__all__ = ["DataChoice", "Say", "run_client_of_job", "run_server_of_job"]

Say = Callable[[dict[str, Any]], None]
"""Takes what a participant reports: JSON values by name, `event` among them."""


@dataclass(frozen=True)
class DataChoice:
    """Which data a participant trains or evaluates on, and where: all local, none of it in the job."""

    name: str
    shard: str = "1/1"
    partition: str = "iid"
    partition_seed: int = 0
    root: str | None = None
    device: str = "cpu"
    threads: int = 1


def _prepare(worker: Worker, coordinator: LedgerCoordinator, data: DataChoice, trains: bool) -> Prepared:
    document, source = coordinator.job, None
    if isinstance(document.model, SourceModel):
        source = coordinator.source()
        Trust.load().check(document.model, source, coordinator.origin)
    settings = WorkerSettings(
        data=data.name,
        shard=data.shard,
        partition=data.partition,
        partition_seed=data.partition_seed,
        data_root=data.root,
        trains=trains,
        device=data.device,
        threads=data.threads,
    )
    return worker.prepare(document, settings, source)


def _end(coordinator: LedgerCoordinator, round: Round, say: Say) -> None:
    if round.phase is Phase.CANCELLED:
        raise JobCancelledError(
            f"job {coordinator.number} was cancelled, and ends without its round {round.number}: nobody finished it"
        )
    model = coordinator.history.model
    say({"event": "finished", "rounds": coordinator.rounds, "model": model.root.hex()})


class _Announced:
    """A trainer that says when it begins."""

    def __init__(self, worker: Worker, say: Say) -> None:
        self._worker = worker
        self._say = say

    def train(self, task: TrainTask) -> TrainResult:
        self._say({"event": "training", "round": task.round})
        result = self._worker.train(task)
        fault_point("after-training")
        return result


def run_client_of_job(coordinator: LedgerClientCoordinator, data: DataChoice, say: Say) -> None:
    """Takes part in a job as a client until it is finished and what this client has earned is out, unless the
    coordinator is to leave before that.

    Says `started`, `training` and `trained` (a round), `challenged` (a wrong commit), `waiting`, `finished` or
    `cancelled`, and `staying`, `paid` or `leaving`.

    Raises:
        JobCancelledError: it was cancelled, and ends without the round in which that was.
        UntrustedModelError: its model is a program that may not run here.
        GalaxyError: whatever can't be mended.
    """
    coordinator.challenged = lambda commit, chunk: say(
        {"event": "challenged", "round": commit.record.round, "server": commit.record.server, "chunk": chunk}
    )
    coordinator.paid = _says_paid(say)
    started = False

    def began(prepared: Prepared) -> None:
        nonlocal started
        if not started:  # not again where a commit was taken back, and the job goes on
            started = True
            say(
                {
                    "event": "started",
                    "account": coordinator.address,
                    "name": coordinator.job.name,
                    "samples": prepared.samples,
                    "notes": prepared.notes,
                }
            )

    ended = _Ended(coordinator, say)
    round = coordinator.round()
    lacking: ContentError | None = None
    while True:
        if not round.over:
            coordinator.answering.start()
            try:
                round = _train_rounds(coordinator, data, say, began)
            except ContentError as error:
                if not (round := coordinator.round()).over:
                    raise
                lacking = error  # the last model may be withheld: what this client has earned it gets out all the same
        ended(round)
        if (round := coordinator.stay(round)).over:
            break
        lacking = None
    if coordinator.kept is not None and coordinator.is_settled():
        Kept(coordinator.kept).clear()
    if lacking is not None:
        raise lacking
    if round.phase is Phase.CANCELLED:
        _end(coordinator, round, say)


def _train_rounds(
    coordinator: LedgerClientCoordinator, data: DataChoice, say: Say, began: Callable[[Prepared], None]
) -> Round:
    """Trains round after round until the job is over; the worker process ends with that."""
    with Worker() as worker:
        prepared = _prepare(worker, coordinator, data, trains=True)
        began(prepared)

        def report(done: ClientReport) -> None:
            say(
                {
                    "event": "trained",
                    "round": done.round.number,
                    "attempt": done.round.attempt,
                    "gas": done.gas,
                    "transaction": None if done.gas is None else coordinator.transaction,
                    **done.result.model_dump(mode="json"),
                }
            )

        def waiting(round: Round) -> None:
            say({"event": "waiting", "round": round.number})

        return run_client(
            coordinator, _Announced(worker, say), prepared.samples, report, waiting, folder=coordinator.kept
        )


class _Ended:
    """Says that a job is over, once, and until when its participant stays or what it leaves behind."""

    def __init__(self, coordinator: LedgerClientCoordinator | LedgerServerCoordinator, say: Say) -> None:
        self._coordinator = coordinator
        self._say = say
        self._said: Round | None = None

    def __call__(self, round: Round) -> None:
        if round != self._said:
            self._said = round
            if round.phase is Phase.CANCELLED:
                self._say({"event": "cancelled", "round": round.number})
            else:
                _end(self._coordinator, round, self._say)
        until = self._coordinator.stays_until()
        if until is not None:
            event = "leaving" if self._coordinator.leave else "staying"
            self._say({"event": event, "role": self._coordinator.role, "until": until})


def _says_paid(say: Say) -> Callable[[int], None]:
    return lambda amount: say({"event": "paid", "amount": amount})


def _evaluate(worker: Worker, model: Path) -> dict[str, Any]:
    try:
        evaluation = worker.evaluate(model)
    except GalaxyError as error:  # the round is committed all the same, and the job goes on
        return {"diverged" if isinstance(error, DivergedError) else "unevaluated": str(error)}
    return {"loss": evaluation.loss, "accuracy": evaluation.accuracy}


def run_server_of_job(coordinator: LedgerServerCoordinator, data: DataChoice | None, metrics: Path, say: Say) -> None:
    """Serves a job until it is over, this server's bond is free and what it has earned is out, unless the coordinator
    is to leave before that.

    Says `started`, `collecting`, `committed` or `reopened` (a round), `finished` or `cancelled`, and `staying`, `paid`
    or `leaving`.

    Args:
        data: Whose test split each model is evaluated on; None for no evaluation.
        metrics: A file to which each round's line goes as JSON; `galaxy-chain job show` reads it.

    Raises:
        JobCancelledError: it was cancelled, and ends without the round in which that was.
        GalaxyError: whatever can't be mended, where no money is at stake.
    """
    coordinator.paid = _says_paid(say)
    coordinator.answering.start()
    metrics.parent.mkdir(parents=True, exist_ok=True)
    evaluates = data is not None and not coordinator.round().over
    with Worker() if evaluates else nullcontext() as worker:
        if worker is not None and data is not None:
            try:
                _prepare(worker, coordinator, data, trains=False)
            except GalaxyError as error:
                if not coordinator.endures(error):
                    raise
                worker = None  # its bond is worth more than its measurements
        say({"event": "started", "account": coordinator.address, "name": coordinator.job.name})

        def report(done: ServerReport) -> None:
            line: dict[str, Any] = {
                "event": "reopened" if done.model is None else "committed",
                "round": done.round.number,
                "attempt": done.round.attempt,
                "updates": done.updates - len(done.excluded),
                "excluded": {submitted.client: reason for submitted, reason in done.excluded.items()},
                "seconds": done.seconds,
                "transaction": coordinator.transaction,
            }
            if done.model is not None and done.committed is not None:
                line |= {"model": done.committed.model.hex(), "gas": done.committed.gas}
                if worker is not None:
                    line |= _evaluate(worker, done.model)
            say(line)
            with metrics.open("a") as file:
                file.write(json.dumps(line) + "\n")

        def waiting(round: Round) -> None:
            say(
                {
                    "event": "collecting",
                    "round": round.number,
                    "updates": round.updates,
                    "wanted": coordinator.terms.min_clients,
                }
            )

        round = run_server(coordinator, report, waiting, _Ended(coordinator, say))
    if round.phase is Phase.CANCELLED:
        _end(coordinator, round, say)
