"""The public server: serves every job where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.interrupts import interrupts_are_heard
from galaxy_fl.jobs.main_guard import expect_program
from galaxy_fl.modes.mode import At, meeting
from galaxy_fl.participants.aim import Aim
from galaxy_fl.participants.console import Console
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import Listener, Opened
from galaxy_fl.participants.job_server import JobServer
from galaxy_fl.participants.participant import Outcome, Outcomes
from galaxy_fl.participants.participation import (
    STOPPED,
    Participation,
    check_common,
    mode_settings,
    raise_if_all_failed,
    taking_part,
)
from galaxy_fl.participants.tracking import Tracker, tracking
from galaxy_fl.trust import Trust
from galaxy_fl.worker import forkserver

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

__all__ = ["Server"]


class Server:
    """A server of all the jobs of a place, each in a thread of its own.

    Args:
        at: Where it serves: None for the working directory, a folder, the URL at which it listens for a cluster's
            clients, such as `http://0.0.0.0:9763`, or an object such as `galaxy_chain.Ledger`.
        name: Distinguishes its reports from those of other servers in the folder; None for its account on a ledger.
        test_data: What to evaluate each model on: a torch Dataset, or a name, of which the test split is used; None for
            no evaluation.
        accuracy: Called with a model's output and the targets of a batch, returns the fraction that is right; or
            `module:function`, where to import it from; None for the usual one, where targets are class labels.
        device: Torch device of the evaluation: cpu, cuda, cuda:1, mps, ….
        threads: Torch threads of the evaluation.
        trust: What is trusted beside GALAXY_TRUST and galaxy.toml, for models whose source is not this server's.
        data_root: Where the files of named data are.
        output: Folder for final models and reports.
        listeners: Functions that take each event (`galaxy_fl.events`) and the id of its job; the default prints lines
            for people.
        best: Measure by which the best model is kept, as `best_model_pars_<job>` beside the final one: `"accuracy"`,
            `"loss"`, or another that `test_data` are measured by, with what is better: `"f1:max"`. None to keep none.
        stop_when: Condition with which a job is ended early, such as `"accuracy>=0.95"` or `"loss<=0.1"`, or several,
            of which one is enough. On a ledger that takes the account of the job's owner.
        patience: Rounds in a row without a better model, by `best`, after which a job is ended early; None for any
            number.
        track: Where to write what is measured, round by round: `"tensorboard:DIR"`, `"mlflow:URI"`, `"csv:FILE"`, or
            several.
        settings: Settings of the mode, such as `certificate` and `key` of a cluster; see docs/migration.md.

    Example:
        >>> import galaxy_fl as galaxy
        >>> server = galaxy.Server(at="http://0.0.0.0:9763", test_data="digits")
        >>> server
        <Server at http://0.0.0.0:9763>
        >>> outcomes = server.run()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        at: At = None,
        name: str | None = None,
        test_data: Dataset[Any] | str | None = None,
        accuracy: Callable[[Tensor, Tensor], float] | str | None = None,
        device: str = "cpu",
        threads: int = 1,
        trust: Iterable[str] = (),
        data_root: str | PathLike[str] | None = None,
        output: str | PathLike[str] = ".",
        listeners: Sequence[Listener] | None = None,
        best: str | None = None,
        stop_when: str | Sequence[str] = (),
        patience: int | None = None,
        track: str | Sequence[str] = (),
        **settings: Any,
    ) -> None:
        check_common(name or None, trust, listeners)  # "": a report without a name
        self._aim = Aim.of(best, stop_when, patience)
        if self._aim and test_data is None:
            raise ConfigurationError(
                "best, stop_when and patience go by what the server measures: give it test data (test_data=…)"
            )
        self._track = track
        root = None if data_root is None else str(data_root)
        self._data = None if test_data is None else LocalData(None, test_data, accuracy, device, threads, root=root)
        self._trust = tuple(trust)
        self._mode = meeting(at)
        self._settings = mode_settings(at, self._trust, settings)
        self._name = name
        self._output = Path(output)
        self._listeners: Sequence[Listener] = (Console(),) if listeners is None else tuple(listeners)

    def __repr__(self) -> str:
        return f"<Server at {self._mode}>"

    def run(self, forever: bool = False) -> list[Outcome]:
        """Serve jobs as they appear, until all that were seen, at least one, are over.

        On a ledger that includes that the bond which answers for them is free, unless the ledger is told to leave. A
        job that fails is given up; the others continue. Each leaves `final_model_pars_<job>`, the same with
        `.safetensors`, and a report with its picture in the output folder.

        Args:
            forever: Continue to look for jobs until it is interrupted.

        Returns:
            How each job ended, in the order in which they did.

        Raises:
            ConfigurationError: a setting is wrong, or an entry of the trusted.
            GalaxyError: all jobs were given up; the first error.
            KeyboardInterrupt: it was interrupted, and has been closed. Called again, it continues where it was.
        """
        try:
            return Outcomes(raise_if_all_failed(self.serve(forever)))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(STOPPED) from None  # without a trace of where it waited

    @interrupts_are_heard()
    def serve(self, forever: bool = False) -> list[Outcome]:
        """Do as `run`, and only tell in the outcomes which jobs were given up."""
        expect_program()
        trust = Trust.load(self._trust)
        with tracking(self._track) as trackers:
            return self._serve(trust, trackers, forever)

    def _serve(self, trust: Trust, trackers: Sequence[Tracker], forever: bool) -> list[Outcome]:
        place = self._mode.server_place(**self._settings)
        for listener in self._listeners:
            listener(Opened(role="server", places=[place.name]), "")
        if self._data is not None:
            forkserver.start()  # it loads torch while jobs are looked for; without data only a final model needs it
        serve = taking_part(
            JobServer,
            self._data,
            trust,
            name=self._name,
            output=self._output,
            listeners=self._listeners,
            track=trackers,
            aim=self._aim,
        )
        return Participation([place], serve, self._listeners).run(forever)
