"""The loop of a server: wait until the updates are in, aggregate them, commit the next model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from galaxy_fl.exceptions import RoundMovedOnError
from galaxy_fl.rounds.coordinator import Committed, Phase, Round, ServerCoordinator, Submitted
from galaxy_fl.rounds.weights import overweight

__all__ = ["ServerReport", "run_server", "serve_round"]


@dataclass(frozen=True)
class ServerReport:
    """What a server did in a round; `model` is the vector file that it committed, None where it reopened the round."""

    round: Round
    updates: int
    excluded: dict[Submitted, str]
    """Why each excluded update was unusable."""
    model: Path | None
    committed: Committed | None
    seconds: float
    """Since the round was seen closed."""


def run_server(
    coordinator: ServerCoordinator,
    report: Callable[[ServerReport], None] = lambda report: None,
    waiting: Callable[[Round], None] = lambda round: None,
    ended: Callable[[Round], None] = lambda round: None,
) -> Round:
    """Serves a job until it is over, and this server answers for nothing any more.

    Args:
        coordinator: Where the job is.
        report: Called after each round, before the next one is waited for; its `model` is there until it returns.
        waiting: Called whenever there is nothing to do but wait.
        ended: Called when the job is over, before the server stays; again where a commit was taken back since.

    Returns:
        Where the job stood at its end.

    Raises:
        GalaxyError: whatever the coordinator neither mends nor endures.
    """
    with tempfile.TemporaryDirectory(prefix="galaxy-server-") as folder:
        entered = False
        while True:
            try:
                round = coordinator.round()
                if not round.over and not entered:
                    coordinator.enter()
                    entered = True
                ended(round := _serve(coordinator, round, report, waiting, Path(folder) / "next"))
                if (round := coordinator.stay(round)).over:
                    return round
            except Exception as error:
                if not coordinator.endures(error):
                    raise


def _serve(
    coordinator: ServerCoordinator,
    round: Round,
    report: Callable[[ServerReport], None],
    waiting: Callable[[Round], None],
    next_model: Path,
) -> Round:
    """Serves round after round until the job is over."""
    while not round.over:
        if round.phase is Phase.CLOSED:
            # Somebody else may be faster, or the chain be reorganised: then look again.
            with suppress(RoundMovedOnError):
                report(serve_round(coordinator, round, next_model))
            round = coordinator.round()
            continue
        waiting(round)
        round = coordinator.wait(round)
    return round


def serve_round(coordinator: ServerCoordinator, round: Round, next_model: Path) -> ServerReport:
    """Aggregate and commit a closed round, or have it collected again where too few of its updates can be used.

    Args:
        coordinator: Where the job is.
        round: The round, which is closed.
        next_model: Takes the vector file of what is committed; one that is there is not written to, which others may
            have as theirs.

    Raises:
        RoundMovedOnError: somebody else was faster, or the chain was reorganised: look again.
        GalaxyError: as the methods of the coordinator.
    """
    started = time.monotonic()
    updates = coordinator.updates(round)
    overweighted = {
        submitted: why for submitted in updates if (why := overweight(coordinator.job, submitted.weight)) is not None
    }
    usable, unusable = coordinator.gather(round, [each for each in updates if each not in overweighted])
    excluded = overweighted | unusable
    committed = model = None
    if coordinator.enough(len(usable)):
        next_model.unlink(missing_ok=True)
        coordinator.aggregate(round, usable, model := next_model)
        committed = coordinator.commit(round, model, excluded)
    else:
        coordinator.reopen(round, excluded)
    return ServerReport(round, len(updates), excluded, model, committed, time.monotonic() - started)
