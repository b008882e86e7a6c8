"""Evaluation reports: what a participant saw of a job, round by round, as JSON and as a picture."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any, assert_never

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import handing_over, replacing
from galaxy_fl.participants import events
from galaxy_fl.participants.curves import Curve, draw
from galaxy_fl.participants.events import Event
from galaxy_fl.participants.progress import BestRound
from galaxy_fl.training.results import Evaluation, TrainResult
from galaxy_fl.validation import explain

__all__ = ["Report", "ReportFile", "RoundLine"]

SELDOM_SECONDS = 20.0
"""Between two pictures, and between two writes of a report that is one of many; the last is always made."""


class RoundLine(BaseModel):
    """A round: how the participant's own training went, and how good its model was afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    round: Annotated[int, Field(ge=1)]
    train: TrainResult | None = None
    test: Evaluation | None = None
    updates: int | None = None
    """How many updates a server aggregated."""
    epsilon: float | None = None
    """What a client of a private job has spent, this round's training included."""


class Report(BaseModel):
    """What one participant saw of a job, round by round: its own claims, which nobody can recompute.

    A notebook shows it as a picture.

    Example:
        >>> import galaxy_fl as galaxy
        >>> galaxy.Report.read("report_1_server.json").rounds[-1].test.loss  # doctest: +SKIP
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    job: str
    """Its id where it is."""
    document: str
    """SHA-256 of its document, in hexadecimal, which tells it from other jobs of the same id."""
    name: str
    participant: str
    rounds: list[RoundLine] = []
    best: BestRound | None = None
    """The round whose model a server has kept as the best."""
    final_model: str | None = None
    """SHA-256 of the final model's vector, in hexadecimal; None until there is one."""

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Report:
        """Read a participant's report, its JSON file.

        Raises:
            ConfigurationError: there is none, or it is not such a file.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise ConfigurationError(f"the report {path} can't be read: {error.strerror}") from error
        except ValidationError as error:
            raise ConfigurationError(f"{path} is not a participant's report: {explain(error):.200}") from error

    def __repr__(self) -> str:
        return f"Report(job={self.job!r}, participant={self.participant!r}, rounds={len(self.rounds)})"

    def _repr_svg_(self) -> str | None:
        return drawn(self) if self.rounds else None


class ReportFile:
    """A listener that keeps a report in `<path>.json` and `<path>.svg`: the first is written after every round, the
    picture every 20 seconds and at the end. One of a program that hosts hundreds has no picture, and is written as
    seldom.

    A report of the same job and participant that is there already is continued.

    Args:
        path: The files', without their suffixes.
        job: The job's id where it is.
        document: SHA-256 of its document, in hexadecimal.
        name: The job's.
        participant: Whose report it is.
        hosted: Whether it is one of many of a program.

    Raises:
        OSError: the files can't be written.
    """

    def __init__(self, path: Path, job: str, document: str, name: str, participant: str, hosted: bool = False) -> None:
        self._path = path
        self._hosted = hosted
        self._drawn = time.monotonic()
        """When what is not written after every round was last."""
        self._behind = False
        """Whether the file lacks something."""
        self.report = Report(job=job, document=document, name=name, participant=participant)
        try:
            kept = Report.model_validate_json(self._file(".json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return
        if (kept.document, kept.participant) == (document, participant):
            self.report = kept

    @property
    def path(self) -> Path:
        """The JSON file."""
        return self._file(".json")

    def __call__(self, event: Event, job: str) -> None:
        match event:
            case events.Spent():
                self._line(event.round).epsilon = event.epsilon
            case events.Trained():
                self._line(event.round).train = TrainResult(**_fields(event, TrainResult))
            case events.Evaluated():
                self._line(event.round).test = Evaluation(**_fields(event, Evaluation))
            case events.Committed():
                line = self._line(event.round)
                line.updates, line.test = event.updates, None
                if event.loss is not None and event.test_samples is not None:
                    line.test = Evaluation(samples=event.test_samples, **_fields(event, Evaluation, "samples"))
            case events.Best():
                best = {"round": event.round, "metric": event.metric, "value": event.value, "sha256": event.sha256}
                self.report.best = BestRound.model_validate(best)
            case events.Finished():
                self.report.final_model = event.sha256
            case (
                events.Started() | events.Training() | events.Exhausted() | events.Waiting() | events.Collecting()
                | events.Reopened() | events.Ending() | events.Challenged() | events.Cancelled() | events.Staying()
                | events.Leaving()
                | events.Paid() | events.Noted() | events.Status() | events.Opened() | events.Looking()
                | events.Unreachable() | events.Retrying() | events.Failed()
            ):  # fmt: skip
                return
            case _:
                assert_never(event)
        self._write(last=isinstance(event, events.Finished))

    def close(self) -> None:
        """Write what is not written yet.

        Raises:
            OSError: it can't be.
        """
        if self._behind:
            self._write(last=True)

    def _line(self, round: int) -> RoundLine:
        lines = self.report.rounds
        for line in lines:
            if line.round == round:
                return line
        lines.append(RoundLine(round=round))
        lines.sort(key=lambda line: line.round)
        return self._line(round)

    def _write(self, last: bool) -> None:
        self._behind = True
        due = last or time.monotonic() - self._drawn > SELDOM_SECONDS
        if self._hosted and not due:
            return
        text = self.report.model_dump_json(indent=2) + "\n"
        with handing_over(self._file(".json")) as new:  # not synced: whatever a loss of power takes is told again
            new.write_text(text, encoding="utf-8")
        self._behind = False
        if not due:
            return
        # Whoever comes after the end has measured nothing, so there are no curves.
        if self.report.rounds and not self._hosted:
            with replacing(self._file(".svg")) as new:
                new.write_text(drawn(self.report), encoding="utf-8")
        self._drawn = time.monotonic()

    def _file(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)


def _fields(event: BaseModel, of: type[BaseModel], *apart: str) -> dict[str, Any]:
    return {name: getattr(event, name) for name in of.model_fields if name not in apart}


def drawn(report: Report) -> str:
    """Return the picture of a report that has rounds, as SVG."""
    losses, accuracies = _curves(report.rounds, "loss", 1), _curves(report.rounds, "accuracy", 100)
    # It may be negative, as PoissonNLLLoss is.
    below = any(value < 0 for _, _, points in losses for _, value in points)
    panels = [("loss", losses, None if below else 0.0, None), ("accuracy in %", accuracies, None, 101.0)]
    # Not the job's name: it is a stranger's, and not every font has its letters.
    return draw(f"Job {report.job}, {report.participant}", report.rounds[-1].round, panels)


def _curves(rounds: list[RoundLine], measure: str, scale: float) -> list[Curve]:
    found: list[Curve] = []
    for kind, colour in (("train", "#4477aa"), ("test", "#ee6677")):
        measured = [(line.round, getattr(getattr(line, kind), measure, None)) for line in rounds]
        found.append((kind, colour, [(round, scale * value) for round, value in measured if value is not None]))
    return found
