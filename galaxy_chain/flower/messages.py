"""What the server of a Flower app asks of a client, and what a reply has to have beside Flower's own records.

Whatever is in a message was written by somebody else: it is bounded and checked, and none of it is a key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from galaxy_chain.flower.arrays import numpy_arrays
from galaxy_chain.lane.messages import LARGEST_MESSAGE, SignedJoin, SignedUpdate
from galaxy_chain.ledger.signing import Domain
from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import ConfigurationError, GalaxyError
from galaxy_fl.validation import explain
from galaxy_fl.vectors import Vector, as_vector

__all__ = ["RECORD", "UPDATE", "Answer", "Asked", "samples_of"]

RECORD = "galaxy"
"""The key of the ConfigRecord that a message and its reply have of Galaxy."""
UPDATE = "galaxy-update"
"""The key of the ArrayRecord with the update of a client that has not joined yet, `vector`."""
LARGEST_WEIGHT = 2**32 - 1


@dataclass(frozen=True)
class Asked:
    """For which attempt of which job a client is to train.

    Attributes:
        weighted_by: Under which key its reply says how many samples that were.
    """

    job: int
    attempt: int
    weighted_by: str

    def to_record(self) -> dict[str, int | str]:
        """The values of the record."""
        return {"job": self.job, "attempt": self.attempt, "weighted-by": self.weighted_by}

    @classmethod
    def of(cls, record: Mapping[str, Any] | None) -> Asked:
        """From a message's record.

        Raises:
            ConfigurationError: there is none, or not one of a server of this version.
        """
        if record is None:
            raise ConfigurationError(
                "the message names no job on a ledger, so nothing is trained: the ServerApp's strategy has to be "
                "wrapped, OnLedger(FedAvg(…), job=…), or take galaxy_mod out of the ClientApp's mods"
            )
        job, attempt, weighted_by = record.get("job"), record.get("attempt"), record.get("weighted-by")
        numbers = [number for number in (job, attempt) if type(number) is int and 0 < number < 2**53]
        if len(numbers) < 2 or not isinstance(weighted_by, str):
            raise ConfigurationError(
                f"the message's record {RECORD!r} is not one of this version's OnLedger: use one version of galaxy-fl "
                "for the ServerApp and the ClientApp"
            )
        return cls(numbers[0], numbers[1], weighted_by)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a client's reply brings to the ledger.

    Attributes:
        vector: The update itself, of a client that has not joined yet: a store that is served takes nothing from it.
    """

    update: SignedUpdate
    join: SignedJoin | None
    vector: Vector | None = None

    def to_record(self) -> dict[str, str]:
        """The values of the record."""
        return {
            "update": self.update.model_dump_json(),
            "join": "" if self.join is None else self.join.model_dump_json(),
        }

    @classmethod
    def of(
        cls,
        record: Mapping[str, Any] | None,
        domain: Domain,
        job: int,
        attempt: int,
        model: bytes,
        brought: Mapping[str, Any] | None = None,
    ) -> Answer:
        """From a reply's record, its signatures checked.

        Args:
            record: The record.
            brought: The arrays that came with it.
            domain: Of the ledger.
            job, attempt: What was asked.
            model: The root of the round's model.

        Raises:
            ConfigurationError: there is none, or it is not what was asked.
            SignatureError: it is signed by somebody else, or for another job or attempt.
        """
        if record is None:
            raise ConfigurationError("it has no entry for the ledger: its ClientApp needs mods=[galaxy_mod()]")
        if record.keys() != {"update", "join"}:
            raise ConfigurationError(f"its record {RECORD!r} has other keys than update and join")
        texts = [record[name] for name in ("update", "join")]
        if not all(isinstance(text, str) and len(text) <= LARGEST_MESSAGE for text in texts):
            raise ConfigurationError(f"its entry is not text of at most {LARGEST_MESSAGE} characters")
        try:
            update = SignedUpdate.model_validate_json(texts[0])
            join = None if not texts[1] else SignedJoin.model_validate_json(texts[1])
        except ValidationError as error:
            raise ConfigurationError(f"its entry can't be read: {explain(error):.300}") from error
        update.check(domain, job, attempt)
        if update.model != model.hex():
            raise ConfigurationError(f"its entry is of the model {update.model}, expected {model.hex()}")
        if join is not None:
            join.check(domain, job)
            if join.client != update.client:
                raise ConfigurationError(f"it is of {update.client}, and would have {join.client} join")
        return cls(update, join, None if brought is None else _vector(brought, update))


def _vector(brought: Mapping[str, Any], update: SignedUpdate) -> Vector:
    """The update that came with an entry."""
    try:
        vector = as_vector(numpy_arrays(brought)["vector"])
    except (GalaxyError, KeyError) as error:
        raise ConfigurationError(f"what it brings of its update can't be read: {error!s:.200}") from error
    if ContentId.of(vector.data).digest != update.update.content:
        raise ConfigurationError("it brings another update than the one that it has signed")
    return vector


def samples_of(metrics: Mapping[str, Any], key: str) -> int:
    """How many samples an update was trained on.

    Raises:
        ConfigurationError: the metrics do not say it, or it is not a number of samples.
    """
    if key not in metrics:
        raise ConfigurationError(
            f"the MetricRecord lacks {key!r}, by which updates are weighed: have the train function put the number of "
            "its samples there"
        )
    value = metrics[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError(f"{key!r} is {value!r:.80}, expected a whole number of samples")
    if value != int(value) or not 1 <= value <= LARGEST_WEIGHT:
        raise ConfigurationError(f"{key!r} is {value!r:.80}, expected a whole number from 1 to {LARGEST_WEIGHT}")
    return int(value)
