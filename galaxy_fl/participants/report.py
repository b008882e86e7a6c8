"""Evaluation reports: what a participant saw of a job, round by round, as JSON and as a picture."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_fl.files import replacing, write_durably
from galaxy_fl.training.results import Evaluation, TrainResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Report", "ReportFile", "RoundLine"]

DRAW_SECONDS = 5.0
"""Between two pictures, each of which takes a fraction of a second; the final one is always drawn."""
_drawing = threading.Lock()  # matplotlib's fonts and caches are shared by all threads


class RoundLine(BaseModel):
    """A round: how the participant's own training went, and how good its model was afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    round: Annotated[int, Field(ge=1)]
    train: TrainResult | None = None
    test: Evaluation | None = None
    updates: int | None = None
    """How many updates a server aggregated."""


class Report(BaseModel):
    """What is in the JSON file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    job: str
    """Its id where it is."""
    document: str
    """The content id of its document, which tells it from other jobs of the same id."""
    name: str
    participant: str
    rounds: list[RoundLine] = []
    final_model: str | None = None
    """SHA-256 of the final model's vector, in hexadecimal; None until there is one."""


class ReportFile:
    """A report in `<path>.json` and `<path>.png`, written afresh when something is added; the picture every few
    seconds, and at the end.

    What is there already of the same job and participant is gone on with.

    Raises:
        OSError: the files can't be written.
    """

    def __init__(self, path: Path, job: str, document: str, name: str, participant: str) -> None:
        self._path = path
        self._drawn = -math.inf
        self.report = Report(job=job, document=document, name=name, participant=participant)
        try:
            kept = Report.model_validate_json(self._file(".json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return
        if (kept.document, kept.participant) == (document, participant):
            self.report = kept

    def trained(self, round: int, result: TrainResult) -> None:
        """The participant has trained in a round."""
        self._line(round).train = result
        self._write()

    def tested(self, round: int, evaluation: Evaluation) -> None:
        """The model after a round was evaluated."""
        self._line(round).test = evaluation
        self._write()

    def aggregated(self, round: int, updates: int, evaluation: Evaluation | None) -> None:
        """A server has committed the model of a round, and evaluated it if it has test data."""
        line = self._line(round)
        line.updates, line.test = updates, evaluation
        self._write()

    def finished(self, final_model: str) -> None:
        """There is a final model, of that hash."""
        self.report.final_model = final_model
        self._write()

    def _line(self, round: int) -> RoundLine:
        lines = self.report.rounds
        for line in lines:
            if line.round == round:
                return line
        lines.append(RoundLine(round=round))
        lines.sort(key=lambda line: line.round)
        return self._line(round)

    def _write(self) -> None:
        text = self.report.model_dump_json(indent=2) + "\n"
        write_durably(self._file(".json"), text)
        now = time.monotonic()
        if self.report.final_model is not None or now - self._drawn > DRAW_SECONDS:
            with replacing(self._file(".png")) as new:
                _draw(self.report, new)
            self._drawn = time.monotonic()

    def _file(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)


def _draw(report: Report, path: Path) -> None:
    with _drawing:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        # Not the job's name: it is a stranger's, and not every font has its letters.
        figure.suptitle(f"Job {report.job}, {report.participant}", fontsize=11, parse_math=False)
        loss, accuracy = figure.subplots(1, 2)
        _curves(loss, report.rounds, "loss", 1)
        _curves(accuracy, report.rounds, "accuracy", 100)
        loss.set_ylabel("loss")
        accuracy.set_ylabel("accuracy in %")
        if loss.get_ylim()[0] >= 0:  # it may be negative, as PoissonNLLLoss is
            loss.set_ylim(bottom=0)
        accuracy.set_ylim(top=101)
        figure.savefig(path, format="png")


def _curves(axes: Axes, rounds: list[RoundLine], measure: str, scale: float) -> None:
    from matplotlib.ticker import MaxNLocator

    for kind, colour, marker in (("train", "#4477aa", "o"), ("test", "#ee6677", "s")):
        measured = [(line.round, getattr(getattr(line, kind), measure, None)) for line in rounds]
        points = [(round, scale * value) for round, value in measured if value is not None]
        if points:
            size = 5 if len(points) <= 30 else 0
            axes.plot(
                *zip(*points, strict=True), color=colour, marker=marker, markersize=size, linewidth=1.8, label=kind
            )
    axes.set_xlabel("round")
    axes.set_xlim(0.5, rounds[-1].round + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False)
    else:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color="#888888")
