"""A server of one job: it commits round after round, and evaluates what it commits."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from galaxy_fl.exceptions import ConfigurationError, ContentError, DivergedError, GalaxyError
from galaxy_fl.participants.aim import Aim
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import (
    Best,
    Collecting,
    Committed,
    Ending,
    Noted,
    Reopened,
    Role,
)
from galaxy_fl.participants.participant import JobParticipant, Outcome
from galaxy_fl.participants.progress import BestRound, Progress
from galaxy_fl.rounds.coordinator import Phase, Round, ServerCoordinator
from galaxy_fl.rounds.kept import digest_of
from galaxy_fl.rounds.server import ServerReport, run_server
from galaxy_fl.training.results import Evaluation
from galaxy_fl.trust import Trust
from galaxy_fl.worker import forkserver

__all__ = ["JobServer"]

NO_AIM = Aim()
LAST = 3
"""Rounds at the end of a job in which a server that evaluates nothing has torch in memory. In a short job it is loaded
while clients load theirs, and not while they train."""
NICE = 10
"""By how much others on this machine go first while it is loaded. On two cores clients began to train half a second
later beside it."""


class JobServer(JobParticipant[ServerCoordinator]):
    """A server of one job.

    Args:
        aim: Which model it keeps as the best, and with what it ends the job early.
        coordinator, data, trust, options: As of every participant.
    """

    role: Role = "server"

    def __init__(
        self,
        coordinator: ServerCoordinator,
        data: LocalData | None,
        trust: Trust,
        *,
        output: Path | None = Path(),
        aim: Aim = NO_AIM,
        **options: Any,
    ) -> None:
        super().__init__(coordinator, data, trust, output=output, **options)
        self._aim = aim
        self._best: Path | None = None
        if output is not None:
            self._best = output.absolute() / f"best_model_pars_{coordinator.job_id}"
        record = None if self._best is None or not aim else self._best.with_name(f"{self._best.name}.json")
        self._progress = Progress(aim, coordinator.job.digest, record)
        self._told: BestRound | None = None
        """The best round that was told last."""
        self._ending = ""
        """Why the job ends early, as it was told last."""

    def run(self) -> Outcome:
        """As every participant's; the outcome names the best model."""
        outcome, best = super().run(), self._progress.best
        if best is None:
            return outcome
        return replace(outcome, best_round=best.round, best_model=self._best if self._is_kept(best) else None)

    def _run(self) -> Round:
        coordinator = self.coordinator
        coordinator.begin()
        first = coordinator.round()
        if first.over and not self._alone and (self._sha256 is not None or coordinator.job.distils):
            self._ended = first  # an earlier start has told it
        if self._aim and not first.over:
            self._check_aim()
        evaluates = self._data is not None and not coordinator.job.distils and self._is_to_measure(first)
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
                    if (self._alone or self._aim) and not coordinator.endures(error):
                        raise
                    self._worker = None  # its bond is worth more than its measurements
                    self._emit(Noted(message=f"its models are not evaluated here: {error}"))
            if first != self._ended:
                self._started(None)
            if self._aim and self._worker is not None:
                self._catch_up(first)
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
        values: dict[str, float] | None = None
        if self._worker is not None:
            try:
                found = self._evaluate(done.model)
                values = _values(found)
                measured = found.model_dump(exclude={"samples"}) | {"test_samples": found.samples}
            except DivergedError as error:
                measured["diverged"], values = str(error), {}
            except GalaxyError as error:  # the round is committed all the same, and the job continues
                measured["unevaluated"] = str(error)
        self._emit(Committed(**attempt, **measured, model=done.committed.model.hex(), gas=done.committed.gas))
        if self._aim and values is not None:
            self._pursue(round.number, done.model, values)

    def _check_aim(self) -> None:
        """Make sure, before anything is staked, that what the server aims at can be reached in this job."""
        job = f"job {self.coordinator.job_id}"
        if self.coordinator.job.distils:
            raise ConfigurationError(
                f"{job} distils: its server has no model to evaluate, so there is no best one, and nothing to stop by: "
                "leave out best, stop_when and patience"
            )
        if personal := self.coordinator.job.personal:
            raise ConfigurationError(
                f"{job} has personal tensors, such as {personal[0].name!r}, which stay with the clients, so its server "
                "can't evaluate its models: leave out best, stop_when and patience"
            )
        if self._data is None:
            raise ConfigurationError(
                "best, stop_when and patience go by what the server measures, and it was given nothing to measure on: "
                "give it test data (test_data=…, --data)"
            )
        if self._aim.stops:
            self.coordinator.check_may_end()

    def _is_to_measure(self, first: Round) -> bool:
        """Tell whether there are models to measure: the last one, too, where the program has ended before that."""
        if not first.over:
            return True
        lacks = self._aim.best is not None and not self._progress.knows(first.number - 1)
        return lacks and first.phase is Phase.FINISHED

    def _catch_up(self, first: Round) -> None:
        """Measure the model that the job stands at: what it is measured by has to be known before it goes on, and an
        earlier start may have ended between a commit and its evaluation."""
        try:
            vector = self.coordinator.model(first)
            found = self._evaluate(vector)
            values, known = _values(found), {*_values(found), *found.metrics}  # one may be a number in later rounds
        except DivergedError:
            values, known = {}, set()
        except GalaxyError:  # the model may come later, and the rounds' own evaluations with it
            return
        if known and (unknown := sorted(self._aim.names - known)):
            raise ConfigurationError(
                f"the models of job {self.coordinator.job_id} are measured by {', '.join(sorted(known))} here, not by "
                f"{', '.join(unknown)}: name one of these in best and stop_when, or give what measures the other"
            )
        if first.number > 1:
            self._pursue(first.number - 1, vector, values)

    def _pursue(self, round: int, vector: Path, values: Mapping[str, float]) -> None:
        """Note what was measured after a round, keep the best model, and end the job where it has gone far enough."""
        if not self._progress.has(round, sha256 := digest_of(vector)):
            self._progress.note(round, sha256, values)
        best = self._progress.best
        try:
            if best is not None and self._best is not None and not self._is_kept(best):
                model = vector if best.round == round else self.coordinator.model_after(best.round)
                with self._work.section():
                    self._work.pool.export(self.coordinator.job, model, self._best, best.sha256)
                self._progress.keep(best.sha256)
            self._progress.save()
        except (OSError, GalaxyError) as error:
            self._emit(Noted(message=f"the best model can't be written: {error}"))
        if best is not None and best != self._told:
            self._told = best
            self._emit(Best(**best.model_dump(), best_model=str(self._best) if self._is_kept(best) else None))
        if (reason := self._progress.reason_to_stop) is not None:
            last = self.coordinator.end()
            if reason != self._ending and last < self.coordinator.planned:
                self._ending = reason
                self._emit(Ending(round=round, last=last, reason=reason))

    def _is_kept(self, best: BestRound) -> bool:
        """Tell whether the best model's file has that round's model."""
        return self._best is not None and self._progress.kept == best.sha256 and self._best.is_file()

    def _waits(self, round: Round) -> None:
        coordinator = self.coordinator
        if self._final is not None and round.number > coordinator.rounds - LAST and not coordinator.job.distils:
            # It loads torch, which writes the final model, while updates come in: where clients run on this machine, in
            # what they leave of it. A program that does something else, too, may want workers that train.
            forkserver.start(nice=NICE if self._alone else 0)
        self._emit(Collecting(round=round.number, updates=round.updates, wanted=self.coordinator.wanted))

    def _over(self, round: Round) -> None:
        if round != self._ended and round.phase is Phase.FINISHED and not self.coordinator.job.distils:
            try:
                self._keep(self.coordinator.model(round), fetch=self._data is not None)
            except ContentError as error:  # what it answers for it answers for all the same
                self._lacks(error)
        super()._over(round)


def _values(found: Evaluation) -> dict[str, float]:
    """Return what an evaluation has measured, by name. A further metric, whose name may be a stranger's, stands for
    neither loss nor accuracy."""
    further = {name: value for name, value in found.metrics.items() if value is not None}
    own = {"loss": found.loss} | ({} if found.accuracy is None else {"accuracy": found.accuracy})
    return further | own
