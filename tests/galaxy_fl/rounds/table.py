"""A table in memory at which a server and its clients meet: the smallest coordinators there can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from galaxy_fl.content.finished import Finished
from galaxy_fl.exceptions import ContentError, RoundMovedOnError
from galaxy_fl.jobs.document import BuiltinModel, JobDocument, RuleChoice
from galaxy_fl.rounds.aggregating import aggregate_round
from galaxy_fl.rounds.coordinator import Committed, Origin, Phase, Previous, Round, Submitted, vector_of
from galaxy_fl.training.results import TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.vectors import Vector, read_vector, tree_root
from tests.galaxy_fl.training.trained import write_trained

__all__ = ["ClientSeat", "Counting", "ServerSeat", "Table"]

PARAMETERS = 100


class Table:
    """The job's state. Whoever waits has the others act meanwhile: `turns` are called in order, one a wait."""

    def __init__(self, folder: Path, rounds: int = 3, wanted: int = 2, rule: str = "weighted_mean") -> None:
        self.folder = folder
        self.rounds = rounds
        self.wanted = wanted
        self.job = JobDocument(
            name="table",
            model=BuiltinModel(builtin="mlp"),
            layout=[{"name": "weight", "shape": [PARAMETERS], "fraction_bits": 24}],
            rule=RuleChoice(name=rule),
            distillation_alpha=0.5 if rule == "relay" else None,
        )
        self.number = self.attempt = 1
        self.cancelled = False
        self.settled = True
        self.first_open = 1
        self.submissions: dict[str, tuple[Path, int]] = {}
        self.earlier: dict[str, Path] = {}
        self.lost: set[str] = set()
        self.model_file = self._keep("initial", np.arange(PARAMETERS, dtype=np.int32))

    def _keep(self, name: str, vector: Vector) -> Path:
        path = self.folder / name
        path.write_bytes(vector.tobytes())
        return path

    def round(self) -> Round:
        if self.number > self.rounds:
            phase = Phase.FINISHED
        elif self.cancelled:
            phase = Phase.CANCELLED
        else:
            phase = Phase.CLOSED if len(self.submissions) >= self.wanted else Phase.COLLECTING
        return Round(self.number, self.attempt, phase, len(self.submissions))

    def expect(self, round: Round) -> None:
        if round.attempt != self.attempt:
            raise RoundMovedOnError(f"attempt {round.attempt} is over, it is {self.attempt}")

    def hand_in(self, client: str, update: Vector | Finished, weight: int) -> None:
        path = self._keep(f"{client}-{self.attempt}", vector_of(update, PARAMETERS))
        self.submissions[client] = path, weight

    def next_attempt(self, *, advance: bool) -> None:
        if advance:
            self.number += 1
            self.earlier = {client: path for client, (path, _) in self.submissions.items()}
        self.attempt += 1
        self.submissions = {}


class Seat:
    """What clients and servers have in common."""

    def __init__(self, table: Table, *turns: object) -> None:
        self.table = table
        self.turns = list(turns)
        self.said: list[str] = []

    job_id = "1"
    origin = Origin(own=True, name="table")

    @property
    def job(self) -> JobDocument:
        return self.table.job

    def source(self) -> bytes:
        raise ContentError("a builtin model has no source")

    def base(self, fetch: bool = True) -> Path | None:
        raise ContentError("the model has no base")

    def close(self) -> None:
        pass

    @property
    def rounds(self) -> int:
        return self.table.rounds

    def round(self) -> Round:
        return self.table.round()

    def wait(self, seen: Round) -> Round:
        while self.table.round() == seen:
            self.turns.pop(0)()  # type: ignore[operator]
        return self.table.round()

    def model(self, round: Round) -> Path:
        self.table.expect(round)
        return self.table.model_file


class ClientSeat(Seat):
    """A client's."""

    def __init__(self, table: Table, name: str, *turns: object) -> None:
        super().__init__(table, *turns)
        self.name = name
        self.done = 0

    def enter(self, samples: int) -> None:
        self.said.append(f"enter {samples}")

    def wants_update(self, round: Round) -> bool:
        return round.phase is Phase.COLLECTING and round.attempt > self.done

    def previous(self, round: Round) -> Previous:
        self.table.expect(round)
        earlier = dict(self.table.earlier)
        own = earlier.pop(self.name, None)
        return Previous(own, [earlier[name] for name in sorted(earlier)])

    def retire(self, reason: str) -> None:
        self.said.append(f"retire: {reason}")

    def has_taken_part(self) -> bool:
        return self.name in self.table.earlier

    def first_open(self, round: Round) -> int:
        return self.table.first_open

    def is_settled(self) -> bool:
        return self.table.settled

    def submit(self, round: Round, update: Vector | Finished, weight: int) -> int:
        self.done = round.attempt
        self.table.expect(round)
        self.table.hand_in(self.name, update, weight)
        return 7


class ServerSeat(Seat):
    """A server's; `stays` are called in order when it stays."""

    endured = False

    def __init__(self, table: Table, *turns: object) -> None:
        super().__init__(table, *turns)
        self.stays: list[object] = []

    def enter(self) -> None:
        self.said.append("enter")

    def updates(self, round: Round) -> Sequence[Submitted]:
        self.table.expect(round)
        return [Submitted(client, weight) for client, (_, weight) in self.table.submissions.items()]

    def gather(self, round: Round, updates: Sequence[Submitted]) -> tuple[dict[Submitted, Path], dict[Submitted, str]]:
        lost = {s: f"{s.client} is lost" for s in updates if s.client in self.table.lost}
        return {s: self.table.submissions[s.client][0] for s in updates if s not in lost}, lost

    def endures(self, error: Exception) -> bool:
        self.said.append(f"endured {error}")
        return self.endured

    def stay(self, round: Round) -> Round:
        while self.stays:
            self.stays.pop(0)()  # type: ignore[operator]
        return self.table.round()

    def enough(self, usable: int) -> bool:
        return usable >= self.table.wanted

    def aggregate(self, round: Round, updates: Mapping[Submitted, Path], next_model: Path) -> None:
        aggregate_round(self.job, self.model(round), updates, next_model)

    def commit(self, round: Round, next_model: Path, excluded: Mapping[Submitted, str]) -> Committed:
        self.table.expect(round)
        vector = read_vector(next_model, PARAMETERS).copy()
        self.table.model_file = self.table._keep(f"model-{round.attempt}", vector)
        self.table.next_attempt(advance=True)
        return Committed(tree_root(vector, 64), 9)

    def reopen(self, round: Round, excluded: Mapping[Submitted, str]) -> None:
        self.table.expect(round)
        self.table.next_attempt(advance=False)


class Counting:
    """A trainer whose training adds a number to every parameter."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.tasks: list[TrainTask] = []

    def train(self, task: TrainTask) -> TrainResult:
        self.tasks.append(task)
        model = read_vector(task.start, PARAMETERS) + np.int32(self.step)
        write_trained(task, model)
        return TrainResult(samples=10, loss=1.0, accuracy=None, seconds=0.0, batches=1)
