"""Which rule a job aggregates by, and with what parameters: a part of job documents and job files."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from galaxy_fl.aggregation import RULES, has_moments
from galaxy_fl.exceptions import AggregationError
from galaxy_fl.validation import Strict

__all__ = ["OPTIONS", "RuleChoice"]

OPTIONS = ("learning_rate", "momentum", "beta1", "beta2", "tau")
"""What rules that keep moments have: each some of them."""

Number = Annotated[float, Field(ge=0)]


class RuleChoice(Strict):
    """An aggregation rule and its parameters."""

    name: str = "weighted_mean"
    parameters: Annotated[int, Field(ge=0, lt=2**53)] = 0
    """The rule's word as a number: how many updates `trimmed_mean` leaves out at each end."""
    learning_rate: Number | None = None
    """By how much of its moments `fedavgm` and `fedadam` move the model; this and the rest have defaults."""
    momentum: Number | None = None
    """Of `fedavgm`: the part of the last round's moment that stays."""
    beta1: Number | None = None
    """Of `fedadam`: that of its first moment."""
    beta2: Number | None = None
    """Of `fedadam`: that of its second moment."""
    tau: Number | None = None
    """Of `fedadam`: what is added to the root of the second moment, in the model's own units."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in RULES:
            raise ValueError(f"there is no rule {name!r}: choose one of {', '.join(sorted(RULES))}")
        return name

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        """Give a rule's options their defaults, so that a document says all that its word is made of."""
        rule = RULES.get(str(given.get("name"))) if isinstance(given, dict) else None
        if rule is None or not has_moments(rule):
            return given
        return {name: option.default for name, option in rule.options.items()} | given

    @model_validator(mode="after")
    def _options_of_the_rule(self) -> RuleChoice:
        rule = RULES[self.name]
        own = tuple(rule.options) if has_moments(rule) else ()
        for name in OPTIONS:
            if name not in own and getattr(self, name) is not None:
                takes = f"it takes {', '.join(own)}" if own else "it takes none of the server optimizers' options"
                raise ValueError(f"the rule {self.name} has no {name}: {takes}")
        if own:
            if self.parameters:
                raise ValueError(f"the rule {self.name} has no parameters: give it {', '.join(own)}")
            try:
                _ = self.rule_word
            except AggregationError as error:
                raise ValueError(str(error)) from error
        return self

    @property
    def rule_word(self) -> bytes:
        """The rule's parameters as rules take them, 32 bytes."""
        rule = RULES[self.name]
        if has_moments(rule):
            return rule.word({name: getattr(self, name) for name in rule.options})
        return self.parameters.to_bytes(32)
