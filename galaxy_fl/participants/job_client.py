"""A client of one job: it trains round after round, and takes what it has earned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galaxy_fl.exceptions import ConfigurationError, ContentError, GalaxyError
from galaxy_fl.faults import fault_point
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import (
    Evaluated,
    Noted,
    Role,
    Trained,
    Training,
    Waiting,
)
from galaxy_fl.participants.guard import Guard
from galaxy_fl.participants.participant import JobParticipant
from galaxy_fl.rounds.client import ClientReport, run_client
from galaxy_fl.rounds.coordinator import ClientCoordinator, Phase, Round
from galaxy_fl.rounds.kept import Kept
from galaxy_fl.training.results import TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.trust import Trust

__all__ = ["JobClient"]

ACCOUNT = "spent.json"
"""A private job's account, beside what the client has trained; it stays when that is removed."""


class JobClient(JobParticipant[ClientCoordinator]):
    """A client of one job."""

    role: Role = "client"
    _was_started = False

    def __init__(
        self,
        coordinator: ClientCoordinator,
        data: LocalData | None,
        trust: Trust,
        *,
        stop_at_epsilon: float | None = None,
        **options: Any,
    ) -> None:
        """As every participant; `stop_at_epsilon` is the client's own budget in a private job."""
        super().__init__(coordinator, data, trust, **options)
        self._stop_at_epsilon = stop_at_epsilon

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
            Kept(coordinator.kept).clear(personal=bool(coordinator.job.personal))
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
                guard = self._guard(prepared.samples)
                if guard is not None:
                    left = coordinator.rounds - round.number + 1
                    prepared = prepared.model_copy(update={"notes": [*prepared.notes, *guard.notes(left)]})
                if not self._was_started:  # not again where a commit was taken back, and the job continues
                    self._was_started = True
                    self._started(prepared)
                    self._look_for_own(round)
                return run_client(
                    coordinator,
                    self,
                    prepared.samples,
                    self._trained,
                    self._waits,
                    self._model,
                    coordinator.kept,
                    guard,
                    self._work.scratch() if coordinator.kept is None else None,
                )
            finally:
                self._worker = None

    def _guard(self, samples: int) -> Guard | None:
        """Return what guards a private job's training."""
        coordinator, document = self.coordinator, self.coordinator.job
        if document.privacy is None:
            if self._stop_at_epsilon is not None:
                raise ConfigurationError(
                    f"stop_at_epsilon is {self._stop_at_epsilon:g}, but job {coordinator.job_id} is not private: its "
                    "updates tell whatever they do. Take part without stop_at_epsilon, or ask for a job with a section "
                    "privacy"
                )
            return None
        if coordinator.kept is None:
            raise ConfigurationError(
                f"job {coordinator.job_id} is private: name a folder (home) in which this client keeps what it has "
                "spent, so that it outlives the program"
            )
        account = coordinator.kept / ACCOUNT
        return Guard(document, samples, account, self._stop_at_epsilon, self._emit)

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

    def _look_for_own(self, round: Round) -> None:
        """Tell where a client has trained personal tensors before, and has them no more."""
        coordinator = self.coordinator
        if not coordinator.job.personal or not coordinator.has_taken_part():
            return
        folder = coordinator.kept
        if folder is not None and Kept(folder).own_before(round.number + 1) is not None:
            return
        personal = [repr(tensor.name) for tensor in coordinator.job.personal]
        names = ", ".join([*personal[:3], *(["…"] if len(personal) > 3 else [])])
        where = "where they would be kept" if folder is None else str(folder)
        self._emit(
            Noted(
                message="this client has taken part in the job before, but what it has trained of its personal tensors "
                f"({names}) is not in {where}: it begins with the job's own values again; to continue from its own, "
                "stop it and bring that folder from where it was"
            )
        )

    def _model(self, rounds: int, vector: Path, own: Path | None) -> None:
        """Take the model after so many rounds: evaluate it, and keep the last one."""
        if self._worker is not None and self._data is not None and self._data.evaluates:
            try:
                with self._turn:
                    evaluation = self._evaluate(vector, own)
            except GalaxyError as error:
                self._emit(Noted(message=f"the model after round {rounds} can't be evaluated: {error}"))
            else:
                self._emit(Evaluated(round=rounds, **evaluation.model_dump()))
        if rounds == self.coordinator.rounds:
            self._keep(vector, own)
