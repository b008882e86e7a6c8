"""A job's arithmetic in one process: the worker's own sessions, the aggregation rule, and nothing between them."""

from __future__ import annotations

import inspect
from pathlib import Path

from torch import nn

from galaxy_fl.aggregation import RULES
from galaxy_fl.jobs.base import BaseFile, write_base
from galaxy_fl.jobs.document import JobDocument, SourceModel, source_id
from galaxy_fl.jobs.model_description import ModelDescription
from galaxy_fl.jobs.parts import ALL_SHARED, Base, Parts
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.jobs.submission import describe_model, floats_of
from galaxy_fl.rounds.client import round_seed
from galaxy_fl.training.models import build_model
from galaxy_fl.training.task import TrainTask
from galaxy_fl.vectors import Vector, difference, encode, read_vector, write_vector
from galaxy_fl.worker.loaded_job import LoadedJob
from galaxy_fl.worker.messages import Prepare, WorkerSettings
from galaxy_fl.worker.session import Session
from tests.numerics import zoo

__all__ = ["Client", "Federation"]


class Client:
    """A client's side: a session, and the files that it keeps."""

    def __init__(
        self, job: JobDocument, source: str, data: str, shard: str, folder: Path, base: Path | None = None
    ) -> None:
        settings = WorkerSettings(data=data, shard=shard)
        self.document, self.source, self.data, self.base = job, source, data, base
        self._prepare = Prepare(settings=settings, offer=None)
        self._folder = folder
        self._own: Path | None = None
        self.restart()

    def restart(self) -> None:
        """Begin again with nothing but what is in files."""
        self.job = LoadedJob(self.document, self.source, self.base)
        self.session = Session(self._prepare, self.job, None)  # type: ignore[arg-type]  # named data are not asked for

    def train(self, start: Path, round: int) -> tuple[Path, int]:
        """Train a round; give the trained vector and the number of samples."""
        trained, after = self._folder / f"trained-{round}", self._folder / f"own-{round}"
        seed = round_seed(self.document.train.seed, round)
        result = self.session.train(TrainTask(start, trained, round, seed, (), self._own, after))
        self._own = after if after.exists() else None  # most jobs have none
        return trained, result.samples


class Federation:
    """A job and its clients."""

    def __init__(
        self,
        kind: type[nn.Module],
        train: TrainSpecification,
        folder: Path,
        clients: int = 2,
        parts: Parts = ALL_SHARED,
    ) -> None:
        content = Path(inspect.getfile(zoo)).read_bytes()
        chosen = SourceModel(source=source_id(content), class_name=kind.__name__)
        self.model, fresh = (build_model(chosen, train.seed, content.decode()) for _ in range(2))
        described = describe_model(self.model, fresh, None, parts)
        self.layout = described.layout
        self._folder = folder
        self.job = JobDocument(
            name="zoo",
            model=chosen,
            train=train,
            **described.fields(self._base(described)),
        )
        assert JobDocument.from_bytes(self.job.to_bytes()) == self.job
        self.vector: Vector = encode(floats_of(self.model, self.layout), self.layout)
        self.clients = []
        for number in range(1, clients + 1):
            (own := folder / str(number)).mkdir(parents=True)
            data = f"tests.numerics.zoo:{zoo.ZOO.get(kind, 'rows')}"
            self.clients.append(Client(self.job, content.decode(), data, f"{number}/{clients}", own, self.base))

    def _base(self, described: ModelDescription) -> Base | None:
        self._file = BaseFile()
        self.base = self._file.path if described.has_base else None
        if self.base is None:
            return None
        write_base(self.base, [*described.frozen, *described.personal], self.model.state_dict())
        return self._file.described

    def round(self, number: int) -> None:
        """Train every client, and aggregate."""
        start = self._folder / f"model-{number}"
        write_vector(start, self.vector)
        updates, weights = [], []
        for client in self.clients:
            trained, samples = client.train(start, number)
            updates.append(difference(read_vector(trained, self.layout.parameters), self.vector))
            weights.append(samples)
        self.vector = RULES["weighted_mean"].aggregate(bytes(32), self.vector, updates, weights)
