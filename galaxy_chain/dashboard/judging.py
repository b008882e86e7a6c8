"""One commit recomputed, piece by piece, so that it can be seen how far that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from galaxy_chain.dashboard.lies import lie_of, lie_of_content
from galaxy_chain.dashboard.schema import Lie, NodeState
from galaxy_chain.exceptions import AuditError, ContentMismatchError, KeyMissingError
from galaxy_chain.following.history import Commit
from galaxy_chain.verify.audit import Auditor
from galaxy_chain.verify.faults import Fault, Kind
from galaxy_fl.exceptions import AggregationError, ContentAlteredError, ContentMissingError, VectorError

__all__ = ["Result", "View", "judged"]

MOST_NODES = 1_000
"""Nodes of a commit of which it is remembered that they are not right."""
LONGEST = 1_000
_LACKING = (ContentMissingError, ContentAlteredError)

At = Callable[[int, int, str], None]
"""Takes how many are done, of how many, and what they are. What it raises ends the work."""


@dataclass(eq=False)
class View:
    """What was seen of a commit's nodes so far.

    Attributes:
        looked: Up to which node all were looked at; one more than there are once the last step was, too.
        nodes: Those that are not right, and why; 0 for the step to the next model.
    """

    looked: int = 0
    nodes: dict[int, tuple[NodeState, str]] = field(default_factory=dict)

    def note(self, fault: Fault) -> Fault:
        """Take what is wrong with a node."""
        if len(self.nodes) < MOST_NODES:
            state = NodeState.UNCHECKED if fault.kind is Kind.MISSING else NodeState.WRONG
            self.nodes.setdefault(fault.node, (state, fault.reason[:LONGEST]))
        return fault


@dataclass(frozen=True)
class Result:
    """What was found of a commit: it is wrong, or something is missing, or it is right."""

    lie: Lie | None = None
    missing: str | None = None
    objections: tuple[str, ...] = ()


def judged(auditor: Auditor, commit: Commit, view: View, at: At) -> Result:
    """Recompute a commit.

    Args:
        auditor: Of the job.
        commit: One of its history's, whether it stands or not.
        view: Takes what is seen of its nodes.
        at: Is told how far it is.

    Raises:
        ContentError: the store can't be used.
    """
    missing: str | None = None
    lie: Lie | None = None
    try:
        # All of them, whatever the first says: each node is shown as what it is.
        for fault in _faults(auditor, commit, view, at):
            if fault.kind is Kind.MISSING:
                missing = missing or fault.reason
            elif lie is None or (fault.kind is Kind.PROVED and not lie.provable):
                lie = lie_of(auditor, commit, fault)
        if lie is None and missing is None:
            return Result(objections=tuple(auditor.objections(commit)))
    except (ContentMismatchError, AuditError) as error:
        lie = lie or lie_of_content(str(error))
    except (*_LACKING, KeyMissingError, AggregationError, VectorError) as error:
        missing = missing or str(error)
    return Result(lie, None if lie else missing)


def _faults(auditor: Auditor, commit: Commit, view: View, at: At) -> Iterator[Fault]:
    included, nodes = commit.included, len(commit.nodes)
    total = len(included) + (nodes + 1 if nodes else 1)
    for done, entry in enumerate(included):
        at(done, total, "updates")
        try:
            auditor.verifier.update(entry, f"the update of {entry.client}")
        except ContentMismatchError:  # it counts, and is not what its client committed to
            raise
        except _LACKING:
            pass  # what else is there may make up for it
    if not nodes:
        at(total - 1, total, "updates")
        yield from map(view.note, auditor.checks.everything(auditor.history, commit))
        return
    tree = auditor.checks.tree(auditor.history, commit)
    yield from map(view.note, tree.weights())
    for node in range(1, nodes + 1):
        at(len(included) + node - 1, total, "nodes")
        yield from map(view.note, tree.node(node))
        view.looked = node
    at(total - 1, total, "nodes")
    yield from map(view.note, tree.last_step())
    view.looked = nodes + 1
