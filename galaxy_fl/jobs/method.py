"""What becomes of the clients' models in each round, as a job's author writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import ValidationError

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.document import RuleChoice
from galaxy_fl.jobs.rule_choice import OPTIONS
from galaxy_fl.jobs.shown import shown, tabled
from galaxy_fl.validation import explain

__all__ = ["Averaging", "Distillation"]

Rule = Literal["weighted_mean", "coordinate_median", "trimmed_mean", "fedavgm", "fedadam"]


@dataclass(frozen=True, repr=False)
class Averaging:
    """The server aggregates the clients' models into one, from which the next round starts.

    Args:
        rule: `"weighted_mean"` (FedAvg; McMahan et al., "Communication-Efficient Learning of Deep Networks from
            Decentralized Data", AISTATS 2017), or one that outvotes dishonest clients: `"coordinate_median"`, or
            `"trimmed_mean"` (both Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018). Two take the mean
            for a gradient that the server descends, which may help where clients' data differ: `"fedavgm"` with
            momentum (Hsu et al., "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
            Classification", 2019), and `"fedadam"` (Reddi et al., "Adaptive Federated Optimization", ICLR 2021).
        learning_rate: The server's, of `"fedavgm"` (1 unless it is given) and `"fedadam"` (0.01).
        momentum: Of `"fedavgm"`, below 1 (0.9).
        beta1, beta2: Of `"fedadam"`, below 1 (0.9 and 0.99).
        tau: Of `"fedadam"`, what keeps its steps from growing where updates are small (0.001).
        trim: With `"trimmed_mean"`, how many of the smallest and of the largest values of each parameter are left out.

    Raises:
        JobDocumentError: there is no such rule, or a number does not suit it.

    Example:
        >>> import galaxy_fl as galaxy
        >>> galaxy.Averaging("trimmed_mean", trim=1)
        Averaging(rule='trimmed_mean', trim=1)
        >>> galaxy.Averaging("fedadam", learning_rate=0.03)
        Averaging(rule='fedadam', learning_rate=0.03)
    """

    rule: Rule = "weighted_mean"
    trim: int = 0
    learning_rate: float | None = None
    momentum: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    tau: float | None = None

    def __post_init__(self) -> None:
        from galaxy_fl.training.names import unknown_name

        if self.rule not in get_args(Rule):
            raise JobDocumentError(f"Averaging: {unknown_name('rule', str(self.rule), get_args(Rule))}")
        if type(self.trim) is not int or not 0 <= self.trim < 32:
            raise JobDocumentError(f"Averaging: trim is {self.trim!r}, expected a whole number from 0 to 31")
        if (self.rule == "trimmed_mean") != (self.trim > 0):
            raise JobDocumentError(
                f"Averaging: trim is {self.trim} with the rule {self.rule!r}: with 'trimmed_mean' it is how many "
                "values are left out at each end, 1 or more; other rules leave out none"
            )
        try:
            _ = self.choice
        except ValidationError as error:
            raise JobDocumentError(f"Averaging: {explain(error).removeprefix('the document: ')}") from error

    def __repr__(self) -> str:
        return shown(self)

    def _repr_html_(self) -> str:
        return tabled(self)

    @property
    def choice(self) -> RuleChoice:
        """The rule as a job document has it."""
        options = {name: getattr(self, name) for name in OPTIONS}
        given = {name: value for name, value in options.items() if value is not None}
        return RuleChoice.model_validate({"name": self.rule, "parameters": self.trim} | given)


@dataclass(frozen=True, repr=False)
class Distillation:
    """Each client keeps a model of its own, and learns from those of the others; nothing is aggregated.

    The loss is that of the job plus `alpha` times the divergence to each other client's model of the round before
    (Zhang et al., "Deep Mutual Learning", CVPR 2018).

    Args:
        alpha: Weight of the divergence, 0 or more.
        reduction: `"batchmean"` divides the divergence by the samples, `"mean"` by the classes, too.

    Example:
        >>> import galaxy_fl as galaxy
        >>> galaxy.Distillation(alpha=0.5)
        Distillation(alpha=0.5)
    """

    alpha: float
    reduction: Literal["batchmean", "mean"] = "batchmean"

    def __repr__(self) -> str:
        return shown(self)

    def _repr_html_(self) -> str:
        return tabled(self)

    @property
    def choice(self) -> RuleChoice:
        """The rule as a job document has it: the server passes on what it gets."""
        return RuleChoice(name="relay")
