"""What a server aims at with what it measures: which model is the best, and when a job has gone far enough."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from galaxy_fl.exceptions import ConfigurationError

__all__ = ["Aim", "Condition", "Measure"]

NAME = r"[A-Za-z][A-Za-z0-9_.-]{0,99}"
HIGHER = {"accuracy": True, "loss": False, "perplexity": False}
"""Whether more is better, of the measures that need not say it."""
PLAIN = ", ".join(HIGHER)


@dataclass(frozen=True)
class Measure:
    """A measure of models, and which of two values is the better one."""

    name: str
    higher: bool

    @classmethod
    def parse(cls, text: str) -> Measure:
        """Read `accuracy`, `loss`, or `f1:max`.

        Raises:
            ConfigurationError: it is not of that form, or does not say which values are better.
        """
        found = re.fullmatch(rf"({NAME})(?::(max|min))?", text) if isinstance(text, str) else None
        if found is None:
            raise ConfigurationError(
                f"best is {text!r:.80}, expected the name of a measure: {PLAIN}, or another with what is better, such "
                "as 'f1:max' or 'error:min'"
            )
        name, sense = found.groups()
        if sense is None and name not in HIGHER:
            raise ConfigurationError(
                f"best is {name!r}, which does not say whether more is better: write {name}:max or {name}:min"
            )
        return cls(name, HIGHER[name] if sense is None else sense == "max")

    def __str__(self) -> str:
        return self.name if HIGHER.get(self.name) == self.higher else f"{self.name}:{'max' if self.higher else 'min'}"

    def is_better(self, value: float, than: float | None) -> bool:
        """Tell whether a value is better than another; an equal one is not."""
        return than is None or (value > than if self.higher else value < than)


@dataclass(frozen=True)
class Condition:
    """A value of a measure with which a job has gone far enough."""

    name: str
    at_least: bool
    value: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read `accuracy>=0.95` or `loss<=0.1`.

        Raises:
            ConfigurationError: it is not of that form.
        """
        found = re.fullmatch(rf"\s*({NAME})\s*(>=|<=)\s*(\S+)\s*", text) if isinstance(text, str) else None
        try:
            value = math.nan if found is None else float(found[3])
        except ValueError:
            value = math.nan
        if found is None or not math.isfinite(value):
            raise ConfigurationError(
                f"stop_when is {text!r:.80}, expected a measure, >= or <=, and a number, such as 'accuracy>=0.95' or "
                "'loss<=0.1'"
            )
        if found[1] == "accuracy" and not 0 <= value <= 1:
            raise ConfigurationError(
                f"stop_when is {text!r:.80}, but accuracy is a fraction from 0 to 1: of 95 % write 'accuracy>=0.95'"
            )
        return cls(found[1], found[2] == ">=", value)

    def __str__(self) -> str:
        return f"{self.name} {'>=' if self.at_least else '<='} {self.value:g}"

    def is_met(self, values: Mapping[str, float]) -> bool:
        """Tell whether a model's values meet it."""
        value = values.get(self.name)
        return value is not None and (value >= self.value if self.at_least else value <= self.value)


@dataclass(frozen=True)
class Aim:
    """What a server aims at.

    Attributes:
        best: By which measure the best model is kept; None for none.
        stop: Conditions of which one is enough to end the job.
        patience: How many rounds in a row may pass without a better model before the job is ended; None for any number.
    """

    best: Measure | None = None
    stop: tuple[Condition, ...] = ()
    patience: int | None = None

    @classmethod
    def of(
        cls, best: str | None = None, stop_when: str | Sequence[str] | None = (), patience: int | None = None
    ) -> Aim:
        """Read what an operator says.

        Raises:
            ConfigurationError: a value is not of its form, or they don't belong together.
        """
        measure = None if best is None else Measure.parse(best)
        texts = [stop_when] if isinstance(stop_when, str) else list(stop_when or ())
        if patience is not None and (type(patience) is not int or patience < 1):
            raise ConfigurationError(f"patience is {patience!r}, expected a whole number of rounds from 1 on")
        if patience is not None and measure is None:
            raise ConfigurationError(
                f"patience is {patience} rounds without a better model, but nothing says which model is better: give "
                "best as well, such as best='accuracy' (--best accuracy)"
            )
        return cls(measure, tuple(map(Condition.parse, texts)), patience)

    def __bool__(self) -> bool:
        """Tell whether it aims at anything."""
        return self.best is not None or self.stops

    @property
    def stops(self) -> bool:
        """Whether it may end a job early."""
        return bool(self.stop) or self.patience is not None

    @property
    def names(self) -> set[str]:
        """The names of the measures that it goes by."""
        return {condition.name for condition in self.stop} | ({self.best.name} if self.best is not None else set())

    def best_round(self, rounds: Mapping[int, Mapping[str, float]]) -> int | None:
        """Return the round whose model is the best, the first of equal ones; None where none was measured."""
        if self.best is None:
            return None
        best: tuple[int, float] | None = None
        for number, values in sorted(rounds.items()):
            value = values.get(self.best.name)
            if value is not None and self.best.is_better(value, None if best is None else best[1]):
                best = number, value
        return None if best is None else best[0]

    def reason_to_stop(self, rounds: Mapping[int, Mapping[str, float]]) -> str | None:
        """Return why a job has gone far enough, given what was measured after each round; None where it has not."""
        passed: dict[int, Mapping[str, float]] = {}
        for number, values in sorted(rounds.items()):
            passed[number] = values
            for condition in self.stop:
                if condition.is_met(values):
                    return f"after round {number} {condition} holds: {condition.name} {values[condition.name]:g}"
            if self.patience is None:
                continue
            best = self.best_round(passed)
            since = len([each for each in passed if best is None or each > best])
            if since >= self.patience:
                of = "no model could be measured" if best is None else f"the best is that of round {best}"
                return f"{since} rounds, up to round {number}, brought no better {self.best} ({of})"
        return None
