"""A job as its author describes it; what its participants get is its document (`galaxy_fl.jobs.document`)."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from galaxy_fl.aggregation.sum_tree import DEFAULT_FAN_IN
from galaxy_fl.exceptions import ConfigurationError, JobDocumentError
from galaxy_fl.jobs.document import BuiltinModel, JobDocument
from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.first_model import averaged_by
from galaxy_fl.jobs.main_guard import expect_program
from galaxy_fl.jobs.method import Averaging, Distillation
from galaxy_fl.jobs.parts import Parts
from galaxy_fl.jobs.shown import shown, tabled
from galaxy_fl.jobs.start import check_start
from galaxy_fl.jobs.terms import Terms
from galaxy_fl.jobs.train import Train
from galaxy_fl.validation import explain
from galaxy_fl.vectors import SHORTEST_VECTOR

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Job", "source_file"]

_ANY_MODEL: dict[str, Any] = {
    "model": BuiltinModel(builtin="any"),
    "layout": [{"name": "any", "shape": [SHORTEST_VECTOR], "fraction_bits": 24}],
}


@dataclass(frozen=True, repr=False)
class Job:
    """What is to be trained, how, and for how many rounds. Hand it in with `submit`; each time makes a job of its own.

    Args:
        model: What round 1 starts from: a class of torch.nn.Module, with initial weights by `train.seed`; an instance,
            with its weights; or the name of a model that comes with Galaxy, `"cnn"`, `"mlp"`, `"lenet"`, or of a
            classifier of torchvision, `"torchvision:resnet18"`. A class is on the top level of a Python file, made
            without arguments. The file goes with the job, alone: what it imports has to be installed where it runs.
        rounds: Number of rounds.
        train: How clients train in each round.
        method: What becomes of their models: `Averaging`, or `Distillation`.
        weighting: What an update weighs: as much as the samples that it was trained on (`"samples"`), or 1
            (`"uniform"`).
        min_clients: How many updates make a round.
        max_clients: The update with this number closes the round; None for no such number.
        deadline: Seconds that others have, once `min_clients` updates are in; None for the mode's own default.
        fan_in: On a ledger, how many updates a partial sum stands for, 2 to 64: a challenge, and a client that verifies
            its branch, read as many, however many clients there are.
        output: What the model ends in: `"logits"`, `"probabilities"` or `"log-probabilities"`. None where its structure
            shows it.
        shared, personal, frozen: Parts of the model, as lists of names or patterns of its tensors such as `"bn*"` and
            `"*.running_mean"`, or `"trainable"` for the parameters that require gradients. What is personal, each
            client trains and keeps to itself; what is frozen, nobody trains; neither travels with the rounds. What is
            not named is shared, or frozen where `shared` is given. Parameters that do not require gradients are frozen.
        fraction_bits: How finely tensors are carried, by name or pattern such as `"norm.*"`, where what follows from
            their initial values does not suit: a value is rounded to a multiple of 2**-bits, and may be up to
            2**(31 - bits). Give fewer to tensors whose values grow large.
        reveal: On a ledger, when clients publish their updates: at once (`"immediate"`), or only when the round has
            closed (`"after-close"`), so that nobody can copy another's.
        privacy: Differential privacy, as a mapping with `mode`, `noise_multiplier` and `delta`, with `max_grad_norm` in
            the mode `"example"` (which protects each example of a client) and `clip` in the mode `"update"` (which
            protects all data of a client), and optionally `stop_at_epsilon`; see docs/privacy.md.
        seal: On a ledger, for whom models and updates are encrypted: `"members"`, those that the owner admits and gives
            the key. None: whoever reaches the store reads them.
        name: What the job is called; by default as the model is.
        notes: Text for its participants.
        model_options: Keyword arguments of a model that comes with Galaxy.
        start: What round 1 starts from instead of the model's own weights: the model after a round of another job where
            this one is submitted, `"JOB:ROUND"` or `"JOB:last"`, or a safetensors file, such as
            `"best_model_pars_7.safetensors"`. Its tensors have to be those of this model. Rounds are counted from 1,
            and a schedule begins anew.
        source: The file that defines the model's class, where it is another than the one that Python knows.

    Raises:
        JobDocumentError: a value is of the wrong type or out of range, or the class is in no file. What needs the
            model itself is found by `submit`.
        ConfigurationError: this is a worker that loads the model's file: put whatever describes a job under
            `if __name__ == "__main__":`.

    Example:
        >>> import galaxy_fl as galaxy
        >>> job = galaxy.Job(model="cnn", rounds=5, train=galaxy.Train(learning_rate=0.1))
        >>> job
        Job(model='cnn', rounds=5, train=Train(learning_rate=0.1))
    """

    model: type[nn.Module] | nn.Module | str
    _: KW_ONLY
    rounds: int
    train: Train = field(default_factory=Train)
    method: Averaging | Distillation = field(default_factory=Averaging)
    weighting: Literal["samples", "uniform"] = "samples"
    min_clients: int = 1
    max_clients: int | None = None
    deadline: float | None = 600
    fan_in: int = DEFAULT_FAN_IN
    output: Ending | None = None
    shared: Sequence[str] | None = None
    personal: Sequence[str] = ()
    frozen: Sequence[str] = ()
    fraction_bits: Mapping[str, int] = field(default_factory=dict)
    reveal: Literal["immediate", "after-close"] = "immediate"
    privacy: Mapping[str, Any] | None = None
    seal: Literal["members"] | None = None
    name: str | None = None
    notes: str | None = None
    model_options: Mapping[str, Any] = field(default_factory=dict)
    source: str | os.PathLike[str] | None = None
    start: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        expect_program()
        self._check_model()
        for name, kinds, expected in (
            ("train", Train, "galaxy_fl.Train(…)"),
            ("method", Averaging | Distillation, "galaxy_fl.Averaging(…) or galaxy_fl.Distillation(…)"),
            ("fraction_bits", Mapping, "fraction bits by name or pattern of a tensor"),
            ("model_options", Mapping, "keyword arguments by name"),
            ("privacy", Mapping | None, "a mapping such as {'mode': 'update', 'clip': 1.0, …}"),
        ):
            if not isinstance(given := getattr(self, name), kinds):
                raise JobDocumentError(f"Job: {name} is {given!r:.80}, expected {expected}")
        if self.start is not None:
            try:
                check_start(os.fspath(self.start))
            except (TypeError, ValueError) as error:
                raise JobDocumentError(f"Job: {error}") from None
        self.terms()
        self.parts()
        averaged = averaged_by(self.method.choice.name, ())
        self.document(output=self.output or "logits", averaged=averaged, **_ANY_MODEL)

    def __repr__(self) -> str:
        return shown(self)

    def _repr_html_(self) -> str:
        return tabled(self)

    def _check_model(self) -> None:
        from torch import nn

        from galaxy_fl.training.models import find_builder

        if isinstance(self.model, str):
            find_builder(self.model)
            if self.source is not None:
                raise JobDocumentError(f"Job: source is given, but {self.model!r} comes with Galaxy: leave it out")
            return
        if not isinstance(self.model, nn.Module) and not (
            inspect.isclass(self.model) and issubclass(self.model, nn.Module)
        ):
            raise JobDocumentError(
                f"Job: model is {self.model!r:.80}, expected a class of torch.nn.Module (model=Net), an instance, "
                "or the name of a model that comes with Galaxy, such as 'cnn'"
            )
        if self.model_options:
            raise JobDocumentError(
                "Job: model_options are for a model by name; participants make a class without arguments: give its "
                "parameters defaults"
            )
        self.source_path()

    @property
    def model_name(self) -> str:
        """Name of the model's class, or of the model that comes with Galaxy."""
        if isinstance(self.model, str):
            return self.model
        return (self.model if isinstance(self.model, type) else type(self.model)).__name__

    def source_path(self) -> Path | None:
        """Return the path of the file that defines the model's class; None for a model that comes with Galaxy.

        Raises:
            JobDocumentError: the class is in no Python file, or not on its top level.
        """
        if isinstance(self.model, str):
            return None
        if self.source is not None:
            return Path(self.source)
        return source_file(self.model if isinstance(self.model, type) else type(self.model))

    def parts(self) -> Parts:
        """Return which tensors are shared, personal and frozen.

        Raises:
            JobDocumentError: they are not lists of names or patterns, or belong to no job of this method.
        """
        given = {part: getattr(self, part) for part in ("shared", "personal", "frozen")}
        if self.shared is None:
            del given["shared"]
        for part, patterns in given.items():
            if isinstance(patterns, str) or not isinstance(patterns, Sequence):
                raise JobDocumentError(
                    f"Job: {part} is {patterns!r:.80}, expected a list of names or patterns: {part}=['head.*']"
                )
        if self.personal and isinstance(self.method, Distillation):
            raise JobDocumentError(
                f"Job: personal is {list(self.personal)!r:.80}, but in a distillation each client has its whole "
                "model to itself, and teaches the others with it: leave personal out"
            )
        try:
            return Parts(**{part: list(patterns) for part, patterns in given.items()})
        except ValidationError as error:
            raise JobDocumentError(f"Job: {explain(error)}") from error

    def terms(self) -> Terms:
        """Return how the rounds are collected.

        Raises:
            JobDocumentError: a number is out of range.
        """
        try:
            return Terms(self.rounds, self.min_clients, self.max_clients, self.deadline, self.fan_in)
        except ConfigurationError as error:
            raise JobDocumentError(f"Job: {error}") from error

    def document(self, **of_the_model: Any) -> JobDocument:
        """Return what the participants agree on, given the fields that follow from the model.

        Raises:
            JobDocumentError: a field is not valid; names each.
        """
        distils = self.method if isinstance(self.method, Distillation) else None
        private: dict[str, Any] = {} if self.privacy is None else {"privacy": dict(self.privacy)}
        try:
            return JobDocument(
                name=self.model_name if self.name is None else self.name,
                rule=self.method.choice,
                weighting=self.weighting,
                distillation_alpha=None if distils is None else distils.alpha,
                distillation_reduction="batchmean" if distils is None else distils.reduction,
                reveal=self.reveal,
                seal=self.seal,
                notes=self.notes,
                **private,
                **{"train": self.train.specification()} | of_the_model,
            )
        except ValidationError as error:
            raise JobDocumentError(f"Job: {explain(error)}") from error


def source_file(model: type) -> Path:
    """Return the path of the file that defines a class.

    Raises:
        JobDocumentError: it is torch's own, in no Python file, or not on the top level of one.
    """
    if model.__module__.partition(".")[0] == "torch":
        raise JobDocumentError(
            f"the class {model.__name__} comes with torch, and participants make the model's class without arguments: "
            "write a class of your own, in a Python file, whose constructor makes the layers"
        )
    try:
        path = inspect.getsourcefile(model)
    except (OSError, TypeError):  # of a notebook, of the interactive interpreter, of C
        path = None
    if path is None or not Path(path).is_file():
        raise JobDocumentError(
            f"the class {model.__name__} is in no Python file, which is what participants get: write it into a file "
            "of its own (in a notebook with %%writefile) and import it from there"
        )
    if model.__qualname__ != model.__name__:
        raise JobDocumentError(f"the class {model.__qualname__} is not on the top level of {path}: move it there")
    return Path(path)
