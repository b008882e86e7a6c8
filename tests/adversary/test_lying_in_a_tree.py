"""Servers that lie about the partial sums of a round. `tests/contracts/test_nodes.py` has what the ledger says of each
kind of wrong node; here the programs find it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.coordinators.summing_up import SummingUp, Tree
from galaxy_chain.verify.how import BRANCH
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.aggregation.sum_tree import Node
from galaxy_fl.exceptions import RoundMovedOnError
from tests.adversary.arena import BOND, finish, honest_root, looks, punished, tower
from tests.galaxy_chain.federation import PATIENCE, SAMPLES, Federation
from tests.galaxy_chain.verify.trees import commit_tree, large

Change = Callable[[list[bytes]], list[bytes]]


class FalseList(SummingUp):
    """Right sums, of which the published list says something else."""

    def __init__(self, verifier: Verifier, change: Change) -> None:
        super().__init__(verifier)
        self._change = change

    def publish(self, folder: Path, paths: Sequence[Path], nodes: Sequence[Node], next_model: Path) -> Tree:
        tree = super().publish(folder, paths, nodes, next_model)
        listed = self._change([content.digest for content in tree.contents])
        return replace(tree, manifest=self._verifier.store.put(b"".join(listed)))


def client_of(federation: Federation, index: int) -> LedgerClientCoordinator:
    """A client that verifies its branch."""
    client = LedgerClientCoordinator(
        federation.ledger(federation.clients[index]), federation.store, federation.job, PATIENCE
    )
    client.enter(SAMPLES)
    return client


LISTS: dict[str, Change] = {
    "in another order": lambda digests: digests[::-1],
    "one content for all nodes": lambda digests: [digests[0]] * len(digests),
    "contents that nobody has": lambda digests: [bytes([number]) * 32 for number in range(len(digests))],
    "too short": lambda digests: digests[:2],
}


@pytest.mark.parametrize("kind", LISTS)
def test_right_nodes_under_false_contents_are_made_again_and_nobody_is_punished(federation, kind):
    many = large(federation)
    server = commit_tree(many, summing_up=lambda verifier: FalseList(verifier, LISTS[kind]))
    commit = server.history.commits[1]
    watching, client = tower(many), client_of(many, 5)
    if kind == "too short":
        # A commit of two nodes for which it is the right list: what was read for that one is no list for this one.
        watching.verifier.nodes.contents(replace(commit, nodes=commit.nodes[:2]))
    assert looks(watching) == ["right"]
    assert watching.purse.spent == 0
    client.model(client.round())
    assert client._inspection._verified.has(commit.word, BRANCH)
    at_stake = many.ledger().account_of(many.job, many.server)
    assert (at_stake.bond, at_stake.barred, at_stake.demands) == (BOND, False, 0)


def test_a_lie_above_a_run_of_one_is_challenged_by_its_client_and_the_job_goes_on_with_what_is_right(federation):
    many = large(federation, clients=5)
    honest = honest_root(many)

    def lie(vectors, weights):
        vectors[4][0] += 2**20  # node 5, which stands for node 3 alone, and that for the last entry alone
        return 5

    commit_tree(many, lie)
    client = client_of(many, 4)
    with pytest.raises(RoundMovedOnError, match="has been challenged"):
        client.model(client.round())
    punished(many, many.clients[4])
    # The same entries, with other nodes.
    finish(many, honest)
