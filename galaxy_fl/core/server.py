"""Servers: each serves every job of its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from galaxy_fl.core.strategy import FederateStrategy, WorkModeStrategy
from galaxy_fl.exceptions import GalaxyError
from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.jobs.main_guard import expect_program
from galaxy_fl.modes.mode import ServerPlace, find_mode
from galaxy_fl.participants.giving_up import giving_up
from galaxy_fl.participants.local import LocalData, LocalJob, quality
from galaxy_fl.participants.participation import Participation, say
from galaxy_fl.participants.work import Work
from galaxy_fl.rounds.coordinator import Phase, Round
from galaxy_fl.rounds.server import ServerReport, run_server
from galaxy_fl.trust import Trust
from galaxy_fl.worker import forkserver

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

__all__ = ["FLChainServer", "FLClusterServer", "FLServer", "FLStandaloneServer"]


class FLServer:
    """A server of all the jobs of a place, each in a thread of its own.

    Args:
        federate_strategy: PFL's; only shown, for each job says itself what becomes of its models.
        mode: Where it serves, a `WorkModeStrategy`.
        test_data: What to evaluate each model on: a torch Dataset, or a name, of which the test split is used; None for
            no evaluation.
        accuracy: Called with a model's output and the targets of a batch, gives the fraction that is right; None for
            the usual one, where targets are class labels.
        device: Of torch, for the evaluation.
        trust: What is trusted beside GALAXY_TRUST and galaxy.toml, for models whose source is not this server's.
        settings: Of the mode: see docs/migration.md.

    Raises:
        PFLException: there is no such strategy.
    """

    def __init__(
        self,
        federate_strategy: str,
        mode: str,
        *,
        test_data: Dataset[Any] | str | None = None,
        accuracy: Callable[[Tensor, Tensor], float] | None = None,
        device: str = "cpu",
        trust: Iterable[str] = (),
        **settings: Any,
    ) -> None:
        if federate_strategy not in list(FederateStrategy):
            raise PFLException("federate strategy not found")
        self.federate_strategy = FederateStrategy(federate_strategy)
        self._mode = mode
        # There is nothing to train: the worker gets the test data as those, too.
        self._data = None if test_data is None else LocalData(test_data, test_data, accuracy, device, trains=False)
        self._trust = tuple(trust)
        self._settings = settings

    def start(self, until_done: bool = False) -> None:
        """Serves jobs as they appear, until it is interrupted.

        A job that fails is given up, said on standard error with its reason; the others go on.

        Args:
            until_done: Return when all jobs that were seen, at least one, are over; on a ledger, when the bond that
                answers for them is free, too, unless the setting `leave` is given.

        Raises:
            ConfigurationError: a setting is wrong, or an entry of the trusted.
            SystemExit: with 130, after Ctrl-C; `until_done`, where all jobs were given up, with the exit code of the
                first error.
        """
        expect_program()
        trust = Trust.load(self._trust)
        place = find_mode(self._mode).server_place(**self._place_settings())
        say(f"server of {place.name} ({self.federate_strategy})")
        forkserver.start()  # it loads torch while jobs are looked for
        participation = Participation([place], lambda place, job_id, work: self._serve(place, job_id, work, trust))
        participation.run_program(until_done)

    def _place_settings(self) -> dict[str, Any]:
        return self._settings

    def _serve(self, place: ServerPlace, job_id: str, work: Work, trust: Trust) -> None:
        """Serves a job until it is over."""
        with closing(place.open(job_id)) as coordinator, giving_up(coordinator), work.worker() as worker:
            aggregates = not coordinator.job.distils
            first = coordinator.round()
            job = LocalJob(coordinator, worker, work, "server")
            told = first if first.over and (job.kept or not aggregates) else None
            if self._data is not None and aggregates and not first.over:
                try:
                    job.prepare(self._data, trust)
                except GalaxyError as error:  # whoever does not know the model can aggregate it all the same
                    job.say(f"its models are not evaluated here: {error}")

            def report(done: ServerReport) -> None:
                number, used = done.round.number, done.updates - len(done.excluded)
                for submitted, reason in done.excluded.items():
                    job.say(f"round {number}: the update of {submitted.client} can't be used: {reason}")
                if done.model is None:
                    job.say(f"round {number}: too few usable updates, collecting again")
                    return
                evaluation = job.evaluate(done.model)
                with job.section():
                    job.report.aggregated(number, used, evaluation)
                measured = "" if evaluation is None else f", {quality(evaluation)}"
                done_with = "aggregated" if aggregates else "passed on"
                job.say(f"round {number}: {done_with} {used} update{'' if used == 1 else 's'}{measured}")

            def waiting(round: Round) -> None:
                job.waits(f"round {round.number}: waiting for updates, {round.updates} so far")

            def ended(round: Round) -> None:
                nonlocal told
                if round != told:  # by an earlier start, or before an error that was endured
                    if aggregates and round.phase is Phase.FINISHED:
                        job.keep(coordinator.model(round))
                    job.ended(round)
                    told = round

            run_server(coordinator, report, waiting, ended)


class FLStandaloneServer(FLServer):
    """Serves the jobs of the working directory. `options` are those of `FLServer`."""

    def __init__(self, federate_strategy: str, **options: Any) -> None:
        super().__init__(federate_strategy, WorkModeStrategy.WORKMODE_STANDALONE, **options)


class FLClusterServer(FLServer):
    """Serves the jobs of the working directory to clients that come by HTTP.

    Args:
        ip: The address to listen at; `0.0.0.0` is every one of the machine.
        port: The port to listen at.
        api_version: The path at which the server says its version, `/api/version`.
        options: Those of `FLServer`; of the settings `certificate` and `key`, two files, are for HTTPS.
    """

    def __init__(self, federate_strategy: str, ip: str, port: int, api_version: str, **options: Any) -> None:
        options |= {"ip": ip, "port": port, "api_version": api_version}
        super().__init__(federate_strategy, WorkModeStrategy.WORKMODE_CLUSTER, **options)


class FLChainServer(FLServer):
    """Serves jobs of a ledger. `options` are those of `FLServer`; settings are `rpc`, `account`, `home`, `jobs`, …"""

    def __init__(self, federate_strategy: str, **options: Any) -> None:
        super().__init__(federate_strategy, WorkModeStrategy.WORKMODE_BLOCKCHAIN, **options)

    def _place_settings(self) -> dict[str, Any]:
        return self._settings | {"trust": self._trust}  # whose jobs it serves, too
