"""What a wrong commit says where it is wrong, and what it should say, as the page shows it."""

from __future__ import annotations

import numpy as np

from galaxy_chain.dashboard.schema import Lie
from galaxy_chain.following.history import Commit
from galaxy_chain.verify.audit import Auditor
from galaxy_chain.verify.faults import Fault, Kind
from galaxy_chain.verify.verdicts import difference_of
from galaxy_fl.jobs.document import JobDocument

__all__ = ["lie_of", "lie_of_content", "tensor_at"]

LONGEST_REASON = 1_000


def lie_of(auditor: Auditor, commit: Commit, fault: Fault) -> Lie:
    """A fault with both values, where what is here shows them."""
    proved = fault.kind is Kind.PROVED
    found = difference_of(auditor.verifier, auditor.history, commit, fault.node, fault.chunk) if proved else None
    if found is None:
        return _lie(fault, proved)
    weight, tensor, scale = commit.nodes[fault.node - 1].weight if fault.node else 0, None, None
    if found.parameter is not None:
        tensor, bits = tensor_at(auditor.document, found.parameter)
        if found.lane == 0:  # moments have a fixed point of their own
            scale = 2.0**bits * (weight or 1)
    return _lie(
        fault, proved, chunk=found.chunk, parameter=found.parameter, tensor=tensor,
        lane=None if found.parameter is None else found.lane,
        committed=str(found.committed), right=str(found.recomputed),
        committed_number=None if scale is None else found.committed / scale,
        right_number=None if scale is None else found.recomputed / scale,
        of_sum=weight > 0 and found.parameter is not None,
    )  # fmt: skip


def lie_of_content(reason: str) -> Lie:
    """A lie that shows by what the ledger says of a content, and in no number."""
    return _lie(Fault(0, 0, Kind.HIDDEN, reason), proved=False)


def _lie(fault: Fault, proved: bool, **found: object) -> Lie:
    nothing = dict.fromkeys(
        ("parameter", "tensor", "lane", "committed", "right", "committed_number", "right_number"), None
    )
    given = {"node": fault.node, "chunk": fault.chunk, "of_sum": False, "reason": fault.reason[:LONGEST_REASON]}
    return Lie.model_validate({**nothing, **given, "provable": proved, **found})


def tensor_at(document: JobDocument, parameter: int) -> tuple[str, int]:
    """Where a parameter is in the model, such as `0.weight[3, 17]`, and its fraction bits."""
    first, bits = 0, 0
    for tensor in document.tensors.tensors:
        if parameter < first + tensor.parameters:
            place = np.unravel_index(parameter - first, tensor.shape) if tensor.shape else ()
            where = f"[{', '.join(str(int(each)) for each in place)}]" if place else ""
            return f"{tensor.name}{where}", tensor.fraction_bits
        first, bits = first + tensor.parameters, tensor.fraction_bits
    return "padding", bits
