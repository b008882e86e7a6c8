"""Rounds with a tree of sums, and servers that lie somewhere in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from galaxy_chain.coordinators import LedgerServerCoordinator
from galaxy_chain.coordinators.summing_up import SummingUp, Tree
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.aggregation.rule import is_sum
from galaxy_fl.aggregation.sum_tree import Node, locate
from galaxy_fl.aggregation.summing import node_file
from galaxy_fl.vectors import Sums, read_vector, tree_root
from tests.galaxy_chain.federation import CHUNK, PARAMETERS, Federation

__all__ = ["CLIENTS", "FAN_IN", "WRONG", "Alter", "LyingSums", "commit_tree", "large", "model_off", "off", "without"]

FAN_IN = 2
CLIENTS = 6
"""Nodes 1 to 3 stand for two entries each, node 4 for nodes 1 and 2, node 5 for node 3, and node 6 is the root."""

WRONG = 70
"""A parameter in chunk 1."""
Alter = Callable[[list[Sums], list[int]], int]
"""Changes vectors or weights of nodes, and returns the number of the node from which on upward all is made consistent."""


def large(federation: Federation, clients: int = CLIENTS, fan_in: int = FAN_IN, **terms: int) -> Federation:
    """The same with a job of six clients, of whom two make a node, and all entries in."""
    federation.clients = [*federation.clients[:3], *federation.node.accounts[10:13]]
    federation.job = federation.register(fan_in=fan_in, min_clients=3, max_clients=clients, **terms)
    federation.submit(*range(clients))
    return federation


def off(node: int, by: int = 1) -> Alter:
    """A vector that is wrong in one parameter."""

    def alter(vectors, weights):
        vectors[node - 1][WRONG] += by
        return node

    return alter


def model_off(path: Path) -> None:
    """Makes a next model wrong in one parameter."""
    model = np.fromfile(path, "<i4")
    model[WRONG] += 1
    path.write_bytes(model.tobytes())


class LyingSums(SummingUp):
    """Sums that are altered before they are published; whatever is above is the sum of what is below it."""

    def __init__(self, verifier: Verifier, alter: Alter) -> None:
        super().__init__(verifier)
        self._alter = alter

    def sum_up(self, history: JobHistory, model: Path, updates: Mapping[str, Path], next_model: Path) -> Tree:
        self._entries, self._model = len(history.entries), model
        return super().sum_up(history, model, updates, next_model)

    def publish(self, folder: Path, paths: Sequence[Path], nodes: Sequence[Node], next_model: Path) -> Tree:
        vectors = [np.fromfile(path, "<i8") for path in paths]
        weights = [node.weight for node in nodes]
        last = self._alter(vectors, weights)
        for number in range(last + 1, len(nodes) + 1):
            place = locate(self._entries, FAN_IN, number)
            if place.level > 1:
                vectors[number - 1] = sum((vectors[child] for child in place.children), np.zeros(PARAMETERS, np.int64))
                weights[number - 1] = sum(weights[child] for child in place.children)
        lies = [node_file(folder, number) for number in range(1, len(nodes) + 1)]
        for path, vector in zip(lies, vectors, strict=True):
            path.write_bytes(vector.tobytes())
        made = tuple(Node(tree_root(v, CHUNK), w) for v, w in zip(vectors, weights, strict=True))
        rule = self._verifier.rule
        assert is_sum(rule)
        word = self._verifier.document.rule.rule_word
        model = read_vector(self._model, rule.lanes * PARAMETERS)
        next_model.write_bytes(rule.finish(word, model, vectors[-1], weights[-1]).tobytes())
        return super().publish(folder, lies, made, next_model)


def commit_tree(
    federation: Federation,
    alter: Alter | None = None,
    final: Callable[[Path], None] = lambda path: None,
    account: str | None = None,
    summing_up: Callable[[Verifier], SummingUp] = SummingUp,
) -> LedgerServerCoordinator:
    """Commits the current attempt as a server does, which lies in the sums or in the next model."""
    server = federation.serve(account)
    server.summing_up = summing_up(server.verifier) if alter is None else LyingSums(server.verifier, alter)
    round = server.round()
    usable, unusable = server.gather(round, server.updates(round))
    path = federation.store.root.parent / "next"
    path.unlink(missing_ok=True)
    server.aggregate(round, usable, path)
    final(path)
    server.commit(round, path, unusable)
    server.round()
    return server


def without(federation: Federation, server: LedgerServerCoordinator, commit: Commit, *nodes: int) -> None:
    """Takes the vectors of nodes out of the store."""
    contents = server.verifier.nodes.contents(commit)
    for node in nodes:
        federation.store.path(contents[node - 1]).unlink()
