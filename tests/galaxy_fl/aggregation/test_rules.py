from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from galaxy_fl.aggregation import MAX_WEIGHT, RULES, Rule, WeightedMean, has_moments, is_sum
from galaxy_fl.aggregation.rule import MAX_TOTAL_WEIGHT
from galaxy_fl.exceptions import AggregationError, VectorError
from galaxy_fl.vectors import BLOCK_PARAMETERS, INT32_MAX, INT32_MIN, Vector

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "aggregation.json").read_text())["cases"]
WORD = bytes(32)

every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
drawing_rules = pytest.mark.parametrize("name", sorted(RULES.keys() - {"relay"}))


def word_of(rule: Rule) -> bytes:
    """A word that the rule takes."""
    return rule.word({name: o.default for name, o in rule.options.items()}) if has_moments(rule) else WORD


def zeros_of(rule: Rule, parameters: int) -> Vector:
    """A model of the rule."""
    return np.zeros(rule.lanes * parameters, np.int32)


def vector(content: str) -> Vector:
    return np.frombuffer(bytes.fromhex(content), np.dtype("<i4"))


@st.composite
def rounds(draw: st.DrawFn, most: int = 20, lanes: int = 1) -> tuple[Vector, list[Vector], list[int]]:
    count, length = draw(st.integers(1, most)), draw(st.integers(1, 30))
    rows = draw(hnp.arrays(np.int32, (count + lanes, length)))
    model, updates = rows[:lanes].reshape(-1), list(rows[lanes:])
    weights = draw(st.lists(st.integers(1, MAX_WEIGHT), min_size=len(updates), max_size=len(updates)))
    return model, updates, weights


@pytest.mark.usefixtures("every_kernels")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['rule']}: {case['name']}")
def test_rules_agree_with_the_test_vectors(case: dict[str, Any]) -> None:
    updates = [vector(update) for update in case["updates"]]
    word = bytes.fromhex(case["parameters"])
    result = RULES[case["rule"]].aggregate(word, vector(case["model"]), updates, case["weights"])
    assert result.astype("<i4").tobytes().hex() == case["next"]


def test_the_test_vectors_cover_every_rule_up_to_its_limit() -> None:
    for name, rule in RULES.items():
        if has_moments(rule):  # theirs are in optimizers.json
            continue
        weights = [case["weights"] for case in CASES if case["rule"] == name]
        if is_sum(rule):  # what bounds it is what the weights add up to
            assert MAX_TOTAL_WEIGHT - 256 < max(map(sum, weights)) <= MAX_TOTAL_WEIGHT
        else:
            assert max(map(len, weights)) == rule.max_updates


@every_rule
@given(data=st.data())
def test_the_order_of_the_updates_does_not_matter(rule: Rule, data: st.DataObject) -> None:
    model, updates, weights = data.draw(rounds(lanes=rule.lanes))
    order = data.draw(st.permutations(range(len(updates))))
    expected = rule.aggregate(word_of(rule), model, updates, weights)
    shuffled = rule.aggregate(word_of(rule), model, [updates[i] for i in order], [weights[i] for i in order])
    assert np.array_equal(expected, shuffled)


@every_rule
@given(data=st.data())
def test_any_cut_into_blocks_gives_the_same_model(rule: Rule, data: st.DataObject) -> None:
    model, updates, weights = data.draw(rounds(lanes=rule.lanes))
    word, lanes, length = word_of(rule), rule.lanes, len(updates[0])
    cuts = [0, *sorted(data.draw(st.sets(st.integers(0, length)))), length]
    parts = [
        rule.aggregate(word, model[lanes * a : lanes * b], [update[a:b] for update in updates], weights)
        for a, b in pairwise(cuts)
    ]
    assert np.array_equal(np.concatenate(parts), rule.aggregate(word, model, updates, weights))


@every_rule
@given(data=st.data())
def test_updates_may_share_one_buffer_and_inputs_are_left_alone(rule: Rule, data: st.DataObject) -> None:
    model, updates, weights = data.draw(rounds(lanes=rule.lanes))
    buffer, word = np.empty_like(updates[0]), word_of(rule)

    def drawn() -> Iterator[Vector]:
        for update in updates:
            buffer[:] = update
            yield buffer

    before = model.copy()
    copies = [update.copy() for update in updates]
    expected = rule.aggregate(word, model, updates, weights)
    assert np.array_equal(rule.aggregate(word, model, drawn(), weights), expected)
    assert np.array_equal(model, before)
    assert all(np.array_equal(update, copy) for update, copy in zip(updates, copies, strict=True))
    assert not np.shares_memory(expected, model)


@pytest.mark.parametrize("rule", [rule for rule in RULES.values() if rule.lanes == 1], ids=lambda rule: rule.name)
@given(update=hnp.arrays(np.int32, 8, elements=st.integers(-(2**30), 2**30)), count=st.integers(1, 9))
def test_clients_of_one_mind_get_their_way(rule: Rule, update: Vector, count: int) -> None:
    model = np.full(8, 7, np.int32)
    result = rule.aggregate(WORD, model, [update] * count, list(range(1, count + 1)))
    assert np.array_equal(result, model if rule.name == "relay" else model + update)


def test_the_weighted_mean_takes_more_than_a_block_at_a_time() -> None:
    count = BLOCK_PARAMETERS + 5
    model, update = np.full(count, 3, np.int32), np.arange(count, dtype=np.int32)
    result = RULES["weighted_mean"].aggregate(WORD, model, [update, update], [5, 9])
    assert np.array_equal(result, model + update)


def test_trimming_keeps_one_liar_out() -> None:
    honest = np.array([10, 20], np.int32)
    liar = np.array([INT32_MAX, INT32_MIN], np.int32)
    word = (1).to_bytes(32, "big")
    result = RULES["trimmed_mean"].aggregate(word, np.zeros(2, np.int32), [honest, liar, honest], [1, 1, 1])
    assert result.tolist() == [10, 20]


@pytest.mark.parametrize(("count", "trimmed"), [(1, 1), (2, 1), (64, 32), (5, 2**255)])
def test_trimming_all_updates_is_an_error(count: int, trimmed: int) -> None:
    updates = [np.zeros(1, np.int32)] * count
    with pytest.raises(AggregationError, match=f"trims {trimmed} updates at each end of {count}"):
        RULES["trimmed_mean"].aggregate(trimmed.to_bytes(32, "big"), updates[0], updates, [1] * count)


@every_rule
def test_no_update_or_too_many_is_an_error(rule: Rule) -> None:
    one = np.zeros(1, np.int32)
    for count in (0, rule.max_updates + 1):
        with pytest.raises(AggregationError, match=f"got {count} updates, it takes 1 to {rule.max_updates}"):
            rule.aggregate(WORD, one, [one] * count, [1] * count)


@every_rule
@pytest.mark.parametrize("weight", [0, -1, MAX_WEIGHT + 1])
def test_a_weight_out_of_range_is_an_error(rule: Rule, weight: int) -> None:
    one = np.zeros(1, np.int32)
    with pytest.raises(AggregationError, match=f"weight 1 is {weight}"):
        rule.aggregate(WORD, one, [one, one], [1, weight])


@every_rule
@pytest.mark.parametrize("length", [0, 31, 33])
def test_parameters_are_one_word(rule: Rule, length: int) -> None:
    one = np.zeros(1, np.int32)
    with pytest.raises(AggregationError, match=f"got {length}"):
        rule.aggregate(bytes(length), one, [one], [1])


def test_relay_draws_no_update() -> None:
    model = np.arange(3, dtype=np.int32)
    updates = iter([model + 1, model + 2])
    assert np.array_equal(RULES["relay"].aggregate(WORD, model, updates, [1, 1]), model)
    assert len(list(updates)) == 2


@drawing_rules
@pytest.mark.parametrize("given_updates", [1, 3])
def test_each_update_has_a_weight(name: str, given_updates: int) -> None:
    one = np.zeros(1, np.int32)
    rule = RULES[name]
    with pytest.raises(AggregationError, match=f"{given_updates} updates and 2 weights"):
        rule.aggregate(word_of(rule), zeros_of(rule, 1), [one] * given_updates, [1, 1])


@every_rule
def test_a_model_that_is_no_vector_is_an_error(rule: Rule) -> None:
    with pytest.raises(VectorError, match="float32"):
        rule.aggregate(WORD, np.zeros(2, np.float32), [np.zeros(2, np.int32)], [1])


@drawing_rules
@pytest.mark.parametrize("update", [np.zeros(3, np.int32), np.zeros(2, np.int64), np.zeros((2, 1), np.int32)])
def test_an_update_of_another_length_or_type_is_an_error(name: str, update: Any) -> None:
    rule = RULES[name]
    with pytest.raises(VectorError):
        rule.aggregate(word_of(rule), zeros_of(rule, 2), [update], [1])


def test_weights_beyond_what_a_sum_holds_are_an_error() -> None:
    one = np.zeros(1, np.int32)
    with pytest.raises(AggregationError, match="weights add up to 4311744255, expected 0 to 4294967295"):
        RULES["weighted_mean"].aggregate(WORD, one, [one] * 257, [MAX_WEIGHT] * 257)


# What `finish` makes of a sum is specified for every int64, because somebody may commit to any.
EDGES = [
    -(2**63), -(2**63) + 1, -(2**62), -(2**32), -3, -2, -1, 0, 1, 2, 3, 2**31 - 1, 2**31, 2**62, 2**63 - 2, 2**63 - 1
]  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(INT32_MIN, INT32_MAX), st.sampled_from(EDGES) | st.integers(-(2**63), 2**63 - 1))),
    st.integers(0, MAX_TOTAL_WEIGHT) | st.integers(0, 9),
)
def test_a_weighted_mean_finishes_any_sum_as_integers_do(lanes: list[tuple[int, int]], weight: int) -> None:
    model = np.array([old for old, _ in lanes], np.int32)
    sums = np.array([total for _, total in lanes], np.int64)
    before = sums.copy()
    moved = [(total + weight // 2) // weight if weight else 0 for _, total in lanes]
    expected = [max(INT32_MIN, min(INT32_MAX, old + by)) for (old, _), by in zip(lanes, moved, strict=True)]
    assert WeightedMean().finish(WORD, model, sums, weight).tolist() == expected
    assert np.array_equal(sums, before)


@given(made=rounds())
def test_a_weighted_mean_is_its_finished_sum(made: tuple[Vector, list[Vector], list[int]]) -> None:
    model, updates, weights = made
    sums = np.sum([update.astype(np.int64) * weight for update, weight in zip(updates, weights, strict=True)], axis=0)
    rule = WeightedMean()
    expected = rule.aggregate(WORD, model, updates, weights)
    assert np.array_equal(rule.finish(WORD, model, sums, sum(weights)), expected)


@pytest.mark.parametrize("weight", [-1, MAX_TOTAL_WEIGHT + 1])
def test_no_sum_weighs_so_much(weight: int) -> None:
    with pytest.raises(AggregationError, match=f"weights add up to {weight}"):
        WeightedMean().finish(WORD, np.zeros(1, np.int32), np.zeros(1, np.int64), weight)


@pytest.mark.parametrize("sums", [np.zeros(2, np.int64), np.zeros(1, np.int32), np.zeros((1, 1), np.int64)])
def test_a_sum_of_another_length_or_type_is_an_error(sums: Any) -> None:
    with pytest.raises(VectorError, match="sum"):
        WeightedMean().finish(WORD, np.zeros(1, np.int32), sums, 1)
