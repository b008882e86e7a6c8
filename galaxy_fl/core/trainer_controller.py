"""A client: takes part in every job that it finds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxy_fl.core.strategy import WorkModeStrategy
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.files import is_name
from galaxy_fl.jobs.main_guard import expect_program
from galaxy_fl.modes.mode import ClientPlace, find_mode
from galaxy_fl.participants.giving_up import giving_up
from galaxy_fl.participants.local import LocalData, LocalJob, quality
from galaxy_fl.participants.participation import Participation
from galaxy_fl.participants.work import Work
from galaxy_fl.rounds.client import ClientReport, run_client
from galaxy_fl.rounds.coordinator import Phase, Round
from galaxy_fl.training.results import TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.trust import Trust
from galaxy_fl.worker import forkserver

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

__all__ = ["TrainerController"]


class TrainerController:
    """A client of all the jobs in its places, each in a thread and a worker process of its own.

    Args:
        work_mode: Where to look for jobs: a `WorkModeStrategy`; or several; or, for settings of their own, a mapping
            from modes to settings.
        data: What to train on: a torch Dataset of (sample, target), or the name of a data set: `digits`, `mnist`,
            `fashion-mnist`, `cifar-10`, or `module:function`.
        client_id: This client's name: clients that share a folder or a server each need one of their own. On a ledger
            the account is the name.
        client_ip, client_port: PFL's; accepted and not used, for no server ever connects to a client.
        server_url: Of a cluster's server, `http://host:port`; or several.
        concurrent_num: How many jobs train at a time. Jobs that wait for others are not counted.
        test_data: What to evaluate each model on; likewise a Dataset, or a name, of which the test split is used.
        accuracy: Called with a model's output and the targets of a batch, gives the fraction that is right; None for
            the usual one, where targets are class labels.
        device: Of torch: `cpu`, `cuda`, `mps`, …
        threads: Of torch, for each job; more than one may change the last bits.
        trust: What is trusted beside GALAXY_TRUST and galaxy.toml: see `galaxy_fl.trust`.
        shard, partition, data_root: Of named data: which part, as in `1/4`; how it is divided; where its files are.
        settings: Of the modes, such as `rpc` and `account` of a ledger: see docs/migration.md.
    """

    def __init__(
        self,
        work_mode: str | Sequence[str] | Mapping[str, Mapping[str, Any]] = WorkModeStrategy.WORKMODE_STANDALONE,
        data: Dataset[Any] | str | None = None,
        client_id: int | str = 0,
        client_ip: str = "",
        client_port: int = 8081,
        server_url: str | Sequence[str] = "",
        concurrent_num: int = 5,
        *,
        test_data: Dataset[Any] | str | None = None,
        accuracy: Callable[[Tensor, Tensor], float] | None = None,
        device: str = "cpu",
        threads: int = 1,
        trust: Iterable[str] = (),
        shard: str = "1/1",
        partition: str = "iid",
        data_root: str | None = None,
        **settings: Any,
    ) -> None:
        self.work_mode = work_mode
        self.data = data
        self.client_id = client_id
        self.client_ip = client_ip
        self.client_port = client_port
        self.server_url = server_url
        self.concurrent_num = concurrent_num
        self._local = partial(
            LocalData,
            test_data=test_data,
            accuracy=accuracy,
            device=device,
            threads=threads,
            shard=shard,
            partition=partition,
            root=data_root,
        )
        self._trust = tuple(trust)
        self._settings = settings

    def start(self, until_done: bool = False) -> None:
        """Takes part in jobs as they appear, until it is interrupted.

        A job that fails is given up, said on standard error with its reason; the others go on.

        Args:
            until_done: Return when all jobs that were seen, at least one, are over.

        Raises:
            PFLException: there are no data, or an argument is out of range.
            ConfigurationError: a setting is wrong, or an entry of the trusted.
            SystemExit: with 130, after Ctrl-C; `until_done`, where all jobs were given up, with the exit code of the
                first error.
        """
        expect_program()
        if self.data is None:
            raise PFLException(
                "there are no data to train on: give TrainerController(data=…) a torch Dataset or a name"
            )
        if not is_name(name := str(self.client_id)):
            raise PFLException(f"client_id is {name!r}, expected letters, digits, dots, hyphens and underscores")
        if type(self.concurrent_num) is not int or self.concurrent_num < 1:
            raise PFLException(f"concurrent_num is {self.concurrent_num!r}, expected a whole number from 1 on")
        trust = Trust.load(self._trust)
        places = self._places(name)
        forkserver.start()  # it loads torch while jobs are looked for
        client = _Client(name, self._local(self.data), trust, threading.BoundedSemaphore(self.concurrent_num))
        Participation(places, client.take_part).run_program(until_done)

    def _places(self, name: str) -> list[ClientPlace]:
        modes = [self.work_mode] if isinstance(self.work_mode, str) else list(self.work_mode)
        own: Mapping[str, Mapping[str, Any]] = self.work_mode if isinstance(self.work_mode, Mapping) else {}
        places: list[ClientPlace] = []
        for mode in modes:
            settings = self._settings | dict(own.get(mode, {}))
            if mode == WorkModeStrategy.WORKMODE_CLUSTER and self.server_url:
                settings |= {"server_url": self.server_url}
            if mode == WorkModeStrategy.WORKMODE_BLOCKCHAIN:
                settings |= {"trust": self._trust}
            places += find_mode(mode).client_places(name, **settings)
        if not places:
            raise ConfigurationError(
                "there is no place to look for jobs in: name a work_mode, and a cluster's server_url"
            )
        return places


class _Client:
    """What all jobs of a client share: its name, its data, whom it trusts, and the turns to train."""

    def __init__(self, name: str, data: LocalData, trust: Trust, turns: threading.BoundedSemaphore) -> None:
        self._name = name
        self._data = data
        self._trust = trust
        self._turns = turns

    def take_part(self, place: ClientPlace, job_id: str, work: Work) -> None:
        """Takes part in a job until it is over."""
        with closing(place.open(job_id)) as coordinator, giving_up(coordinator), work.worker() as worker:
            # In a folder the clients may share, each of a distillation's keeps its own student.
            own = f"_{self._name}" if coordinator.job.distils and coordinator.origin.own else ""
            job = LocalJob(coordinator, worker, work, f"client_{self._name}", own)
            samples = job.prepare(self._data, self._trust, self._turns)
            job.say(f"client {self._name} takes part with {samples} samples")

            def report(done: ClientReport) -> None:
                late = "" if done.gas is not None else ", too late"
                with job.section():
                    job.report.trained(done.round.number, done.result)
                job.say(
                    f"round {done.round.number}: trained on {done.result.samples} samples in "
                    f"{done.result.seconds:.2f} s, {quality(done.result)}{late}"
                )

            def waiting(round: Round) -> None:
                others = "the other clients" if round.phase is Phase.COLLECTING else "the server"
                job.waits(f"round {round.number}: waiting for {others}")

            def model(rounds: int, vector: Path) -> None:
                with self._turns:
                    evaluation = job.evaluate(vector)
                if evaluation is not None:
                    with job.section():
                        job.report.tested(rounds, evaluation)
                    job.say(f"after round {rounds}: {quality(evaluation)} on {evaluation.samples} test samples")
                if rounds == coordinator.rounds:
                    job.keep(vector)

            trainer = _InTurn(job, self._turns)
            job.ended(run_client(coordinator, trainer, samples, report, waiting, model, job.trained))


class _InTurn:
    """A trainer that trains when it is its turn."""

    def __init__(self, job: LocalJob, turns: threading.BoundedSemaphore) -> None:
        self._job = job
        self._turns = turns

    def train(self, task: TrainTask) -> TrainResult:
        with self._turns:
            return self._job.train(task)
