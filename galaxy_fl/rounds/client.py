"""The loop of a client: train on the round's model, hand in the update, wait for the next."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from galaxy_fl.content.finished import Finished
from galaxy_fl.exceptions import RoundMovedOnError
from galaxy_fl.files import FileLock
from galaxy_fl.floor import FLOOR
from galaxy_fl.rounds.coordinator import ClientCoordinator, Phase, Previous, Round
from galaxy_fl.rounds.kept import Kept, KeptUpdate, digest_of
from galaxy_fl.rounds.weights import UNIFORM
from galaxy_fl.training.results import TrainResult
from galaxy_fl.training.task import TrainTask

__all__ = ["ClientReport", "Guard", "Trainer", "round_seed", "run_client"]

UNKNOWN = "0" * 64
"""In place of the digest of the model that a training began with: it is none's."""
RETIRED = "it has spent its privacy budget in this job"


class Trainer(Protocol):
    """Trains the client's own model on its own data: `galaxy_fl.worker.worker.Worker`, in a process of its own."""

    def train(self, task: TrainTask) -> TrainResult:
        """Trains from one vector file to another.

        Raises:
            TrainingError, DataError, EncodingError: it did not work; no file counts.
        """


class Guard(Protocol):
    """Stands between a private job's training and everybody else: `galaxy_fl.participants.guard.Guard`."""

    def admits(self, round: int) -> bool:
        """Puts the training of a round on the client's account, durably, and returns True; False where its budget does
        not allow that."""

    def protect(self, raw: Path, update: Path) -> None:
        """Makes of the file of an update, which is gone then, that of one that others may see."""


@dataclass(frozen=True)
class ClientReport:
    """What a client did in a round."""

    round: Round
    result: TrainResult
    gas: int | None
    """What the submission cost; None where the round was over before the update was in."""


def round_seed(seed: int, round: int, draw: int = 0) -> int:
    """The seed of a round's shuffling and dropout: the same for every client, mode and machine. 63 bits."""
    drawn = f" {draw}" if draw else ""
    return int.from_bytes(hashlib.sha256(f"galaxy round {seed} {round}{drawn}".encode()).digest()[:8]) >> 1


def run_client(
    coordinator: ClientCoordinator,
    trainer: Trainer,
    samples: int,
    report: Callable[[ClientReport], None] = lambda report: None,
    waiting: Callable[[Round], None] = lambda round: None,
    model: Callable[[int, Path, Path | None], None] = lambda rounds, vector, own: None,
    folder: Path | None = None,
    guard: Guard | None = None,
    scratch: Path | None = None,
) -> Round:
    """Takes part in a job until it is over.

    In a distillation the client continues from its own weights each round and learns from the others' of the round
    before (Zhang et al., "Deep Mutual Learning", CVPR 2018); otherwise it begins with the round's model.

    Args:
        coordinator: Where the job is.
        trainer: Of the job's model, on this client's data.
        samples: How many it trains on.
        report: Called after each round that the client trained in.
        waiting: Called whenever there is nothing to do but wait.
        model: Called with the number of rounds behind a model, and its vector file, which is there until it returns:
            the job's, or in a distillation this client's own; and the file of the client's own tensors, None if it has
            none.
        folder: Of this client in this job, where what it has trained is kept until the next round's, so that it trains
            nothing twice when it starts again; None where nothing is to outlive this call.
        guard: Where the job is private. When it admits no more trainings, the client hands in nothing more, and looks
            on until the job is over.
        scratch: For files where `folder` is None; clients may share it. None for a folder of its own.

    Returns:
        Where the job stood at its end.

    Raises:
        GalaxyError: whatever the coordinator or the trainer can't mend.
    """
    document = coordinator.job
    round = coordinator.round()
    if not round.over:
        coordinator.enter(samples)
    shown, retired = 0, False

    def show(rounds: int, vector: Path, last: bool = False) -> None:
        nonlocal shown
        if rounds > shown or last:  # a job that is ended early may have shown its last model as any other
            shown = rounds
            model(rounds, vector, kept.own_before(rounds + 1))

    irreplaceable = folder is not None and (guard is not None or bool(document.personal))
    with _place(folder, scratch) as place, ExitStack() as ending:
        kept = Kept(place, durable=irreplaceable, lasting=folder is not None)
        kept.sweep()
        if folder is None:
            ending.callback(kept.clear)
        while not round.over:
            if not retired and coordinator.wants_update(round):
                try:
                    begin = coordinator.model(round)
                    if not document.distils and round.number > 1:
                        show(round.number - 1, begin)
                    done = _train(coordinator, trainer, round, begin, kept, guard)
                    if done is None:
                        retired = True
                        coordinator.retire(RETIRED)
                        continue
                    trained, update = done
                    if document.distils:
                        show(round.number, update.path)
                    # A private job's weight is one number for all rounds: what else it told, no noise would cover.
                    counted = trained.samples if guard is None else samples
                    weight = UNIFORM if document.weighting == "uniform" else counted
                    try:
                        gas = coordinator.submit(round, update, weight)
                    except RoundMovedOnError:
                        report(ClientReport(round, trained, None))
                        raise
                except RoundMovedOnError:
                    round = coordinator.round()
                    continue
                report(ClientReport(round, trained, gas))
            waiting(round)
            with FLOOR.waiting():
                round = coordinator.wait(round)
        if round.phase is Phase.FINISHED:
            if not document.distils:
                show(coordinator.rounds, coordinator.model(round), last=True)
            elif (own := _student(round, kept, coordinator.previous(round))) is not None:
                show(coordinator.rounds, own)
            if coordinator.is_settled():
                kept.clear(personal=bool(document.personal))
    return round


@contextmanager
def _place(folder: Path | None, scratch: Path | None) -> Iterator[Path]:
    """The folder for what a client has in a job."""
    if folder is not None:
        with _alone(folder):
            yield folder
    elif scratch is not None:
        yield scratch
    else:
        with tempfile.TemporaryDirectory(prefix="galaxy-client-") as made:
            yield Path(made)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other programs from the folder, which would overwrite what this one has trained and protected.

    Raises:
        ConfigurationError: another program has it.
    """
    busy = f"another program takes part in this job with the folder {folder}: stop it, or use another home"
    lock = FileLock.claim(folder.with_name(f"{folder.name}.lock"), busy)
    try:
        yield
    finally:
        lock.release()


def _train(
    coordinator: ClientCoordinator, trainer: Trainer, round: Round, begin: Path, kept: Kept, guard: Guard | None
) -> tuple[TrainResult, Finished] | None:
    """Trains, unless that was done before: a round that is collected again has the same model. What was made public in
    vain is trained anew. Returns what is handed in, too; None where the guard admits no more."""
    last = kept.last
    again = last is not None and (last.round, last.draw) == (round.number, round.draw)
    if last is not None and again and last.begin == digest_of(begin):
        return last.result, Finished.of(kept.update(round.number))
    start, teachers, distils = begin, list[Path](), coordinator.job.distils
    if distils:
        previous = coordinator.previous(round)
        start = _student(round, kept, previous) or begin
        # By content, because clients have other names in other modes, and sums of floats have an order.
        teachers = sorted(previous.peers, key=digest_of)
    seed = round_seed(coordinator.job.train.seed, round.number, round.draw)
    before, after = kept.own_before(round.number), kept.own_new
    update = kept.update(round.number)
    written = update if guard is None else kept.raw
    task = TrainTask(start, written, round.number, seed, teachers, before, after, update=not distils)
    if guard is not None and not guard.admits(round.number):
        return None
    written.unlink(missing_ok=True)  # what was there others may have by now
    result = trainer.train(task)
    if guard is not None:  # before it is kept, as what is kept is handed in
        guard.protect(kept.raw, update)
    made = Finished.of(update)
    try:  # now, when others train, and not before, when everybody waits for it: a large model takes its time
        digest = digest_of(begin)
    except OSError:  # somebody has removed it since
        digest = UNKNOWN
    trained = KeptUpdate(round=round.number, begin=digest, draw=round.draw, result=result, content=made.content.cid)
    kept.keep(trained, coordinator.first_open(round))
    return result, made


def _student(round: Round, kept: Kept, previous: Previous) -> Path | None:
    """The client's own model in a distillation: what it trained last, here or before it lost that."""
    if kept.last is not None and kept.last.round < round.number:
        return kept.update(kept.last.round)
    return previous.own
