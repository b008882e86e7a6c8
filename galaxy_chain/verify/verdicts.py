"""What is found of each commit of a job when it is recomputed: right, wrong, or not to be checked.

An audit ends on the first lie. Whoever shows a job wants to know of every commit, of those that were taken back, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from galaxy_chain.exceptions import AuditError
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.verify.audit import Auditor, WrongAggregateError
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.aggregation.rule import sum_bounds
from galaxy_fl.aggregation.sum_tree import wrong_weight
from galaxy_fl.exceptions import AggregationError, ContentError, VectorError
from galaxy_fl.tables import Html, table
from galaxy_fl.vectors import blocks, read_sums

__all__ = ["Difference", "Outcome", "Verdict", "Verdicts", "commits_of", "difference_of", "verdict_on", "verdicts_on"]


class Outcome(StrEnum):
    """What became of recomputing a commit."""

    RIGHT = "right"
    WRONG = "wrong"
    UNCHECKED = "not to be checked"
    """Something that it takes is missing, or can't be read here."""


@dataclass(frozen=True)
class Difference:
    """The first number that a commit has wrong.

    Attributes:
        node: The node of the tree of sums that it is in; 0 for the next model.
        chunk: The chunk of the node that it is in.
        what: What it is, in words, such as `parameter 77`.
        committed: What was committed.
        recomputed: What the updates make.
        parameter: Which parameter it is of; None where it is a weight.
        lane: Which moment of that, of a rule that keeps some; 0 for the parameter itself.
    """

    node: int
    chunk: int
    what: str
    committed: int
    recomputed: int
    parameter: int | None = None
    lane: int = 0

    @property
    def where(self) -> str:
        """The node and the chunk, in words."""
        return f"chunk {self.chunk} of " + (f"partial sum {self.node}" if self.node else "the next model")


@dataclass(frozen=True)
class Verdict:
    """What was found of a commit.

    Attributes:
        commit: It; `commit.record.round` is its round.
        outcome: What became of recomputing it.
        reason: What is wrong, or why it could not be checked; empty where it is right.
        difference: A number that is wrong; None where nothing is, or where what it takes to show it is missing.
        objections: What is to be said against it though its arithmetic is right.
    """

    commit: Commit
    outcome: Outcome
    reason: str = ""
    difference: Difference | None = None
    objections: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Verdict(round={self.commit.record.round}, outcome={self.outcome.value!r}, reason={self.reason!r:.80})"


class Verdicts(tuple[Verdict, ...]):
    """Verdicts on commits, in order; a notebook shows them as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        counted = (f"{sum(each.outcome is one for each in self)} {one.value}" for one in Outcome)
        return f"Verdicts({', '.join(counted)})"

    def _repr_html_(self) -> Html:
        rows = [
            (
                each.commit.record.round,
                each.outcome.value,
                len(each.commit.included),
                len(each.commit.excluded) or "",
                each.commit.record.server,
                each.commit.record.next.root.hex(),
                "; ".join((each.reason, *each.objections) if each.reason else each.objections),
            )
            for each in self
        ]
        return table(("round", "verdict", "updates", "excluded", "committed by", "model", "because"), rows)


def commits_of(history: JobHistory) -> list[Commit]:
    """All commits of a job in the order of their rounds and attempts, those that were taken back among them."""
    commits = (*history.commits.values(), *history.void.values())
    return sorted(commits, key=lambda commit: (commit.record.round, commit.attempt))


def verdicts_on(auditor: Auditor, commits: Iterable[Commit] | None = None) -> Iterator[Verdict]:
    """Recompute commits, one after the other: those that stand, where no others are named."""
    history = auditor.history
    for commit in (commit for _, commit in sorted(history.commits.items())) if commits is None else commits:
        yield verdict_on(auditor, commit)


def verdict_on(auditor: Auditor, commit: Commit) -> Verdict:
    """Recompute a commit, and say what was found: what `galaxy-chain audit` says of it.

    Raises:
        RpcError: the node fails.
    """
    try:
        auditor.check(commit)
        return Verdict(commit, Outcome.RIGHT, objections=tuple(auditor.objections(commit)))
    except WrongAggregateError as error:
        found = difference_of(auditor.verifier, auditor.history, commit, error.node, error.chunk)
        return Verdict(commit, Outcome.WRONG, str(error), found)
    except AuditError as error:
        return Verdict(commit, Outcome.WRONG, str(error))
    except (ContentError, AggregationError, VectorError) as error:
        return Verdict(commit, Outcome.UNCHECKED, str(error))


def difference_of(verifier: Verifier, history: JobHistory, commit: Commit, node: int, chunk: int) -> Difference | None:
    """The number of a node, or of the next model, that was found wrong in a chunk, beside what it should be; None where
    what it takes to show it is missing."""
    try:
        return _in_sum(verifier, commit, node, chunk) if node else _in_model(verifier, history, commit)
    except ContentError:  # it was there a moment ago
        return None


def _in_model(verifier: Verifier, history: JobHistory, commit: Commit) -> Difference | None:
    wrong = verifier.wrong_parameter(history, commit)
    if wrong is None:
        return None
    index, theirs, ours = wrong
    parameter, lane = divmod(index, verifier.rule.lanes)
    what = f"moment {lane} of parameter {parameter}" if lane else f"parameter {parameter}"
    return Difference(0, index // verifier.model_chunk, what, theirs, ours, parameter, lane)


def _in_sum(verifier: Verifier, commit: Commit, node: int, chunk: int) -> Difference | None:
    terms, place = verifier.terms, verifier.nodes.place(commit, node)
    weights = [0 if number in commit.left_out else entry.update.weight for number, entry in enumerate(commit.entries)]
    if wrong_weight(commit.nodes, weights, terms.fan_in) == node:
        below = weights if place.level == 1 else [each.weight for each in commit.nodes]
        made = sum(below[place.children.start : place.children.stop])
        return Difference(node, chunk, f"the weight of partial sum {node}", commit.nodes[node - 1].weight, made)
    with verifier.nodes.summed(commit, node) as path:
        ours = read_sums(path, terms.parameters)
        theirs = read_sums(verifier.nodes.found(commit, node), terms.parameters)
        for block in blocks(terms.parameters):
            if len(differing := np.flatnonzero(ours[block] != theirs[block])):
                index = int(block.start) + int(differing[0])
                what = f"the weighted sum of parameter {index}"
                at = index // terms.chunk_parameters
                return Difference(node, at, what, int(theirs[index]), int(ours[index]), index)
    return _beyond_bounds(verifier, commit, node)


def _beyond_bounds(verifier: Verifier, commit: Commit, node: int) -> Difference | None:
    """The number of a child of a node that no updates of its weight sum to, beside the nearest one that some do."""
    terms = verifier.terms
    for child in verifier.nodes.place(commit, node).child_nodes:
        sums = read_sums(verifier.nodes.found(commit, child), terms.parameters)
        lowest, highest = sum_bounds(commit.nodes[child - 1].weight)
        for block in blocks(terms.parameters):
            if len(beyond := np.flatnonzero((sums[block] < lowest) | (sums[block] > highest))):
                index = int(block.start) + int(beyond[0])
                value = int(sums[index])
                bound = int(lowest if value < lowest else highest)
                what = f"the weighted sum of parameter {index} in partial sum {child}, which is beyond its bounds"
                return Difference(node, index // terms.chunk_parameters, what, value, bound, index)
    return None
