"""A participant of one job, in every mode: a coordinator, local data, trust, and listeners."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from galaxy_fl.exceptions import ConfigurationError, GalaxyError
from galaxy_fl.files import is_name
from galaxy_fl.jobs.document import JobDocument, SourceModel
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import (
    Cancelled,
    Challenged,
    Event,
    Finished,
    Leaving,
    Listener,
    Noted,
    Paid,
    Role,
    Started,
    Staying,
)
from galaxy_fl.participants.giving_up import giving_up
from galaxy_fl.participants.report import Report, ReportFile
from galaxy_fl.participants.tracking import About, Tracker
from galaxy_fl.participants.work import Work
from galaxy_fl.rounds.coordinator import Coordinator, Phase, Round
from galaxy_fl.rounds.kept import digest_of
from galaxy_fl.tables import table
from galaxy_fl.training.results import Evaluation
from galaxy_fl.trust import Trust
from galaxy_fl.worker.messages import Prepared
from galaxy_fl.worker.pool import PoolSession

__all__ = ["JobParticipant", "Outcome", "Outcomes"]

AnyCoordinator = TypeVar("AnyCoordinator", bound=Coordinator)


@dataclass(frozen=True)
class Outcome:
    """How a job ended for a participant.

    Attributes:
        job: Id of the job where it is.
        rounds: How many rounds it had.
        cancelled: Whether it ended without its last round.
        final_model: File of the final model; None where it is not here, as at the server of a distillation.
        report: The report's JSON file; None where no files are kept.
        error: Why the job was given up; None where it was not.
        best_model: File of the best model, where a server was told to keep it; None otherwise.
        best_round: The round that it is of.
        client: The name of a client that its program hosts beside others; empty otherwise.

    Example:
        >>> import galaxy_fl as galaxy
        >>> for outcome in galaxy.Client(data="digits").run():  # doctest: +SKIP
        ...     print(outcome.job, outcome.final_model)
    """

    job: str
    rounds: int = 0
    cancelled: bool = False
    final_model: Path | None = None
    report: Path | None = None
    error: Exception | None = None
    client: str = ""
    best_model: Path | None = None
    best_round: int | None = None

    @property
    def curves(self) -> Report | None:
        """What the participant measured, which a notebook shows as a picture; None where no files are kept."""
        return None if self.report is None else Report.read(self.report)

    def _repr_html_(self) -> str:
        return table((), [(name, value) for name, value in self._cells().items() if value is not None])

    def _cells(self) -> dict[str, str | int | None]:
        """What a table says of it."""
        ended = "cancelled" if self.cancelled else "over" if self.error is None else f"given up: {self.error}"
        files = {name: getattr(self, name) for name in ("final_model", "best_model", "report")}
        return {
            "job": self.job,
            "client": self.client or None,
            "rounds": self.rounds,
            "ended": ended,
            "best round": self.best_round,
            **{name.replace("_", " "): None if path is None else str(path) for name, path in files.items()},
        }


class Outcomes(list[Outcome]):
    """How jobs ended; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = [each._cells() for each in self]
        columns = [name for name in (rows[0] if rows else {}) if any(row[name] is not None for row in rows)]
        return table(columns, [[row[name] for name in columns] for row in rows])


class JobParticipant(Generic[AnyCoordinator]):
    """What clients and servers have in common.

    Args:
        coordinator: Where the job is; closed by whoever opened it.
        data: What it trains and evaluates on; None for a server that does not evaluate.
        trust: Decides which model sources may run here.
        name: Distinguishes its report from others'; None for its account.
        output: Folder for the final model and the report; None to write neither.
        listeners: Take what it emits.
        track: Where its measurements go besides.
        work: Has the workers, and the sections that its thread is in; shared by all participants of a program.
        turn: Entered while a client trains or evaluates; None where it may do so at any time.
        alone: Whether the job is its program's only one: then data that can't be used are an error of a server, too,
            and the end of a job that was over before is told again.
        hosted: The client's name where its program hosts others beside it: then its report has no picture, of which
            there would be hundreds.
        writes_model: Whether the final model goes to the folder, too: not where another participant on this machine
            writes the same.

    Raises:
        ConfigurationError: the job's id can't be part of a file's name, or the output folder can't be used.
    """

    role: Role

    def __init__(
        self,
        coordinator: AnyCoordinator,
        data: LocalData | None,
        trust: Trust,
        *,
        name: str | None = None,
        output: Path | None = Path(),
        listeners: Sequence[Listener] = (),
        track: Sequence[Tracker] = (),
        work: Work | None = None,
        turn: AbstractContextManager[object] | None = None,
        alone: bool = False,
        hosted: str = "",
        writes_model: bool = True,
    ) -> None:
        job = coordinator.job_id
        if not is_name(job):  # it may come from a stranger's server
            raise ConfigurationError(f"the job's id {job!r} can't be part of a file's name, so it is not taken")
        self.coordinator = coordinator
        self._data = data
        self._trust = trust
        self._work = Work() if work is None else work
        self._turn = nullcontext() if turn is None else turn
        self._alone = alone
        self._hosted = hosted
        self._listeners = list(listeners)
        self._worker: PoolSession | None = None
        self._ended: Round | None = None
        """The end that was told last."""
        self._lacking: Exception | None = None
        """Why the final model is not here, although the job has one."""
        self._report: ReportFile | None = None
        self._unreported = ""
        """Why the report could not be written last."""
        self._final: Path | None = None
        self._sha256: str | None = None
        """SHA-256 of the vector of the final model that the file has."""
        name = coordinator.account if name is None else name
        label = f"{self.role}_{name}" if name else self.role
        size = 4 * coordinator.job.tensors.parameters
        about = About(job, coordinator.job.digest, coordinator.job.name, label, size)
        self._listeners += [tracker.of(about) for tracker in track]
        if output is not None:
            output = _usable(output.absolute())
            # Where each client has a model of its own, clients may share a folder, or a program.
            apart = coordinator.job.distils or (coordinator.job.personal and self.role == "client")
            own = f"_{name}" if apart and (coordinator.shares_folder or hosted) else ""
            self._final = output / f"final_model_pars_{job}{own}" if writes_model else None
            document = coordinator.job.digest
            who = label.replace("_", " ", 1)
            self._report = ReportFile(
                output / f"report_{job}_{label}", job, document, coordinator.job.name, who, bool(hosted)
            )
            # Of this job, if the report says so, and not of another of the same id.
            if self._final is not None and self._final.exists():
                self._sha256 = self._report.report.final_model

    def run(self) -> Outcome:
        """Take part until the job is over, and what the participant has earned or answers for is settled.

        Raises:
            UntrustedModelError: the job's model is a program that may not run here.
            ContentError, OSError, TrainingError: the job is over, but its final model could not be written.
            GalaxyError: whatever can't be mended.
        """
        self.coordinator.listen(
            paid=lambda amount: self._emit(Paid(amount=amount)),
            challenged=lambda number, server, node, chunk: self._emit(
                Challenged(round=number, server=server, node=node, chunk=chunk)
            ),
        )
        private = self.role == "client" and self.coordinator.job.privacy is not None
        with giving_up(self.coordinator, private):
            try:
                round = self._run()
            finally:
                if self._report is not None:
                    self._write_report(self._report.close)
            if self._lacking is not None:
                raise self._lacking
        final = None if self._sha256 is None else self._final
        report = None if self._report is None else self._report.path
        cancelled = round.phase is Phase.CANCELLED
        rounds = self.coordinator.rounds
        return Outcome(self.coordinator.job_id, rounds, cancelled, final, report, client=self._hosted)

    def _run(self) -> Round:
        raise NotImplementedError

    def _emit(self, event: Event) -> None:
        with self._work.section():
            if self._report is not None:  # first: whoever hears of the end finds the files
                self._write_report(partial(self._report, event, self.coordinator.job_id))
            for listener in self._listeners:
                listener(event, self.coordinator.job_id)

    def _write_report(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:  # a full disk: a report is not worth an update, or a bond
            if str(error) != self._unreported:
                self._unreported = str(error)
                self._emit(Noted(message=f"the report can't be written: {error}"))

    def _prepare(self, worker: PoolSession, data: LocalData, turn: AbstractContextManager[object]) -> Prepared:
        """Have the workers load model and data, in its turn."""
        model, source = self.coordinator.job.model, None
        if isinstance(model, SourceModel):
            source = self.coordinator.source()
            self._trust.check(model, source, self.coordinator.origin)
        base = None if self.coordinator.job.base is None else self.coordinator.base()
        with turn, self._work.section():
            return data.prepare(worker, self.coordinator.job, source, base)

    def _started(self, prepared: Prepared | None) -> None:
        samples, notes = (None, ()) if prepared is None else (prepared.samples, prepared.notes)
        job = self.coordinator.job.name
        account = self.coordinator.account
        self._emit(Started(role=self.role, account=account, name=job, samples=samples, notes=list(notes)))

    def _evaluate(self, vector: Path, own: Path | None = None) -> Evaluation:
        assert self._worker is not None
        with self._work.section():
            return self._worker.evaluate(vector, own)

    def _keep(self, vector: Path, own: Path | None = None, fetch: bool = True) -> None:
        """Write the final model, unless it is there. Failing, it ends nothing that money may depend on.

        Args:
            vector: What it has of the job.
            own: What it has of this client.
            fetch: Whether to fetch the job's base for it.
        """
        if self._final is None:
            return
        try:
            with self._work.section():
                job = self.coordinator.job
                if (sha256 := digest_of(vector)) != self._sha256:
                    base = None if job.base is None else self.coordinator.base(fetch)
                    if job.base is not None and base is None:
                        self._emit(Noted(message=_without_base(job.base.size)))
                        return
                    if job.personal and own is None:
                        self._emit(Noted(message=_nobodys(job)))
                    self._work.pool.export(job, vector, self._final, sha256, base, own)
                self._sha256 = sha256
            self._lacking = None
        except (OSError, GalaxyError) as error:
            self._lacks(error)

    def _lacks(self, error: Exception) -> None:
        self._lacking = error
        self._emit(Noted(message=f"the final model can't be written: {error}"))

    def _over(self, round: Round) -> None:
        """Tell that the job is over, once, and until when the participant stays, or what it leaves behind."""
        coordinator = self.coordinator
        root = coordinator.model_root()
        if round != self._ended:
            self._ended = round
            if round.phase is Phase.CANCELLED:
                self._emit(Cancelled(round=round.number, by="owner" if root is None else None))
            else:
                final = None if self._sha256 is None else str(self._final)
                model = None if root is None else root.hex()
                rounds = coordinator.rounds
                planned = coordinator.planned if rounds < coordinator.planned else None
                self._emit(
                    Finished(rounds=rounds, planned=planned, model=model, final_model=final, sha256=self._sha256)
                )
        if (until := coordinator.stays_until()) is not None:
            told = Leaving if coordinator.leave else Staying
            self._emit(told(role=self.role, until=until))


def _without_base(size: int) -> str:
    return (
        f"the final model is not written here, because the job's base of {size} bytes is not: give this server data to "
        "evaluate on, which fetches it, or take the model from a client, or by `galaxy-chain job export`"
    )


def _nobodys(job: JobDocument) -> str:
    name, more = job.personal[0].name, len(job.personal) - 1
    others = f" and {more} more" if more else ""
    return (
        f"the final model written here has the personal tensor {name!r}{others} as the job began with it: each "
        "client's own is in that client's final model alone"
    )


def _usable(output: Path) -> Path:
    """Return a folder that files can be written into."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        usable = os.access(output, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        raise ConfigurationError(
            f"{output} can't be used for what a participant leaves, its final model and its report: name a folder that "
            "can be written to (output=…, --output)"
        )
    return output
