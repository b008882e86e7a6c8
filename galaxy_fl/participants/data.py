"""A participant's own data, and how they are trained and evaluated on: its own affair, and no part of a job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxy_fl.data.loaders import is_loader, taken_for_its_data
from galaxy_fl.data.names import check_data_name
from galaxy_fl.data.partition import Partition, parse_shard, parse_shards
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.worker.messages import Prepared, WorkerSettings
from galaxy_fl.worker.pool import PoolSession

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

    from galaxy_fl.data.shards import NamedData
    from galaxy_fl.worker.served_data import ServedData

__all__ = ["LocalData"]


@dataclass(frozen=True)
class LocalData:
    """What a participant trains or evaluates on.

    Attributes:
        data: A torch Dataset of (sample, target), or the name of one: `digits`, `mnist`, `fashion-mnist`, `cifar-10`,
            or `module:function`; None for a participant that only evaluates.
        test_data: Likewise, to evaluate each model on; of a name its test split; None for no evaluation.
        accuracy: Called with a model's output and the targets of a batch, returns the fraction that is right; or
            `module:function`, where to import such a function from; None for the usual one, where targets are class
            labels.
        device: Torch device: cpu, cuda, cuda:1, mps, ….
        threads: Torch threads; more than one may change the last bits.
        shard, partition, partition_seed, root: For named data: which part of it, how it is divided and from which seed
            (clients that share a data set agree on both), and where its files are.

    Raises:
        DataError: one of them is an unknown name, or a DataLoader that chooses among its samples.
        ConfigurationError: there are neither data nor test data, or another value is not of its form, or is given for
            data that are not named.
    """

    data: Dataset[Any] | str | None
    test_data: Dataset[Any] | str | None = None
    accuracy: Callable[[Tensor, Tensor], float] | str | None = None
    device: str = "cpu"
    threads: int = 1
    shard: str = "1/1"
    partition: str = "iid"
    partition_seed: int = 0
    root: str | None = None
    _here: _Here = field(default_factory=lambda: _Here(), repr=False, compare=False)

    def __post_init__(self) -> None:
        for what in ("data", "test_data"):
            if is_loader(given := getattr(self, what)):
                object.__setattr__(self, what, taken_for_its_data(given, what))
        if self.data is None and self.test_data is None:
            raise ConfigurationError("there are no data: give data to train on, or test_data to evaluate models on")
        if isinstance(self.accuracy, str) and not all(self.accuracy.partition(":")):
            raise ConfigurationError(f"accuracy is {self.accuracy!r}, expected module:function, or the function itself")
        for named in (self.data, self.test_data):
            if isinstance(named, str):
                check_data_name(named)
        if type(self.threads) is not int or self.threads < 1:
            raise ConfigurationError(f"threads is {self.threads!r}, expected a whole number from 1 on")
        if not isinstance(self.shard, str) or not isinstance(self.partition, str):
            raise ConfigurationError(
                f"shard is {self.shard!r} and partition {self.partition!r}, expected texts such as '1/4' and 'iid'"
            )
        if not isinstance(self.data, str | None) and (self.shard, self.partition) != ("1/1", "iid"):
            raise ConfigurationError(
                f"shard is {self.shard!r} and partition {self.partition!r}, which divide data given by name: give this "
                "client's own part as data (torch.utils.data.Subset), or the data's name"
            )
        parse_shard(self.shard)
        Partition.parse(self.partition)

    def parts(self, shards: str | Sequence[str], partition: str = "iid") -> dict[str, LocalData]:
        """Return for each of several shards, such as `"1-100/100"`, what its client trains on.

        Args:
            shards: As `galaxy_fl.data.partition.parse_shards` takes them.
            partition: For data that are no name: how they are divided, from `partition_seed`, as named ones are.

        Raises:
            ConfigurationError: the shards are malformed, or a shard was given as well.
            DataError: data that are no name can't be divided so.
        """
        named = parse_shards(shards)
        if self.shard != "1/1":
            raise ConfigurationError(
                f"shard is {self.shard!r} and shards {shards!r:.80}: give the one for one client, or the other for "
                "several"
            )
        if self.data is None:
            raise ConfigurationError(
                f"shards is {shards!r:.80}, and there are no data to train on that they would divide"
            )
        if isinstance(self.data, str):
            return {shard: replace(self, shard=shard) for shard in named}
        from galaxy_fl.data.shards import Divided

        divided = Divided(self.data, partition, self.partition_seed)
        return {shard: replace(self, data=divided.part(shard)) for shard in named}

    @property
    def evaluates(self) -> bool:
        """Whether there are test data."""
        return self.test_data is not None

    def prepare(
        self, worker: PoolSession, document: JobDocument, source: bytes | None, base: Path | None = None
    ) -> Prepared:
        """Have the workers load a job's model, with the file of its base, and these data.

        Raises:
            JobDocumentError, DataError, TrainingError: they do not fit each other.
        """
        # There may be nothing to train: then the worker gets the test data as those, too.
        train = self.test_data if self.data is None else self.data
        named = isinstance(train, str) and isinstance(self.test_data, str | None) and self.accuracy is None
        settings = WorkerSettings(
            data=train if named and isinstance(train, str) else None,
            test_data=self.test_data if named and isinstance(self.test_data, str) else None,
            shard=self.shard,
            partition=self.partition,
            partition_seed=self.partition_seed,
            data_root=self.root,
            trains=self.data is not None,
            device=self.device,
            threads=self.threads,
        )
        served = None if named else self._served()
        prepared = worker.prepare(document, settings, source, served, base)
        if served is None or not served.notes:
            return prepared
        return prepared.model_copy(update={"notes": [*served.notes, *prepared.notes]})

    def _served(self) -> ServedData:
        from galaxy_fl.data.datasets import import_function
        from galaxy_fl.worker.served_data import ServedData

        root = None if self.root is None else Path(self.root)
        train, test, accuracy = self.data, self.test_data, self.accuracy
        with self._here.lock:
            named = self._here.named()
            if isinstance(test, str):
                test = named.whole(test, "test", root)
            if isinstance(train, str):
                train = named.part(train, "train", self.shard, self.partition, self.partition_seed, root)
            if train is None:
                assert test is not None
                train = test
            if isinstance(accuracy, str):
                accuracy = import_function(accuracy, "accuracy")
        return ServedData(train, test, accuracy)


class _Here:
    """The named data sets that were loaded into this process, for all clients that have parts of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._named: NamedData | None = None

    def named(self) -> NamedData:
        """Return them; loads torch."""
        if self._named is None:
            from galaxy_fl.data.shards import NamedData

            self._named = NamedData()
        return self._named
