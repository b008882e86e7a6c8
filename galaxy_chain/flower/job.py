"""The job of a Flower app: registered by what the app's model begins with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from galaxy_chain.flower.arrays import numpy_arrays
from galaxy_fl.exceptions import ConfigurationError, JobDocumentError, VectorError
from galaxy_fl.validation import explain

if TYPE_CHECKING:
    from torch import nn

    from galaxy_fl.jobs.document import JobDocument

__all__ = ["check_fit", "create_job", "document_of"]

LOG = logging.getLogger(__name__)


def create_job(
    model: Mapping[str, Any] | nn.Module,
    *,
    rounds: int,
    clients: int,
    open: bool = False,
    admit: Sequence[str] = (),
    name: str = "flower app",
    fraction_bits: Mapping[str, int] | None = None,
    **settings: Any,
) -> int:
    """Register the job of a Flower app at a ledger, as its owner.

    Args:
        model: What round 1 starts from: the app's `ArrayRecord`, a `state_dict`, or a module of torch. Of a module it
            is known which tensors are buffers such as running variances, which get a wider range.
        rounds: Number of rounds.
        clients: How many updates make a round. All of them, unless `terms` has a smaller `min_clients`: then a round
            goes on without those that have not replied `deadline` seconds after the others are in.
        open: Whether anybody may join.
        admit: Addresses of the clients that may, where not everybody may.
        name: What the job is called.
        fraction_bits: How finely arrays are carried, by name or pattern: values are rounded to multiples of 2**-bits,
            and may be up to 2**(31 - bits). By default 24, and fewer where the initial values are large.
        settings: Those of a ledger, as GALAXY_… variables and galaxy.toml give them, too: `account`, `home`, `rpc`,
            `store`, …; and `terms`, a mapping with `bond`, `reward`, `min_clients`, `deadline`, ….

    Returns:
        The job's number, which the app's strategy and its clients name.

    Raises:
        ConfigurationError: a setting or a term is wrong, or it is not said who may join.
        JobDocumentError: the model has arrays that can't travel.
        GalaxyError: the job can't be registered.
    """
    from galaxy_chain.jobs.creation import register_job
    from galaxy_chain.jobs.file import TermsSection
    from galaxy_chain.mode import ChainSettings

    if not open and not admit:
        raise ConfigurationError(
            "nobody may join the job: name the clients' addresses, admit=[…] (`galaxy-chain account list` shows them), "
            "or let anybody join, open=True"
        )
    if open and admit:
        raise ConfigurationError("open=True lets anybody join, and admit names who may: leave out one of them")
    document, initial = document_of(model, name, fraction_bits)
    chosen = ChainSettings.of(settings)
    wanted = {"rounds": rounds, "min_clients": clients, "max_clients": clients, "open": open}
    try:
        terms = TermsSection.model_validate(wanted | chosen.terms)
    except ValidationError as error:
        raise ConfigurationError(f"the job's terms: {explain(error)}") from error
    at = chosen.model_copy(update={"accounts": None}).at()  # those are the clients'
    ledger = at.acting()
    created = register_job(
        ledger, at.deployment().rules, at.store(ledger), document, initial, None, terms, chosen.limits, None, at.home
    )
    for concern in created.concerns:
        LOG.warning("job %d: %s", created.job, concern.message)
    if admit:
        ledger.admit(created.job, list(admit)).transact()
    return created.job


def document_of(
    model: Mapping[str, Any] | nn.Module, name: str, fraction_bits: Mapping[str, int] | None = None
) -> tuple[JobDocument, np.ndarray[Any, Any]]:
    """The document of a Flower app's job, and the vector that round 1 starts from.

    Raises:
        JobDocumentError: the model has arrays that can't travel, or the name is not one.
        EncodingError: a value is NaN, infinite or too large for its fraction bits.
    """
    import torch

    from galaxy_fl.jobs.document import BuiltinModel, JobDocument
    from galaxy_fl.jobs.local_tensors import LocalTensor
    from galaxy_fl.jobs.submission import is_constant
    from galaxy_fl.training.models import ELSEWHERE
    from galaxy_fl.vectors import Layout, encode

    buffers: set[str] = set()
    if isinstance(model, torch.nn.Module):
        buffers = {key for key, _ in model.named_buffers(remove_duplicate=False)}
        model = model.state_dict()
    if not isinstance(model, Mapping):
        raise JobDocumentError(
            f"model is a {type(model).__name__}, expected what round 1 starts from: an ArrayRecord, a state_dict or a "
            "module of torch"
        )
    state = {key: torch.from_numpy(np.array(value)) for key, value in numpy_arrays(model).items()}
    local = {key: value for key, value in state.items() if not value.is_floating_point() or is_constant(value)}
    try:
        shared = {key: value for key, value in state.items() if key not in local}
        layout = Layout.of(shared, buffers).with_bits(fraction_bits or {}).padded()
    except VectorError as error:
        raise JobDocumentError(f"the app's model can't be carried: {error}") from error
    try:
        document = JobDocument(
            name=name,
            model=BuiltinModel(builtin=ELSEWHERE),
            layout=layout.to_json(),
            local=[LocalTensor.of(key, value) for key, value in local.items()],
        )
    except ValidationError as error:
        raise JobDocumentError(f"the app's job: {explain(error)}") from error
    return document, encode(shared, document.tensors)


def check_fit(document: JobDocument, job: int) -> None:
    """Make sure that a Flower app can train a job.

    Raises:
        ConfigurationError: it can't; says what of the job it is.
    """
    lacking = [
        (
            document.rule.name != "weighted_mean",
            f"its rule is {document.rule.name}, and Flower's mean is weighted_mean",
        ),
        (document.weighting != "samples", f"its weighting is {document.weighting!r}, and Flower weighs by samples"),
        (document.reveal != "immediate", f"it reveals updates {document.reveal!r}, and a reply's is public at once"),
        (document.seal is not None, "it is sealed"),
        (document.privacy is not None, "it has privacy, which Galaxy's own training sees to"),
        (bool(document.frozen or document.personal), "it has frozen or personal tensors, which are in no message"),
    ]
    for is_so, what in lacking:
        if is_so:
            raise ConfigurationError(
                f"job {job} is not one for a Flower app: {what}; register one by galaxy_chain.flower.create_job"
            )
