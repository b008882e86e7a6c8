"""Job files: a job and its terms as people write them, in TOML."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from galaxy_chain.jobs.answer_size import most_updates
from galaxy_chain.jobs.terms import (
    MONTH,
    MOST_SHARE,
    MOST_UPDATES,
    MOST_WEIGHT,
    covered_rounds,
    least_challenge_seconds,
    least_idle_seconds,
)
from galaxy_chain.ledger.deployment import address
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Terms
from galaxy_fl.aggregation import RULES, is_sum
from galaxy_fl.aggregation.rule import MAX_WEIGHT
from galaxy_fl.aggregation.sum_tree import DEFAULT_FAN_IN, LARGEST_FAN_IN, SMALLEST_FAN_IN
from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.document import BuiltinModel, JobChoices, RuleChoice, kind_of_model
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.parts import Parts, Patterns, SharedPatterns
from galaxy_fl.jobs.start import check_start
from galaxy_fl.validation import Strict, explanations, field_of
from galaxy_fl.vectors import SHORTEST_VECTOR, fitting_chunk, usual_chunk

__all__ = ["JobFile", "SourceFile", "TermsSection", "Wei", "wei"]

ANYONE = "anyone"
"""As a job's server: whoever has a bond."""
DAY = 86_400
IDLE_SECONDS = 14_400
USUAL_WEIGHT = 1_000_000
UNITS = {"wei": 0, "gwei": 9, "ether": 18}


def wei(value: object) -> object:
    """An amount as people write it, "0.5 ether", in wei; integers are wei already.

    Raises:
        ValueError: it is not an amount, or not a whole number of wei.
    """
    if not isinstance(value, str):
        return value
    number, _, unit = value.strip().partition(" ")
    if unit.strip() not in UNITS:
        raise ValueError('expected an amount like "0.5 ether", "20 gwei" or a number of wei')
    try:
        with localcontext(prec=100):  # more digits than all the wei there are
            amount = Decimal(number).scaleb(UNITS[unit.strip()])
            whole = amount.is_finite() and amount == amount.to_integral_value()
    except ArithmeticError:
        raise ValueError(f"{number!r} is not a number") from None
    if not whole or amount.adjusted() > 40:
        raise ValueError("it is not a whole number of wei, or more than there are")
    return int(amount)


Wei = Annotated[int, BeforeValidator(wei), Field(ge=0, lt=2**96)]
Seconds = Annotated[int, Field(ge=1, le=2**31)]


def _server(value: str) -> str:
    if value == ANYONE:
        return value
    try:
        return address(value)
    except ValueError as error:
        raise ValueError(f'{error}, or "{ANYONE}"') from None


class TermsSection(Strict):
    """The terms of a job (protocol section 5), with defaults that suit a small consortium.

    `rounds`, `min_clients`, `max_clients`, `deadline` and `fan_in` are those of `galaxy_fl.jobs.terms.Terms`; the
    others are of ledgers only.
    """

    rounds: Annotated[int, Field(ge=1, le=2**31)]
    min_clients: Annotated[int, Field(ge=1, le=MOST_UPDATES)]
    """How many updates make a round."""
    max_clients: Annotated[int, Field(ge=1, le=MOST_UPDATES)] | None = None
    """The update with this number closes the round. By default as many as a challenge has room for."""
    max_excluded: Annotated[int, Field(ge=0, le=MOST_UPDATES)] | None = None
    """By default what leaves `min_clients`: clients whose content can't be had don't delay a round."""
    max_weight: Annotated[int, Field(ge=1, le=MAX_WEIGHT)] | None = None
    """The most samples that an update may weigh. By default a million, or what the sum of all has room for; 1 where
    weights are uniform."""
    deadline: Annotated[int, Field(ge=0, le=MONTH)] = 60
    """Seconds that others have, once `min_clients` updates are in."""
    aggregate_seconds: Annotated[int, Field(ge=1, le=MONTH)] = 600
    challenge_seconds: Seconds | None = None
    """By default a day, or longer where a search for a withheld model's wrong chunk takes longer."""
    idle_seconds: Seconds | None = None
    """By default four hours, or longer where everybody's turn, or two answers to demands, take longer."""
    answer_seconds: Seconds = 1_200
    max_unsettled: Annotated[int, Field(ge=1, le=2**31)] | None = None
    """By default as many as half of the bond is worth; all where the owner pays nothing into the pool."""
    chunk_parameters: Annotated[int, Field(ge=8, le=256, multiple_of=8)] | None = None
    """Parameters a chunk; fewer where the model has not more than that. By default 64, and 256 where a model has more
    than 4,194,304 parameters, its rule is a sum, and a challenge has room for as many updates as with 64."""
    fan_in: Annotated[int, Field(ge=SMALLEST_FAN_IN, le=LARGEST_FAN_IN)] = DEFAULT_FAN_IN
    """Updates that a partial sum stands for, and partial sums that one above them stands for: a challenge opens as
    many, however many clients there are. Also how many signed updates make a block."""
    open: bool
    """Whether anyone may join, or only the addresses that the owner admits. Nobody's default: it has to be said."""
    server: Annotated[str, AfterValidator(_server)] | None = None
    """Who aggregates; `anyone`: whoever has a bond. By default the account that creates the job."""
    server_share: Annotated[int, Field(ge=0, le=MOST_SHARE)] = 1_000
    """Part of each round's reward, in basis points (hundredths of a percent)."""
    bond: Wei = 10**18
    demand_deposit: Wei = 2 * 10**16
    reward: Wei = 0
    """What the owner pays into the pool at once."""

    @model_validator(mode="after")
    def _belong_together(self) -> TermsSection:
        if self.max_clients is not None:
            self._check_clients(self.max_clients)
        if self.demand_deposit == 0:
            raise ValueError("demand_deposit is 0: demands that cost nothing can flood an honest server")
        if self.bond == 0:
            raise ValueError("bond is 0: a server without a bond has nothing to lose")
        least = least_idle_seconds(self.deadline, self.aggregate_seconds)
        if self.idle_seconds is not None and self.idle_seconds < least:
            raise ValueError(
                f"idle_seconds {self.idle_seconds} is less than deadline plus four times aggregate_seconds, "
                f"{least}: a commit could be superseded before everybody has had a turn"
            )
        return self

    def _check_clients(self, max_clients: int) -> None:
        if self.min_clients > max_clients:
            raise ValueError(f"min_clients {self.min_clients} is more than max_clients {max_clients}")
        if self.max_excluded is not None and self.max_excluded > max_clients:
            raise ValueError(f"max_excluded {self.max_excluded} is more than max_clients {max_clients}")
        if self.max_weight is not None and self.max_weight * max_clients > MOST_WEIGHT:
            raise ValueError(
                f"max_weight {self.max_weight} times max_clients {max_clients} is 2**32 or more, which a round's "
                f"weights must stay below: set max_weight to {MOST_WEIGHT // max_clients} or less"
            )

    def on_ledger(
        self, spec: bytes, rule: RuleChoice, contract: str, parameters: int, creator: str, *, uniform: bool = False
    ) -> Terms:
        """The terms as the ledger has them, what was left open chosen.

        Args:
            spec: The digest of the job's document.
            rule: The document's.
            contract: The address of the rule's.
            parameters: The model's.
            creator: The account that registers the job.
            uniform: Whether the document gives each update the same weight.

        Raises:
            JobDocumentError: they don't suit the model or the weighting.
        """
        # A vector has to be longer than a chunk, and a job document's is longer than the smallest there is.
        chunk_parameters = fitting_chunk(parameters, self.chunk_parameters or self._usual_chunk(rule.name, parameters))
        max_clients = self.max_clients
        if max_clients is None:
            max_clients = most_updates(rule.name, parameters, chunk_parameters, self.fan_in)
            if max_clients < self.min_clients:
                raise JobDocumentError(
                    f"terms.min_clients is {self.min_clients}, but with {chunk_parameters} parameters a chunk and "
                    f"fan_in {self.fan_in} a challenge of {rule.name} has room for {max_clients} updates of this "
                    "model: lower them, or chunk_parameters"
                )
        max_excluded = max_clients - self.min_clients if self.max_excluded is None else self.max_excluded
        server = creator if self.server is None else self.server
        challenge_seconds = self.challenge_seconds
        if challenge_seconds is None:
            search = least_challenge_seconds(parameters, chunk_parameters, self.answer_seconds)
            challenge_seconds = max(DAY, search)
        idle_seconds = self.idle_seconds
        if idle_seconds is None:
            turns = least_idle_seconds(self.deadline, self.aggregate_seconds)
            idle_seconds = max(IDLE_SECONDS, turns, 2 * self.answer_seconds)
        max_unsettled = self.max_unsettled
        if max_unsettled is None:
            max_unsettled = covered_rounds(self.bond, self.reward, self.rounds)
        return Terms(
            spec=spec,
            rule_word=rule.rule_word,
            rule=contract,
            demand_deposit=self.demand_deposit,
            server=ZERO_ADDRESS if server == ANYONE else server,
            bond=self.bond,
            rounds=self.rounds,
            min_clients=self.min_clients,
            max_clients=max_clients,
            max_excluded=max_excluded,
            deadline=self.deadline,
            aggregate_seconds=self.aggregate_seconds,
            challenge_seconds=challenge_seconds,
            idle_seconds=idle_seconds,
            server_share=self.server_share,
            max_unsettled=max_unsettled,
            answer_seconds=self.answer_seconds,
            max_weight=self._heaviest(max_clients, uniform),
            chunk_parameters=chunk_parameters,
            fan_in=self.fan_in,
            open=self.open,
            parameters=parameters,
        )

    def _usual_chunk(self, rule: str, parameters: int) -> int:
        usual, least = usual_chunk(parameters), usual_chunk(SHORTEST_VECTOR)
        if usual == least:
            return usual
        room, most = (most_updates(rule, parameters, chunk, self.fan_in) for chunk in (usual, least))
        # A rule that looks at every update's chunk costs as much more as chunks are longer.
        return usual if is_sum(RULES[rule]) and room >= (self.max_clients or most) else least

    def _heaviest(self, max_clients: int, uniform: bool) -> int:
        if uniform and self.max_weight not in (None, 1):
            raise JobDocumentError(
                f"terms.max_weight is {self.max_weight}, but with uniform weighting each update weighs 1: leave it out"
            )
        if uniform:
            return 1
        return min(USUAL_WEIGHT, MOST_WEIGHT // max_clients) if self.max_weight is None else self.max_weight


class SourceFile(Strict):
    """A model that the job brings along: a class in a Python file."""

    source: Annotated[str, Field(min_length=1)]
    """The file's path, relative to the job file."""
    class_name: Annotated[str, Field(alias="class")]

    def read(self, folder: Path) -> bytes:
        """The file's bytes.

        Raises:
            JobDocumentError: it can't be read.
        """
        path = folder / self.source
        try:
            return path.read_bytes()
        except OSError as error:
            raise JobDocumentError(f"the model's source {path} can't be read: {error.strerror}") from error


class JobFile(JobChoices):
    """What `galaxy-chain job create` reads."""

    model: Annotated[
        Annotated[BuiltinModel, Tag("builtin")] | Annotated[SourceFile, Tag("source")], Discriminator(kind_of_model)
    ]
    output: Ending | None = None
    """What the model ends in; without it, its structure says it."""
    shared: SharedPatterns = None
    """Which tensors travel, by name or pattern, or `trainable`; the rest is frozen then."""
    personal: Patterns = Field(default_factory=list)
    """Which tensors each client trains and keeps to itself."""
    frozen: Patterns = Field(default_factory=list)
    """Which tensors nobody trains."""
    fraction_bits: dict[str, int] = Field(default_factory=dict)
    """How fine tensors are carried, by name or pattern, where what follows from their initial values is not right."""
    start: Annotated[str, AfterValidator(check_start)] | None = None
    """What round 1 begins with: `JOB:ROUND` of the same ledger, or a safetensors file, relative to the job file."""
    terms: TermsSection

    @model_validator(mode="after")
    def _suits_the_method(self) -> JobFile:
        if self.personal and self.distillation_alpha is not None:
            raise ValueError(
                f"personal is {self.personal!r:.80}, but in a distillation each client has its whole model to itself, "
                "and teaches the others with it: leave personal out"
            )
        return self

    def parts(self) -> Parts:
        """Return which tensors are shared, personal and frozen."""
        return Parts(shared=self.shared, personal=self.personal, frozen=self.frozen)

    @classmethod
    def read(cls, path: Path) -> JobFile:
        """Reads a job file.

        Raises:
            JobDocumentError: it can't be read, or is not valid; names each line and field that is wrong.
        """
        try:
            text = path.read_text(encoding="utf-8")
            value = tomllib.loads(text)
        except OSError as error:
            raise JobDocumentError(f"the job file {path} can't be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:  # tomllib lets through those of long integers and deep nesting
            raise JobDocumentError(f"{path} is not valid TOML: {error}") from error
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            found = zip(error.errors(), explanations(error, cls), strict=True)
            raise JobDocumentError(
                "\n".join(f"{path}:{_line(text, field_of(detail['loc']))}: {clause}" for detail, clause in found)
            ) from error


def _line(text: str, where: tuple[Any, ...]) -> int:
    """The line where a field is written, or the nearest table around it; 1 if there is none."""
    table: tuple[str, ...] = ()
    best, depth = 1, 0
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[([^\[\]]+)\]", line):
            table = tuple(part.strip(" \"'") for part in match[1].split("."))
            path = table
        elif match := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            path = table + tuple(part.strip("\"'") for part in match[1].split("."))
        else:
            continue
        if path == where[: len(path)] and len(path) > depth:
            best, depth = number, len(path)
    return best
