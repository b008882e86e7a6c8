"""Servers: each serves every job of its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from galaxy_fl.core.program import InMode, run_program
from galaxy_fl.core.strategy import FederateStrategy, WorkModeStrategy
from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.jobs.main_guard import expect_program
from galaxy_fl.participants.server import Server

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

__all__ = ["FLChainServer", "FLClusterServer", "FLServer", "FLStandaloneServer"]


class FLServer:
    """A server of all the jobs of a place, each in a thread of its own.

    Args:
        federate_strategy: PFL's; only shown, for each job says itself what becomes of its models.
        mode: Where it serves, a `WorkModeStrategy`.
        test_data, accuracy, device, threads, trust, data_root: As for `galaxy_fl.Server`.
        settings: Settings of the mode; see docs/migration.md.

    Raises:
        PFLException: there is no such strategy.
    """

    def __init__(
        self,
        federate_strategy: str,
        mode: str,
        *,
        test_data: Dataset[Any] | str | None = None,
        accuracy: Callable[[Tensor, Tensor], float] | str | None = None,
        device: str = "cpu",
        threads: int = 1,
        trust: Iterable[str] = (),
        data_root: str | None = None,
        **settings: Any,
    ) -> None:
        if federate_strategy not in list(FederateStrategy):
            raise PFLException("federate strategy not found")
        self.federate_strategy = FederateStrategy(federate_strategy)
        self._server = Server(
            at=InMode(mode, settings),
            name="",
            test_data=test_data,
            accuracy=accuracy,
            device=device,
            threads=threads,
            trust=trust,
            data_root=data_root,
        )

    def start(self, until_done: bool = False) -> None:
        """Serve jobs as they appear, until it is interrupted.

        A job that fails is given up, and its reason goes to standard error; the others continue.

        Args:
            until_done: Return when all jobs that were seen, at least one, are over; on a ledger, when the bond that
                answers for them is free, too, unless the setting `leave` is given.

        Raises:
            ConfigurationError: a setting is wrong, or an entry of the trusted.
            SystemExit: with 130, after Ctrl-C; `until_done`, where all jobs were given up, with the exit code of the
                first error.
        """
        expect_program()
        print(
            f"federate strategy {self.federate_strategy}: each job says itself how its models are combined", flush=True
        )
        run_program(self._server.serve, until_done)


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
