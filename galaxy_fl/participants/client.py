"""The public client: takes part in every job that it finds where it looks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.interrupts import interrupts_are_heard
from galaxy_fl.jobs.main_guard import expect_program
from galaxy_fl.modes.mode import At, ClientPlace, meeting
from galaxy_fl.participants.console import Console
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import Listener
from galaxy_fl.participants.job_client import JobClient
from galaxy_fl.participants.participant import Outcome
from galaxy_fl.participants.participation import (
    STOPPED,
    Participation,
    check_common,
    mode_settings,
    raise_if_all_failed,
    several,
    taking_part,
)
from galaxy_fl.trust import Trust
from galaxy_fl.worker import forkserver

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

__all__ = ["Client"]


class Client:
    """A client of all the jobs where it looks, each in a thread and a worker process of its own.

    Args:
        data: What to train on: a torch Dataset of (sample, target), or the name of one: `digits`, `mnist`,
            `fashion-mnist`, `cifar-10`, or `module:function`.
        at: Where to look for jobs: None for the working directory, a folder, the URL of a cluster's server, or an
            object such as `galaxy_chain.Ledger`; or a list of several.
        name: The client's name; clients that share a folder or a server each need one of their own. On a ledger the
            account is the name, and this one only distinguishes reports. None for `0`, or the account.
        test_data: What to evaluate each model on: a Dataset, or a name, of which the test split is used.
        accuracy: Called with a model's output and the targets of a batch, returns the fraction that is right; or
            `module:function`, where to import it from; None for the usual one, where targets are class labels.
        device: Torch device: cpu, cuda, mps, ….
        threads: Torch threads of each job; more than one may change the last bits.
        concurrency: How many jobs train at a time. Jobs that wait for others are not counted.
        trust: What is trusted beside GALAXY_TRUST and galaxy.toml; see `galaxy_fl.trust`.
        shard, partition, partition_seed, data_root: For named data: which part, as in `1/4`; how it is divided, and
            from which seed; where its files are.
        output: Folder for final models and reports.
        listeners: Functions that take each event (`galaxy_fl.events`) and the id of its job; the default prints lines
            for people.
        settings: Settings of the mode, such as `jobs` (the ids of those to take part in) or `authority` of a cluster;
            see docs/migration.md.

    Example:
        >>> import galaxy_fl as galaxy
        >>> client = galaxy.Client(data="digits", shard="1/2", name="1", test_data="digits")
        >>> client
        <Client 1 at .>
        >>> outcomes = client.run()  # doctest: +SKIP
    """

    def __init__(
        self,
        data: Dataset[Any] | str,
        *,
        at: At | Sequence[At] = None,
        name: str | None = None,
        test_data: Dataset[Any] | str | None = None,
        accuracy: Callable[[Tensor, Tensor], float] | str | None = None,
        device: str = "cpu",
        threads: int = 1,
        concurrency: int = 5,
        trust: Iterable[str] = (),
        shard: str = "1/1",
        partition: str = "iid",
        partition_seed: int = 0,
        data_root: str | PathLike[str] | None = None,
        output: str | PathLike[str] = ".",
        listeners: Sequence[Listener] | None = None,
        **settings: Any,
    ) -> None:
        if data is None:
            raise ConfigurationError("there are no data to train on: give data=… a torch Dataset or a name")
        check_common(name, trust, listeners)
        if type(concurrency) is not int or concurrency < 1:
            raise ConfigurationError(f"concurrency is {concurrency!r}, expected a whole number from 1 on")
        root = None if data_root is None else str(data_root)
        self._data = LocalData(data, test_data, accuracy, device, threads, shard, partition, partition_seed, root)
        self._trust = tuple(trust)
        self._meetings = [(meeting(one), mode_settings(one, self._trust, settings)) for one in several(at)]
        self._name = name
        self._concurrency = concurrency
        self._output = Path(output)
        self._listeners: Sequence[Listener] = (Console(),) if listeners is None else tuple(listeners)

    def __repr__(self) -> str:
        return f"<Client {self._name or '0'} at {', '.join(str(mode) for mode, _ in self._meetings)}>"

    def run(self, forever: bool = False) -> list[Outcome]:
        """Take part in jobs as they appear, until all that were seen, at least one, are over.

        A job that was over before is not seen, and the next one is waited for, unless `jobs` names it: then its model
        is taken, and on a ledger what was earned. A job that fails is given up; the others continue. Each leaves
        `final_model_pars_<job>`, the same with `.safetensors`, and a report with its picture in the output folder.

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
            return raise_if_all_failed(self.take_part(forever))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(STOPPED) from None  # without a trace of where it waited

    @interrupts_are_heard()
    def take_part(self, forever: bool = False) -> list[Outcome]:
        """Do as `run`, and only tell in the outcomes which jobs were given up."""
        expect_program()
        trust = Trust.load(self._trust)
        places: list[ClientPlace] = []
        for mode, settings in self._meetings:
            places += mode.client_places(self._name or "0", **settings)
        if not places:
            raise ConfigurationError("there is no place to look for jobs in: say where, at=…")
        forkserver.start()  # it loads torch while jobs are looked for
        take_part = taking_part(
            JobClient,
            self._data,
            trust,
            name=self._name,
            output=self._output,
            listeners=self._listeners,
            turn=threading.BoundedSemaphore(self._concurrency),
        )
        return Participation(places, take_part, self._listeners).run(forever)
