"""A client of one job: it trains round after round, and takes what it has earned."""

from __future__ import annotations

from pathlib import Path

from galaxy_fl.exceptions import ContentError, GalaxyError
from galaxy_fl.faults import fault_point
from galaxy_fl.participants.events import (
    Evaluated,
    Noted,
    Role,
    Trained,
    Training,
    Waiting,
)
from galaxy_fl.participants.participant import JobParticipant
from galaxy_fl.rounds.client import ClientReport, run_client
from galaxy_fl.rounds.coordinator import ClientCoordinator, Phase, Round
from galaxy_fl.rounds.kept import Kept
from galaxy_fl.training.results import TrainResult
from galaxy_fl.training.task import TrainTask

__all__ = ["JobClient"]


class JobClient(JobParticipant[ClientCoordinator]):
    """A client of one job."""

    role: Role = "client"
    _was_started = False

    def _run(self) -> Round:
        coordinator = self.coordinator
        round = coordinator.round()
        late = round.over
        while True:
            if not round.over:
                coordinator.begin()
            try:
                round = self._rounds(round)
            except ContentError as error:
                # The last model may be withheld: what this client has earned it gets out all the same.
                if not (round := coordinator.round()).over:
                    raise
                self._lacks(error)
            self._over(round)
            if (round := coordinator.stay(round)).over:
                break
            self._lacking, late = None, False
        if coordinator.kept is not None and coordinator.is_settled():
            Kept(coordinator.kept).clear()
        if late:  # whoever comes when all is over may come for its money alone
            self._lacking = None
        return round

    def _rounds(self, round: Round) -> Round:
        """Train round after round until the job is over; the workers have no session of it then."""
        coordinator = self.coordinator
        if round.over:
            if self._final is None:
                return round
            return run_client(coordinator, self, 0, model=self._model, folder=coordinator.kept)
        assert self._data is not None
        with self._work.session() as self._worker:
            try:
                prepared = self._prepare(self._worker, self._data, self._turn)
                if not self._was_started:  # not again where a commit was taken back, and the job continues
                    self._was_started = True
                    self._started(prepared)
                return run_client(
                    coordinator, self, prepared.samples, self._trained, self._waits, self._model, coordinator.kept
                )
            finally:
                self._worker = None

    def train(self, task: TrainTask) -> TrainResult:
        """Train, when it is this job's turn."""
        assert self._worker is not None
        with self._turn, self._work.section():
            result = self._worker.train(task, lambda: self._emit(Training(round=task.round)))
        fault_point("after-training")
        return result

    def _trained(self, done: ClientReport) -> None:
        transaction = None if done.gas is None else self.coordinator.transaction
        result, round = done.result.model_dump(), done.round
        self._emit(Trained(round=round.number, attempt=round.attempt, gas=done.gas, transaction=transaction, **result))

    def _waits(self, round: Round) -> None:
        self._emit(Waiting(round=round.number, awaited="clients" if round.phase is Phase.COLLECTING else "server"))

    def _model(self, rounds: int, vector: Path) -> None:
        """Take the model after so many rounds: evaluate it, and keep the last one."""
        if self._worker is not None and self._data is not None and self._data.evaluates:
            try:
                with self._turn:
                    evaluation = self._evaluate(vector)
            except GalaxyError as error:
                self._emit(Noted(message=f"the model after round {rounds} can't be evaluated: {error}"))
            else:
                self._emit(Evaluated(round=rounds, **evaluation.model_dump()))
        if rounds == self.coordinator.rounds:
            self._keep(vector)
