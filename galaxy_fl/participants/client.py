"""The public client: takes part in every job that it finds where it looks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import allow_open_files, check_name
from galaxy_fl.interrupts import interrupts_are_heard
from galaxy_fl.jobs.main_guard import expect_program
from galaxy_fl.modes.mode import At, ClientPlace, meeting, places_of
from galaxy_fl.participants.console import Console
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import Listener
from galaxy_fl.participants.group_console import GroupConsole
from galaxy_fl.participants.guard import check_budget
from galaxy_fl.participants.job_client import JobClient
from galaxy_fl.participants.participant import Outcome, Outcomes
from galaxy_fl.participants.participation import (
    STOPPED,
    Participation,
    check_common,
    mode_settings,
    raise_if_all_failed,
    several,
    taking_part,
)
from galaxy_fl.participants.telling import listeners_of
from galaxy_fl.participants.tracking import Tracker, tracking
from galaxy_fl.participants.work import Work
from galaxy_fl.trust import Trust
from galaxy_fl.worker import forkserver
from galaxy_fl.worker.pool import check_workers

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

__all__ = ["Client"]

FILES_OF_A_CLIENT = 8
"""Locks and connections that a client may have open at a place, and some to spare."""

TakePart = Callable[[ClientPlace, str, Work], Outcome]


class Client:
    """A client of all the jobs where it looks, or several clients that share the program's processes.

    It takes part in each job in a thread of its own, and worker processes train for all of them.

    Args:
        data: What to train on: a torch Dataset of (input, target), or of whatever the job's model takes; or the name of
            one: `digits`, `mnist`, `fashion-mnist`, `cifar-10`, or `module:function`. A DataLoader is taken for its
            data set.
        at: Where to look for jobs: None for the working directory, a folder, the URL of a cluster's server, or an
            object such as `galaxy_chain.Ledger`; or a list of several.
        name: The client's name; clients that share a folder or a server each need one of their own. On a ledger the
            account is the name, and this one only distinguishes reports. None for `0`, or the account.
        test_data: What to evaluate each model on: a Dataset, or a name, of which the test split is used.
        accuracy: Called with a model's output and the targets of a batch, returns the fraction that is right; or
            `module:function`, where to import it from; None for the usual one, where targets are class labels.
        device: Torch device: cpu, cuda, cuda:1, mps, ….
        threads: Torch threads of each job; more than one may change the last bits.
        concurrency: In how many jobs a client trains at a time, as far as there are workers. Jobs that wait for others
            are not counted.
        trust: What is trusted beside GALAXY_TRUST and galaxy.toml; see `galaxy_fl.trust`.
        shard, partition, partition_seed, data_root: For named data: which part, as in `1/4`; how it is divided, and
            from which seed; where its files are.
        shards: Instead of `shard`, for several clients in this one program: their parts, as in `1-100/100`, or a list.
            A client is called by the number of its part, after `name` and a hyphen if there is one. A Dataset is
            divided likewise. Reports then have no picture.
        stop_at_epsilon: In private jobs, the epsilon that this client spends in each at most, where the job's own
            budget is not smaller: then its part ends, and the job goes on. Jobs that are not private are refused. See
            docs/privacy.md.
        workers: How many processes train at a time; None for as many as there are processors.
        output: Folder for final models and reports.
        listeners: Functions that take each event (`galaxy_fl.events`) and the id of its job; the default prints lines
            for people, with `shards` one a round for all clients. Of one with a method `of`, each of several clients
            tells the listener that `of` returns for its name.
        track: Where to write what is measured, round by round: `"tensorboard:DIR"`, `"mlflow:URI"`, `"csv:FILE"`, or
            several. Each client of `shards` is a run of its own.
        settings: Settings of the mode, such as `jobs` (the ids of those to take part in) or `authority` of a cluster;
            see docs/migration.md.

    Example:
        >>> import galaxy_fl as galaxy
        >>> client = galaxy.Client(data="digits", shard="1/2", name="1", test_data="digits")
        >>> client
        <Client 1 at .>
        >>> outcomes = client.run()  # doctest: +SKIP
        >>> galaxy.Client(data="digits", shards="1-100/100", name="hospital")
        <Client hospital-1 to hospital-100 at .>
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
        shards: str | Sequence[str] | None = None,
        stop_at_epsilon: float | None = None,
        workers: int | None = None,
        output: str | PathLike[str] = ".",
        listeners: Sequence[Listener] | None = None,
        track: str | Sequence[str] = (),
        **settings: Any,
    ) -> None:
        if data is None:
            raise ConfigurationError("there are no data to train on: give data=… a torch Dataset or a name")
        check_common(name, trust, listeners)
        if type(concurrency) is not int or concurrency < 1:
            raise ConfigurationError(f"concurrency is {concurrency!r}, expected a whole number from 1 on")
        check_workers(workers)
        check_budget(stop_at_epsilon)
        root = None if data_root is None else str(data_root)
        here = "iid" if shards is not None and not isinstance(data, str) else partition
        whole = LocalData(data, test_data, accuracy, device, threads, shard, here, partition_seed, root)
        self._clients = {name or "0": whole} if shards is None else _named(whole.parts(shards, partition), name)
        self._hosts = shards is not None
        self._workers = workers
        self._stop_at_epsilon = stop_at_epsilon
        self._trust = tuple(trust)
        self._meetings = [(meeting(one), mode_settings(one, self._trust, settings)) for one in several(at)]
        self._name = name
        self._concurrency = concurrency
        self._output = Path(output)
        self._track = track
        self._group = GroupConsole(len(self._clients)) if self._hosts and listeners is None else None
        self._listeners: Sequence[Listener] = (self._group or Console(),) if listeners is None else tuple(listeners)

    def __repr__(self) -> str:
        names = list(self._clients)
        who = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        return f"<Client {who} at {', '.join(str(mode) for mode, _ in self._meetings)}>"

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
            return Outcomes(raise_if_all_failed(self.take_part(forever)))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(STOPPED) from None  # without a trace of where it waited

    @interrupts_are_heard()
    def take_part(self, forever: bool = False) -> list[Outcome]:
        """Do as `run`, and only tell in the outcomes which jobs were given up."""
        expect_program()
        trust = Trust.load(self._trust)
        with tracking(self._track) as trackers:
            return self._take_part(trust, trackers, forever)

    def _take_part(self, trust: Trust, trackers: Sequence[Tracker], forever: bool) -> list[Outcome]:
        take_part: dict[ClientPlace, TakePart] = {}
        clients: list[str] = []
        turns = {client: threading.BoundedSemaphore(self._concurrency) for client in self._clients}
        for mode, settings in self._meetings:
            found = places_of(mode, list(self._clients), **settings)
            for (client, data), places in zip(self._clients.items(), found, strict=True):
                for place in places:
                    take_part[place] = self._taking_part(client, data, trust, turns[client], trackers)
                    clients.append(client)
        allow_open_files(FILES_OF_A_CLIENT * len(take_part))
        if not take_part:
            raise ConfigurationError("there is no place to look for jobs in: say where, at=…")
        forkserver.start()  # it loads torch while jobs are looked for
        work = Work(self._workers)
        with nullcontext() if self._group is None else closing(self._group):
            return Participation(
                list(take_part),
                lambda place, job_id, work: take_part[place](place, job_id, work),
                self._listeners,
                work,
                clients if self._hosts else None,
            ).run(forever)

    def _taking_part(
        self,
        client: str,
        data: LocalData,
        trust: Trust,
        turn: threading.BoundedSemaphore,
        trackers: Sequence[Tracker],
    ) -> TakePart:
        listeners = listeners_of(self._listeners, client) if self._hosts else self._listeners
        return taking_part(
            JobClient,
            data,
            trust,
            name=client if self._hosts else self._name,
            output=self._output,
            listeners=listeners,
            track=trackers,
            turn=turn,
            stop_at_epsilon=self._stop_at_epsilon,
            hosted=client if self._hosts else "",
        )


def _named(parts: Mapping[str, LocalData], prefix: str | None) -> dict[str, LocalData]:
    """Return parts of data by the names of their clients."""
    before = "" if prefix is None else f"{prefix}-"
    named = {before + shard.partition("/")[0]: part for shard, part in parts.items()}
    for name in named:
        check_name("name", name)  # with a long prefix it may be too long
    return named
