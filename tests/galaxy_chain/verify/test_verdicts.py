"""Of every commit it is said what was found, of a lie both values, and what could not be checked is not called right."""

from __future__ import annotations

import pytest

from galaxy_chain.verify.audit import Auditor
from galaxy_chain.verify.verdicts import Difference, Outcome, Verdicts, commits_of, difference_of, verdicts_on
from galaxy_fl.content import LocalStore
from tests.galaxy_chain.federation import CHUNK
from tests.galaxy_chain.verify.trees import WRONG, commit_tree, large, off


def verdicts(federation):
    auditor = Auditor(federation.ledger(), LocalStore(federation.store.root), federation.job)
    return Verdicts(verdicts_on(auditor, commits_of(auditor.history)))


def test_a_lie_is_shown_with_both_values_and_does_not_end_the_look(federation):
    federation.submit(0, 1, 2)
    lie = federation.aggregate(federation.serve(), {})
    right = int(lie[77])
    lie[77] += 1
    federation.commit(lie)
    federation.submit(0, 1, 2, seed=2)
    federation.commit()
    first, second = verdicts(federation)
    assert (first.outcome, second.outcome) == (Outcome.WRONG, Outcome.RIGHT)
    assert first.difference == Difference(0, 77 // CHUNK, "parameter 77", right + 1, right, 77)
    assert first.difference.where == "chunk 1 of the next model"
    assert second.difference is None


@pytest.mark.parametrize("number", [1, 4])
def test_a_lie_in_a_tree_of_sums_is_shown_with_its_node(federation, number):
    many = large(federation)
    commit_tree(many, off(number))
    (verdict,) = verdicts(many)
    found = verdict.difference
    assert (verdict.outcome, found.node, found.chunk) == (Outcome.WRONG, number, WRONG // CHUNK)
    assert found.what == f"the weighted sum of parameter {WRONG}"
    assert found.committed == found.recomputed + 1
    assert found.where == f"chunk 1 of partial sum {number}"


def test_a_lie_about_a_weight_is_shown_as_one(federation):
    def heavier(vectors, weights):
        weights[0] += 1
        return 1

    many = large(federation)
    commit_tree(many, heavier)
    (verdict,) = verdicts(many)
    made = sum(entry.update.weight for entry in verdict.commit.entries[:2])
    assert verdict.difference == Difference(1, 0, "the weight of partial sum 1", made + 1, made)


@pytest.mark.parametrize("fan_in", [2, 16], ids=["tree", "flat"])
def test_what_is_missing_is_not_called_right(federation, fan_in):
    federation.job = federation.register(fan_in=fan_in)
    federation.submit(0, 1, 2)
    federation.commit()
    (verdict,) = verdicts(federation)
    assert (verdict.outcome, verdict.reason) == (Outcome.RIGHT, "")
    update = verdict.commit.entries[0]
    federation.content(update.update.content).unlink()
    for path in LocalStore(federation.store.root).root.rglob("*"):
        if path.is_file() and path.stat().st_size == 8 * 150:  # a partial sum, which would make up for it
            path.unlink()
    (verdict,) = verdicts(federation)
    assert verdict.outcome is Outcome.UNCHECKED
    assert update.client in verdict.reason
    assert repr(verdicts(federation)) == "Verdicts(0 right, 0 wrong, 1 not to be checked)"


def test_a_notebook_shows_them_as_a_table(federation):
    federation.submit(0, 1, 2)
    federation.commit(excluded=(1,))
    found = verdicts(federation)
    shown = found._repr_html_()
    assert shown.startswith("<table>")
    assert "right" in shown
    assert found[0].commit.record.next.root.hex() in shown
    assert "was excluded, though its update is there and right" in shown


def test_a_sum_beyond_what_updates_come_to_is_shown_with_its_bound(federation):
    def beyond(vectors, weights):
        vectors[0][WRONG] = weights[0] * 2**31  # one more than the greatest
        return 1

    many = large(federation)
    commit_tree(many, beyond)
    verifier = Auditor(many.ledger(), many.store, many.job)
    (commit,) = verifier.history.commits.values()
    found = difference_of(verifier.verifier, verifier.history, commit, 4, 0)
    weight = commit.nodes[0].weight
    assert (found.committed, found.recomputed, found.parameter) == (weight * 2**31, weight * (2**31 - 1), WRONG)
    assert found.what.endswith("in partial sum 1, which is beyond its bounds")
