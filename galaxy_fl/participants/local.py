"""A participant's own side of a job: its data, the worker that has them, the report, and the final model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxy_fl.data.loaders import refuse_loader
from galaxy_fl.exceptions import ConfigurationError, GalaxyError
from galaxy_fl.files import is_name
from galaxy_fl.jobs.document import JobDocument, SourceModel
from galaxy_fl.participants.participation import say
from galaxy_fl.participants.report import ReportFile
from galaxy_fl.participants.work import Work
from galaxy_fl.rounds.coordinator import Coordinator, Phase, Round
from galaxy_fl.training.results import Evaluation, TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.trust import Trust
from galaxy_fl.worker.messages import Prepared, WorkerSettings
from galaxy_fl.worker.worker import Worker

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

    from galaxy_fl.worker.served_data import ServedData

__all__ = ["LocalData", "LocalJob", "quality"]


@dataclass(frozen=True)
class LocalData:
    """Whose data a participant trains or evaluates on, and how: all of it its own affair, and no part of a job.

    Attributes:
        data: A torch Dataset, or the name of one, as `galaxy-chain client --data` takes it.
        test_data: Likewise, to evaluate each model on; of a name its test split; None for no evaluation.
        accuracy: Called with a model's output and the targets of a batch, gives the fraction that is right; None for
            the usual one, where targets are class labels.
        device: Of torch.
        threads: Of torch; more than one may change the last bits.
        shard, partition, root: Of named data: which part of it, how it is divided, and where its files are.
        trains: Whether the participant trains, and not only evaluates.
    """

    data: Dataset[Any] | str
    test_data: Dataset[Any] | str | None = None
    accuracy: Callable[[Tensor, Tensor], float] | None = None
    device: str = "cpu"
    threads: int = 1
    shard: str = "1/1"
    partition: str = "iid"
    root: str | None = None
    trains: bool = True

    def __post_init__(self) -> None:
        refuse_loader(self.test_data, "test_data")  # first: of those who only evaluate it is both
        refuse_loader(self.data, "data")

    def prepare(self, worker: Worker, document: JobDocument, source: bytes | None) -> Prepared:
        """Has a worker load a job's model and these data; gives the number of samples to train on.

        Raises:
            JobDocumentError, DataError, TrainingError: they do not fit each other.
        """
        name = self.data if isinstance(self.data, str) and self.accuracy is None else None
        if self.test_data is not None and self.test_data != self.data:
            name = None
        settings = WorkerSettings(
            data=name,
            shard=self.shard,
            partition=self.partition,
            data_root=self.root,
            trains=self.trains,
            device=self.device,
            threads=self.threads,
        )
        return worker.prepare(document, settings, source, self._served() if name is None else None)

    def _served(self) -> ServedData:
        from galaxy_fl.data.datasets import load
        from galaxy_fl.data.shards import load_shard
        from galaxy_fl.worker.served_data import ServedData

        root = None if self.root is None else Path(self.root)
        train, test = self.data, self.test_data
        if isinstance(train, str):
            train = load_shard(train, "train", self.shard, self.partition, 0, root)
        if isinstance(test, str):
            test = load(test, "test", root)
        return ServedData(train, test, self.accuracy)


class LocalJob:
    """A job on this machine: what goes to the worker, to the console, and into the files of the working directory.

    Args:
        coordinator: Where the job is.
        worker: A process of the job's own.
        work: Whose sections everything here is in.
        participant: As which it takes part, as in `client_1`; part of the report's name.
        own: What to add to the name of the final model's file, to tell it from those of others in the folder.

    Raises:
        ConfigurationError: the job's id can't be part of a file's name.
        OSError: the working directory can't be used.
    """

    def __init__(self, coordinator: Coordinator, worker: Worker, work: Work, participant: str, own: str = "") -> None:
        self._id = coordinator.job_id
        if not is_name(self._id):  # it may come from a stranger's server
            raise ConfigurationError(f"the job's id {self._id!r} can't be part of a file's name, so it is not taken")
        self._coordinator = coordinator
        self._worker = worker
        self.section = work.section
        self._evaluates = False
        self._final = Path(f"final_model_pars_{self._id}{own}").absolute()
        document = hashlib.sha256(coordinator.job.to_bytes()).hexdigest()
        self.trained = Path("res", "trained", f"{self._id}_{participant}_{document[:16]}")
        """The folder where what it has trained is kept until it is handed in."""
        path = Path(f"report_{self._id}_{participant}").absolute()
        self.report = ReportFile(path, self._id, document, coordinator.job.name, participant.replace("_", " "))
        self._waited_for = ""

    def say(self, text: str) -> None:
        """Says something of this job."""
        with self.section():
            say(f"job {self._id}: {text}")

    def waits(self, text: str) -> None:
        """Says what is waited for; once, however often it is called."""
        if text != self._waited_for:
            self.say(text)
            self._waited_for = text

    @property
    def kept(self) -> bool:
        """Whether the final model is in the working directory."""
        return self._final.exists()

    def ended(self, round: Round) -> None:
        """Says how the job has ended."""
        if round.phase is Phase.CANCELLED:
            self.say(f"was cancelled by its owner in round {round.number}")
        else:
            where = f"; the final model is in {self._final.name}" if self.kept else ""
            self.say(f"finished after {self._coordinator.rounds} rounds{where}")

    def prepare(self, data: LocalData, trust: Trust, turn: AbstractContextManager[object] | None = None) -> int:
        """Has the worker load model and data, in its `turn`; gives the number of samples to train on.

        Raises:
            UntrustedModelError: the model's source may not run here.
            GalaxyError: model and data do not fit each other, or the source can't be had.
        """
        source, model = None, self._coordinator.job.model
        if isinstance(model, SourceModel):
            source = self._coordinator.source()
            trust.check(model, source, self._coordinator.origin)
        with turn or nullcontext(), self.section():
            prepared = data.prepare(self._worker, self._coordinator.job, source)
        for note in prepared.notes:
            self.say(note)
        self._evaluates = data.test_data is not None
        return prepared.samples

    def train(self, task: TrainTask) -> TrainResult:
        """Has the worker train.

        Raises:
            TrainingError, DataError, EncodingError: it did not work.
        """
        with self.section():
            return self._worker.train(task)

    def evaluate(self, vector: Path) -> Evaluation | None:
        """The model in a vector file on the test data; None where there are none, or where it can't be evaluated."""
        if not self._evaluates:
            return None
        try:
            with self.section():
                return self._worker.evaluate(vector)
        except GalaxyError as error:  # the job goes on all the same
            self.say(f"the model can't be evaluated: {error}")
            return None

    def keep(self, vector: Path) -> None:
        """Writes the final model into the working directory, and notes it in the report.

        Raises:
            OSError, TrainingError: it can't be written.
        """
        with self.section(), Worker() as clean:  # another than the one that has run the model's code
            clean.export(self._coordinator.job, vector, self._final)
        with self.section(), vector.open("rb") as file:
            self.report.finished(hashlib.file_digest(file, "sha256").hexdigest())


def quality(measured: Evaluation) -> str:
    """Loss and accuracy, to show."""
    accuracy = "" if measured.accuracy is None else f", accuracy {100 * measured.accuracy:.1f} %"
    return f"loss {measured.loss:.3f}{accuracy}"
