"""How much is recomputed, and what is done where something is missing. Lies themselves are played in tests/adversary."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_chain.coordinators import LedgerServerCoordinator
from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.verify.how import Verify
from galaxy_fl.exceptions import ConfigurationError, ContentMissingError
from galaxy_fl.vectors import commitment, tree_root
from tests.galaxy_chain.federation import CHUNK, PARAMETERS, PATIENCE, Federation, alter, made_up


def committed(federation: Federation, wrong: bool = False) -> LedgerServerCoordinator:
    """A view of a job whose first round is committed."""
    federation.submit(0, 1, 2)
    federation.commit(made_up(99) if wrong else None)
    return LedgerServerCoordinator(federation.ledger(federation.owner), federation.store, federation.job, PATIENCE)


@pytest.mark.parametrize(
    ("text", "chunks"), [("full", None), ("off", 0), ("sample:1", 1), ("sample:42", 42), ("sample:999999", 999_999)]
)
def test_the_ways_to_verify(text, chunks):
    assert Verify.parse(text) == Verify(chunks)
    assert str(Verify(chunks)) == text


def test_a_branch_covers_neither_samples_nor_all_and_all_covers_it():
    branch, full, sample = Verify.parse("branch"), Verify.parse("full"), Verify.parse("sample:9")
    assert str(branch) == "branch"
    assert branch.covers(branch)
    assert full.covers(branch)
    assert not branch.covers(full)
    assert not branch.covers(sample)
    assert not sample.covers(branch)


@given(
    st.text().filter(lambda text: text not in ("branch", "full", "off"))
    | st.just("sample:0")
    | st.just("sample:1000000")
)
def test_whatever_else_is_said_is_refused_with_what_was_expected(text):
    with pytest.raises(ConfigurationError, match=r"expected branch, full, sample:K \(K chunks\) or off"):
        Verify.parse(text)


@pytest.mark.parametrize("how", ["full", "sample:1", "sample:2", "sample:99"])
def test_a_commit_that_is_wrong_everywhere_is_found_in_any_way_but_off(federation, how):
    view = committed(federation, wrong=True)
    commit = view.history.commits[1]
    assert view.verifier.wrong_chunk(view.history, commit, Verify.parse(how)) in range(view.verifier.chunks())
    assert view.verifier.wrong_chunk(view.history, commit, Verify.parse("off")) is None


@pytest.mark.parametrize("how", ["full", "sample:1", "sample:99"])
def test_a_right_commit_is_found_right(federation, how):
    view = committed(federation)
    assert view.verifier.wrong_chunk(view.history, view.history.commits[1], Verify.parse(how)) is None


def test_the_first_of_several_wrong_parameters_is_named(federation):
    federation.submit(0, 1, 2)
    view = LedgerServerCoordinator(federation.ledger(federation.owner), federation.store, federation.job, PATIENCE)
    wrong = federation.aggregate(view, {})
    right = wrong.copy()
    wrong[[70, 149]] -= 1
    federation.commit(wrong)
    view.round()
    assert view.verifier.wrong_parameter(view.history, view.history.commits[1]) == (70, right[70] - 1, right[70])


def test_equal_vectors_have_no_first_difference(federation):
    path = federation.content(federation.store.put(made_up(1).data).digest)
    view = LedgerServerCoordinator(federation.ledger(federation.owner), federation.store, federation.job, PATIENCE)
    assert view.verifier.first_difference(path, path) is None


def test_a_missing_model_is_recomputed_over_several_rounds(federation):
    view = committed(federation)
    federation.submit(0, 1, 2, seed=2)
    federation.commit()
    view.round()
    paths = [federation.content(view.history.commits[number].record.next.content) for number in (1, 2)]
    contents = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    assert view.verifier.model_after(view.history, 2).read_bytes() == contents[1]
    assert [path.read_bytes() for path in paths] == contents


def test_more_models_in_a_row_are_recomputed_than_calls_may_be_nested(federation):
    """450 rounds whose models are all gone, but for the initial one: rounds of one update that changes nothing."""
    view = committed(federation)
    history, first = view.history, view.history.commits[1]
    zero = np.zeros(PARAMETERS, np.int32)
    promise = commitment(tree_root(zero, CHUNK), address_bytes(federation.clients[0]))
    idle = Entry(federation.clients[0], Update(promise, federation.store.put(zero.data).digest, 1))
    rounds = 450
    for number in range(2, rounds + 1):
        record = replace(first.record, round=number)
        history.commits[number] = replace(first, record=record, blocks=((idle,),))
    path = federation.content(first.record.next.content)
    content = path.read_bytes()
    path.unlink()
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(400)  # fewer than rounds
    try:
        assert view.verifier.model_after(history, rounds).read_bytes() == content
    finally:
        sys.setrecursionlimit(usual)


def test_healing_names_the_round_that_it_can_not_get_over(federation):
    view = committed(federation)
    federation.submit(0, 1, 2, seed=2)
    federation.commit()
    view.round()
    for number in (1, 2):
        federation.content(view.history.commits[number].record.next.content).unlink()
    federation.content(view.history.commits[1].entries[2].update.content).unlink()
    said = f"model after round 2.*nor can it be recomputed, because round 1: the update of {federation.clients[2]}"
    with pytest.raises(ContentMissingError, match=said):
        view.verifier.model_after(view.history, 2)


@pytest.mark.parametrize("how", ["missing", "altered"])
def test_a_model_that_can_not_be_recomputed_either_says_both_reasons(federation, how):
    view = committed(federation)
    commit = view.history.commits[1]
    federation.content(commit.record.next.content).unlink()
    update = federation.content(commit.entries[1].update.content)
    update.unlink() if how == "missing" else alter(update)
    said = f"model after round 1.*nor can it be recomputed, because round 1: the update of {federation.clients[1]}"
    with pytest.raises(ContentMissingError, match=said):
        view.verifier.model_after(view.history, 1)


def test_a_wrong_model_is_not_healed_by_the_right_one(federation):
    view = committed(federation, wrong=True)
    federation.content(view.history.commits[1].record.next.content).unlink()
    with pytest.raises(ContentMissingError, match="model after round 1"):
        view.verifier.model_after(view.history, 1)
