"""What a wrong commit says where it is wrong, and what it should say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from galaxy_chain.dashboard.schema import Lie
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.verify.faults import Fault, Kind
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.aggregation.rule import sum_bounds
from galaxy_fl.aggregation.sum_tree import wrong_weight
from galaxy_fl.exceptions import ContentError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.vectors import blocks, read_sums

__all__ = ["lie_of", "tensor_at"]

LONGEST_REASON = 1_000


@dataclass(frozen=True)
class _Values:
    """What was found: of which parameter and lane, what is committed and what is right."""

    parameter: int | None = None
    lane: int = 0
    committed: int | None = None
    right: int | None = None
    weight: int = 0
    """Of the sum that the values are of; 0 where they are no sums."""


def lie_of(verifier: Verifier, history: JobHistory, commit: Commit, fault: Fault) -> Lie:
    """A fault with both values, where what is here shows them."""
    found = _Values()
    if fault.kind is Kind.PROVED:
        try:
            found = _in_node(verifier, commit, fault) if fault.node else _in_model(verifier, history, commit)
        except ContentError:
            pass  # it was there a moment ago: the fault stands, and its values are shown no more
    chunk, tensor, scale = fault.chunk, None, None
    if found.parameter is not None:
        chunk = found.parameter // verifier.terms.chunk_parameters
        tensor, bits = tensor_at(verifier.document, found.parameter)
        if found.lane == 0:
            scale = 2.0**bits * (found.weight or 1)
    return Lie(
        node=fault.node,
        chunk=chunk,
        parameter=found.parameter,
        tensor=tensor,
        lane=None if found.parameter is None else found.lane,
        committed=None if found.committed is None else str(found.committed),
        right=None if found.right is None else str(found.right),
        committed_number=None if found.committed is None or scale is None else found.committed / scale,
        right_number=None if found.right is None or scale is None else found.right / scale,
        of_sum=found.weight > 0,
        reason=fault.reason[:LONGEST_REASON],
        provable=fault.kind is Kind.PROVED,
    )


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


def _in_model(verifier: Verifier, history: JobHistory, commit: Commit) -> _Values:
    wrong = verifier.wrong_parameter(history, commit)
    if wrong is None:
        return _Values()
    index, theirs, ours = wrong
    parameter, lane = divmod(index, verifier.rule.lanes)
    return _Values(parameter, lane, theirs, ours)


def _in_node(verifier: Verifier, commit: Commit, fault: Fault) -> _Values:
    terms, place = verifier.terms, verifier.nodes.place(commit, fault.node)
    weights = [0 if number in commit.left_out else entry.update.weight for number, entry in enumerate(commit.entries)]
    weight = commit.nodes[fault.node - 1].weight
    if wrong_weight(commit.nodes, weights, terms.fan_in) == fault.node:
        below = weights if place.level == 1 else [each.weight for each in commit.nodes]
        return _Values(committed=weight, right=sum(below[place.children.start : place.children.stop]))
    theirs = read_sums(verifier.nodes.found(commit, fault.node), terms.parameters)
    with verifier.nodes.summed(commit, fault.node) as path:
        ours = read_sums(path, terms.parameters)
        for block in blocks(terms.parameters):
            if len(differing := np.flatnonzero(ours[block] != theirs[block])):
                index = int(block.start) + int(differing[0])
                return _Values(index, 0, int(theirs[index]), int(ours[index]), weight)
    # It is the sum of its children, one of which is none of its own.
    for child in place.child_nodes:
        sums = read_sums(verifier.nodes.found(commit, child), terms.parameters)
        lowest, highest = sum_bounds(commit.nodes[child - 1].weight)
        for block in blocks(terms.parameters):
            if len(beyond := np.flatnonzero((sums[block] < lowest) | (sums[block] > highest))):
                index = int(block.start) + int(beyond[0])
                value = int(sums[index])
                bound = lowest if value < lowest else highest
                return _Values(index, 0, value, int(bound), commit.nodes[child - 1].weight)
    return _Values()
