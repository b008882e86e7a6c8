"""A client: takes part in every job that it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from galaxy_fl.core.program import InMode, run_program
from galaxy_fl.core.strategy import WorkModeStrategy
from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.files import is_name
from galaxy_fl.jobs.main_guard import expect_program
from galaxy_fl.participants.client import Client

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

__all__ = ["TrainerController"]


class TrainerController:
    """A client of all the jobs in its places, each in a thread of its own; worker processes train for all of them.

    Args:
        work_mode: Where to look for jobs: a `WorkModeStrategy`; or several; or, for settings of their own, a mapping
            from modes to settings.
        data: What to train on: a torch Dataset of (sample, target), or the name of a data set: `digits`, `mnist`,
            `fashion-mnist`, `cifar-10`, or `module:function`.
        client_id: This client's name: clients that share a folder or a server each need one of their own. On a ledger
            the account is the name.
        client_ip, client_port: PFL's; accepted and not used, for no server ever connects to a client.
        server_url: URL of a cluster's server, `http://host:port`; or several.
        concurrent_num: How many jobs train at a time. Jobs that wait for others are not counted.
        test_data, accuracy, device, threads, trust, shard, partition, partition_seed, data_root: As for
            `galaxy_fl.Client`.
        settings: Settings of the modes, such as `rpc` and `account` of a ledger; see docs/migration.md.
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
        accuracy: Callable[[Tensor, Tensor], float] | str | None = None,
        device: str = "cpu",
        threads: int = 1,
        trust: Iterable[str] = (),
        shard: str = "1/1",
        partition: str = "iid",
        partition_seed: int = 0,
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
        self._options: dict[str, Any] = {
            "test_data": test_data,
            "accuracy": accuracy,
            "device": device,
            "threads": threads,
            "trust": tuple(trust),
            "shard": shard,
            "partition": partition,
            "partition_seed": partition_seed,
            "data_root": data_root,
        }
        self._settings = settings

    def start(self, until_done: bool = False) -> None:
        """Take part in jobs as they appear, until it is interrupted.

        A job that fails is given up, and its reason goes to standard error; the others continue.

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
        client = Client(self.data, at=self._places(), name=name, concurrency=self.concurrent_num, **self._options)
        run_program(client.take_part, until_done)

    def _places(self) -> list[InMode]:
        modes = [self.work_mode] if isinstance(self.work_mode, str) else list(self.work_mode)
        own = {mode: dict(more) for mode, more in self.work_mode.items()} if isinstance(self.work_mode, Mapping) else {}
        if self.server_url:
            own.setdefault(WorkModeStrategy.WORKMODE_CLUSTER, {})["server_url"] = self.server_url
        return [InMode(mode, self._settings | own.get(mode, {})) for mode in modes]
