"""What trackers take of an event: numbers by name, texts by name, and how a job has ended."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, assert_never

from galaxy_fl.participants import events
from galaxy_fl.participants.events import Event

__all__ = ["About", "Ended", "Measured", "harmless", "measured"]

Ended: TypeAlias = Literal["finished", "cancelled", "stopped"]
"""How a run ends; `stopped` is a program's end, after which the same run may continue."""

MOST_NUMBERS = 100
"""Numbers of one event, the names of some of which come from a job's document."""
LONGEST_NAME = 100
NOT_MEASURED = {"round", "attempt"}
OF_THE_MODEL = {"loss", "accuracy", "test_samples"}
"""Fields of a server's commit that say how good the model is; the others say how the round went."""


@dataclass(frozen=True)
class About:
    """Whose numbers they are.

    Attributes:
        job: Id of the job where it is; safe as a part of a file's name.
        document: SHA-256 of the job's document, in hexadecimal, which tells it from other jobs of the same id.
        name: Name of the job, which is a stranger's text.
        participant: Which participant: `server`, `client_1`; safe as a part of a file's name.
        vector_bytes: Size of one vector of the job: a model, or an update.
    """

    job: str
    document: str
    name: str
    participant: str
    vector_bytes: int

    @property
    def key(self) -> str:
        """The same for the same participant of the same job, whenever it starts again; safe as a file's name."""
        return f"job-{self.job}-{self.document[:8]}/{self.participant}"


@dataclass(frozen=True)
class Measured:
    """What is to be tracked of one event.

    Attributes:
        round: The round that the numbers are of.
        values: Finite numbers by name, such as `train/loss`; names are safe in files and URLs.
        texts: Tags of the run, such as the model's hash.
        ended: How the job has ended, where it has.
    """

    round: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    ended: Ended | None = None


def measured(event: Event, about: About) -> Measured | None:
    """Return what trackers take of an event; None where that is nothing."""
    match event:
        case events.Trained():
            values = _numbers(event, "train") | {"train/bytes": float(about.vector_bytes)}
            return Measured(event.round, values)
        case events.Spent():
            return Measured(event.round, _numbers(event, "privacy"))
        case events.Evaluated():
            return Measured(event.round, _numbers(event, "test"))
        case events.Committed():
            values = _numbers(event, "round", {"test": OF_THE_MODEL})
            values |= {"round/excluded": len(event.excluded), "round/bytes": event.updates * about.vector_bytes}
            return Measured(event.round, values, {"model": event.model})
        case events.Best():
            texts = {"best_round": f"{event.round}: {event.metric} {event.value:g}", "best_sha256": event.sha256}
            return Measured(event.round, texts=texts)
        case events.Finished():
            found = {"model": event.model, "model_sha256": event.sha256}
            texts = {name: text for name, text in found.items() if text is not None}
            return Measured(event.rounds, texts=texts, ended="finished")
        case events.Cancelled():
            return Measured(ended="cancelled")
        case (
            events.Started() | events.Training() | events.Exhausted() | events.Waiting() | events.Collecting()
            | events.Reopened() | events.Ending() | events.Challenged() | events.Staying() | events.Leaving()
            | events.Paid() | events.Noted() | events.Status() | events.Opened() | events.Looking()
            | events.Unreachable() | events.Retrying() | events.Failed()
        ):  # fmt: skip
            return None
        case _:
            assert_never(event)


def _numbers(event: Event, usual: str, others: Mapping[str, set[str]] | None = None) -> dict[str, float]:
    """Return every finite number of an event by name. Those in a mapping, such as further metrics, are of the model."""
    found: dict[str, float] = {}
    for name, value in _flat(event.model_dump()):
        inner = isinstance(name, tuple)
        group = next((group for group, names in (others or {}).items() if inner or name in names), usual)
        plain = name[1] if isinstance(name, tuple) else name.removeprefix("test_")
        if len(found) < MOST_NUMBERS:
            found[f"{group}/{_tag(plain)}"] = float(value)
    return found


def _flat(fields: Mapping[str, Any]) -> Iterable[tuple[str | tuple[str, str], float]]:
    for name, value in fields.items():
        if name in NOT_MEASURED:
            continue
        if isinstance(value, Mapping):
            yield from (((name, str(key)), each) for key, each in value.items() if _is_number(each))
        elif _is_number(value):
            yield name, value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _tag(name: str) -> str:
    """Return a metric's name, which may be a stranger's, with nothing in it that means something to anybody."""
    # MLflow takes no names of dots, which are folders, and none of the other numbers beside one.
    return re.sub(r"[^A-Za-z0-9_.-]|^\.+", "_", name)[:LONGEST_NAME] or "_"


def harmless(text: str, longest: int = 250) -> str:
    """Return a stranger's text on one line, with nothing in it that is not shown."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:longest])
