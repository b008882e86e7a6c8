"""A server of one job: it commits round after round, and evaluates what it commits."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from galaxy_fl.exceptions import ContentError, DivergedError, GalaxyError
from galaxy_fl.participants.events import (
    Collecting,
    Committed,
    Noted,
    Reopened,
    Role,
)
from galaxy_fl.participants.participant import JobParticipant
from galaxy_fl.rounds.coordinator import Phase, Round, ServerCoordinator
from galaxy_fl.rounds.server import ServerReport, run_server

__all__ = ["JobServer"]


class JobServer(JobParticipant[ServerCoordinator]):
    """A server of one job."""

    role: Role = "server"

    def _run(self) -> Round:
        coordinator = self.coordinator
        coordinator.begin()
        first = coordinator.round()
        if first.over and not self._alone and (self._sha256 is not None or coordinator.job.distils):
            self._ended = first  # an earlier start has told it
        evaluates = self._data is not None and not coordinator.job.distils and not first.over
        if evaluates and (personal := coordinator.job.personal):
            evaluates = False
            self._emit(
                Noted(
                    message=f"its models are not evaluated here: tensors such as {personal[0].name!r} are personal and "
                    "stay with the clients, each of which evaluates its own model if it has test data"
                )
            )
        with self._work.session() if evaluates else nullcontext() as self._worker:
            if self._worker is not None and self._data is not None:
                try:
                    self._prepare(self._worker, self._data, nullcontext())
                except GalaxyError as error:  # whoever can't evaluate the models can aggregate them all the same
                    if self._alone and not coordinator.endures(error):
                        raise
                    self._worker = None  # its bond is worth more than its measurements
                    self._emit(Noted(message=f"its models are not evaluated here: {error}"))
            if first != self._ended:
                self._started(None)
            return run_server(coordinator, self._done, self._waits, self._over)

    def _done(self, done: ServerReport) -> None:
        round = done.round
        excluded = {submitted.client: reason for submitted, reason in done.excluded.items()}
        attempt: dict[str, Any] = {
            "round": round.number,
            "attempt": round.attempt,
            "updates": done.updates - len(excluded),
            "excluded": excluded,
            "seconds": done.seconds,
            "transaction": self.coordinator.transaction,
        }
        if done.model is None or done.committed is None:
            self._emit(Reopened(**attempt))
            return
        measured: dict[str, Any] = {}
        if self._worker is not None:
            try:
                found = self._evaluate(done.model)
                measured = {"loss": found.loss, "accuracy": found.accuracy, "test_samples": found.samples}
            except DivergedError as error:
                measured["diverged"] = str(error)
            except GalaxyError as error:  # the round is committed all the same, and the job continues
                measured["unevaluated"] = str(error)
        self._emit(Committed(**attempt, **measured, model=done.committed.model.hex(), gas=done.committed.gas))

    def _waits(self, round: Round) -> None:
        self._emit(Collecting(round=round.number, updates=round.updates, wanted=self.coordinator.wanted))

    def _over(self, round: Round) -> None:
        if round != self._ended and round.phase is Phase.FINISHED and not self.coordinator.job.distils:
            try:
                self._keep(self.coordinator.model(round), fetch=self._data is not None)
            except ContentError as error:  # what it answers for it answers for all the same
                self._lacks(error)
        super()._over(round)
