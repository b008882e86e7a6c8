"""What a server has measured of a job, durably: which round is the best, and whether the job has gone far enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_fl.files import write_durably
from galaxy_fl.participants.aim import Aim

__all__ = ["BestRound", "Progress"]

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of a vector."""


class BestRound(BaseModel):
    """The round whose model is the best so far, by what its server has measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    round: Annotated[int, Field(ge=1)]
    metric: str
    value: float
    sha256: Digest
    """That of the model's vector."""


class _Round(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sha256: Digest
    values: dict[str, float]
    """Without what could not be measured, because the model has diverged."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")

    document: str
    rounds: dict[int, _Round] = Field(default_factory=dict)
    kept: Digest | None = None
    """The vector whose model is in the file beside this one."""


class Progress:
    """The measurements of one job.

    Args:
        aim: What the server aims at.
        document: SHA-256 of the job's document, which tells it from other jobs of the same id.
        path: The file to keep them in; None to keep them in memory. One of the same job is continued.
    """

    def __init__(self, aim: Aim, document: str, path: Path | None) -> None:
        self._aim = aim
        self._path = path
        self._record = _Record(document=document)
        if path is None:
            return
        try:
            found = _Record.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return
        if found.document == document:
            self._record = found

    def has(self, round: int, sha256: str) -> bool:
        """Tell whether the model after a round was measured."""
        found = self._record.rounds.get(round)
        return found is not None and found.sha256 == sha256

    def knows(self, round: int) -> bool:
        """Tell whether the model after a round was measured, whichever it was."""
        return round in self._record.rounds

    def note(self, round: int, sha256: str, values: Mapping[str, float]) -> None:
        """Note what was measured after a round. What was measured after later ones was of models that a ledger has
        taken back, and is forgotten."""
        rounds = {number: each for number, each in self._record.rounds.items() if number < round}
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._record.rounds = rounds | {round: _Round(sha256=sha256, values=finite)}

    @property
    def best(self) -> BestRound | None:
        """The best round so far."""
        number, measure = self._aim.best_round(self._values()), self._aim.best
        if number is None or measure is None:
            return None
        found = self._record.rounds[number]
        return BestRound(round=number, metric=measure.name, value=found.values[measure.name], sha256=found.sha256)

    @property
    def reason_to_stop(self) -> str | None:
        """Why the job has gone far enough; None where it has not."""
        return self._aim.reason_to_stop(self._values())

    @property
    def kept(self) -> str | None:
        """SHA-256 of the vector whose model is in the best model's file."""
        return self._record.kept

    def keep(self, sha256: str) -> None:
        """Note that the best model's file has the model of that vector."""
        self._record.kept = sha256

    def save(self) -> None:
        """Write all of it durably.

        Raises:
            OSError: it can't be written.
        """
        if self._path is not None:
            write_durably(self._path, self._record.model_dump_json(indent=1) + "\n")

    def _values(self) -> dict[int, Mapping[str, float]]:
        return {number: each.values for number, each in self._record.rounds.items()}
