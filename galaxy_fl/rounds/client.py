"""The loop of a client: train on the round's model, hand in the update, wait for the next."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from galaxy_fl.exceptions import RoundMovedOnError
from galaxy_fl.rounds.coordinator import ClientCoordinator, Round
from galaxy_fl.training.results import TrainResult
from galaxy_fl.vectors import difference, read_vector

__all__ = ["ClientReport", "Trainer", "round_seed", "run_client"]


class Trainer(Protocol):
    """Trains the client's own model on its own data: `galaxy_fl.training.worker.Worker`, in a process of its own."""

    def train(self, model_vector: Path, trained_vector: Path, round_seed: int) -> TrainResult:
        """Trains from one vector file to another.

        Raises:
            TrainingError, DataError, EncodingError: it did not work; no file counts.
        """


@dataclass(frozen=True)
class ClientReport:
    """What a client did in a round."""

    round: Round
    result: TrainResult
    gas: int | None
    """What the submission cost; None where the round was over before the update was in."""


def round_seed(seed: int, round: int) -> int:
    """The seed of a round's shuffling and dropout: the same for every client, mode and machine. 63 bits."""
    return int.from_bytes(hashlib.sha256(f"galaxy round {seed} {round}".encode()).digest()[:8]) >> 1


def run_client(
    coordinator: ClientCoordinator,
    trainer: Trainer,
    samples: int,
    report: Callable[[ClientReport], None] = lambda report: None,
    waiting: Callable[[Round], None] = lambda round: None,
) -> Round:
    """Takes part in a job until it is over.

    Args:
        coordinator: Where the job is.
        trainer: Of the job's model, on this client's data.
        samples: How many it trains on.
        report: Called after each round that the client trained in.
        waiting: Called whenever there is nothing to do but wait.

    Returns:
        Where the job stood at its end.

    Raises:
        GalaxyError: whatever the coordinator or the trainer can't mend.
    """
    document = coordinator.job
    parameters = document.tensors.parameters
    round = coordinator.round()
    if not round.over:
        coordinator.enter(samples)
    with tempfile.TemporaryDirectory(prefix="galaxy-client-") as folder:
        trained_file = Path(folder) / "trained"
        while not round.over:
            if coordinator.wants_update(round):
                try:
                    model_file = coordinator.model(round)
                except RoundMovedOnError:
                    round = coordinator.round()
                    continue
                seed = round_seed(document.train.seed, round.number)
                result = trainer.train(model_file, trained_file, seed)
                update = read_vector(trained_file, parameters)
                if document.rule.name != "relay":
                    update = difference(update, read_vector(model_file, parameters))
                try:
                    gas = coordinator.submit(round, update, result.samples)
                except RoundMovedOnError:
                    report(ClientReport(round, result, None))
                    round = coordinator.round()
                    continue
                report(ClientReport(round, result, gas))
            waiting(round)
            round = coordinator.wait(round)
    return round
