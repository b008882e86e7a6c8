"""Rules that keep moments beside the model: fedavgm and fedadam."""

from __future__ import annotations

import json
from math import isqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_fl.aggregation import RULES, ServerOptimizer, WeightedMean, has_moments
from galaxy_fl.aggregation.fedadam import square_roots
from galaxy_fl.aggregation.server_optimizer import AVERAGED
from galaxy_fl.exceptions import AggregationError, VectorError
from galaxy_fl.vectors import INT32_MAX, INT32_MIN, Vector
from tests.vectors import generate_optimizers as reference

CASES = json.loads(reference.FILE.read_text())["cases"]
OPTIMIZERS = {name: rule for name, rule in RULES.items() if has_moments(rule)}
FEDADAM, FEDAVGM = OPTIMIZERS["fedadam"], OPTIMIZERS["fedavgm"]
INT32 = st.sampled_from(reference.EDGES) | st.integers(INT32_MIN, INT32_MAX) | st.integers(-100, 100)
INT64 = st.sampled_from([-(2**63), 2**63 - 1, 0]) | st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**6), 10**6)


def defaults(rule: ServerOptimizer, **others: float) -> bytes:
    return rule.word({name: option.default for name, option in rule.options.items()} | others)


def test_the_committed_vectors_are_what_the_generator_writes() -> None:
    assert reference.FILE.read_text() == reference.text()


@pytest.mark.usefixtures("every_kernels")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['rule']}: {case['name']}")
def test_rules_agree_with_the_test_vectors(case: dict[str, Any]) -> None:
    model = np.frombuffer(bytes.fromhex(case["model"]), "<i4")
    sums = np.frombuffer(bytes.fromhex(case["sums"]), "<i8")
    result = OPTIMIZERS[case["rule"]].finish(bytes.fromhex(case["parameters"]), model, sums, case["weight"])
    assert result.astype("<i4").tobytes().hex() == case["next"]


@st.composite
def steps(draw: st.DrawFn, rule: str) -> tuple[bytes, list[int], list[int], int]:
    if rule == "fedavgm":
        word = reference.word_of(draw(st.integers(1, 2**31 - 1)), draw(st.integers(0, 999_999)))
    else:
        beta1 = draw(st.integers(0, 999_999))
        most = (2**31 - 1) * 10**12 // ((10**6 - beta1) * 2**32)
        rate = draw(st.integers(max(1, 10**12 // ((10**6 - beta1) * 2**32)), max(1, min(2**32 - 1, most))))
        tau = draw(st.integers(30, 2**32 - 1))
        word = reference.word_of(rate, beta1, draw(st.integers(0, 999_999)), tau)
    count = draw(st.integers(1, 9))
    model = draw(st.lists(INT32, min_size=count * reference.LANES[rule], max_size=count * reference.LANES[rule]))
    return word, model, draw(st.lists(INT64, min_size=count, max_size=count)), draw(st.integers(0, 2**32 - 1))


@pytest.mark.parametrize("rule", OPTIMIZERS)
@settings(max_examples=60)
@given(data=st.data())
def test_any_step_is_that_of_plain_integers(rule: str, data: st.DataObject) -> None:
    word, model, sums, weight = data.draw(steps(rule))
    result = OPTIMIZERS[rule].finish(word, np.array(model, np.int32), np.array(sums, np.int64), weight)
    assert result.tolist() == reference.finish(rule, word, model, sums, weight)


def test_square_roots_round_down_at_every_boundary() -> None:
    roots = np.unique(np.concatenate([2**k + np.arange(-3, 4) for k in range(2, 31)] + [np.arange(3000)]))
    roots = np.append(roots, [2**31 - 1, 2**31])
    squares = np.square(roots.astype(np.int64))
    values = np.concatenate([squares, squares[1:] - 1, squares[:-1] + 1])
    values = values[values <= 2**62]
    assert square_roots(values).tolist() == [isqrt(int(value)) for value in values]


@given(st.lists(st.integers(0, 2**62), min_size=1))
def test_square_roots_are_those_of_integers(values: list[int]) -> None:
    assert square_roots(np.array(values, np.int64)).tolist() == [isqrt(value) for value in values]


def test_fedavgm_without_momentum_is_the_weighted_mean() -> None:
    generator = np.random.default_rng(1)
    weights, sums = (generator.integers(-(2**n), 2**n, 50) for n in (31, 40))
    model = np.stack([weights, np.zeros(50)], axis=1).astype(np.int32)
    after = FEDAVGM.finish(defaults(FEDAVGM, momentum=0.0), model.reshape(-1), sums, 777).reshape(-1, 2)
    expected = WeightedMean().finish(bytes(32), model[:, 0].copy(), sums, 777)
    assert np.array_equal(after[:, 0], expected)


@pytest.mark.parametrize("rule", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_what_is_averaged_stays_so_and_is_the_weighted_mean(rule: ServerOptimizer) -> None:
    generator = np.random.default_rng(2)
    model = generator.integers(INT32_MIN, INT32_MAX, (40, rule.lanes), np.int32)
    model[:, 1] = AVERAGED
    sums = generator.integers(-(2**40), 2**40, 40)
    after = rule.finish(defaults(rule), model.reshape(-1), sums, 2**10).reshape(-1, rule.lanes)
    assert np.array_equal(after[:, 1:], model[:, 1:])
    assert np.array_equal(after[:, 0], WeightedMean().finish(bytes(32), model[:, 0].copy(), sums, 2**10))


@pytest.mark.parametrize("rule", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_what_nobody_moves_any_more_comes_to_rest(rule: ServerOptimizer, sign: int) -> None:
    """Rounding to the nearest would leave a moment of a few steps for ever, and the model would drift."""
    model = np.zeros(3 * rule.lanes, np.int32)
    sums = sign * np.array([1, 1000, 2**26], np.int64)
    model = rule.finish(defaults(rule), model, sums, 1)
    for _ in range(4000):
        last, model = model, rule.finish(defaults(rule), model, np.zeros(3, np.int64), 1)
    rows = model.reshape(-1, rule.lanes)
    assert np.array_equal(model, last)
    assert not rows[:, 1:].any()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_real_numbers(name: str) -> None:
    """Over 200 rounds, within what rounding may do: a step and a half a round for the moment, a unit for the second."""
    rule, generator, tau = OPTIMIZERS[name], np.random.default_rng(3), 0.001
    count, scale = 500, 2.0**24
    model = np.zeros(count * rule.lanes, np.int32)
    w, m, v = np.zeros(count), np.zeros(count), np.zeros(count)
    drift = generator.normal(0, 1e-3, count)
    for _ in range(200):
        sums = np.round((drift + generator.normal(0, 3e-3, count)) * scale).astype(np.int64)
        model = rule.finish(defaults(rule), model, sums, 1)
        delta = sums / scale
        if name == "fedavgm":
            m = 0.9 * m + delta
            w += m
        else:
            m, v = 0.9 * m + 0.1 * delta, 0.99 * v + 0.01 * delta**2
            w += 0.01 * m / (np.sqrt(v) + tau)
    rows = model.reshape(-1, rule.lanes)
    moments = rows[:, 1] / scale * (1 if name == "fedavgm" else 0.1)
    assert np.abs(moments - m).max() < 15 / scale
    errors = rows[:, 0] / scale - w
    # A moment is on average 5 steps nearer to zero than a real one; what comes of it is no more than that a round.
    bound = 200 * 12 / scale * (1 if name == "fedavgm" else 0.01 * 0.1 / tau)
    assert np.abs(errors).max() < bound
    assert abs(errors.mean()) < bound / 20


@pytest.mark.parametrize("rule", OPTIMIZERS.values(), ids=OPTIMIZERS)
@settings(max_examples=60)
@given(data=st.data())
def test_no_possible_step_is_called_unexplained(rule: ServerOptimizer, data: st.DataObject) -> None:
    _, model, sums, _ = data.draw(steps(rule.name))
    weight = data.draw(st.integers(1, 2**32 - 1))
    before, within = np.array(model, np.int32), np.clip(np.array(sums, np.int64), -(2**62), 2**62)
    below, above = (data.draw(st.integers(0, 2**40)) for _ in range(2))
    after = rule.finish(defaults(rule), before, within, weight)
    assert not rule.unexplained(defaults(rule), before, after, within - below, within + above, weight).any()


@pytest.mark.parametrize("rule", OPTIMIZERS.values(), ids=OPTIMIZERS)
@settings(max_examples=40)
@given(data=st.data())
def test_a_wrong_lane_is_unexplained_unless_another_sum_makes_it(rule: ServerOptimizer, data: st.DataObject) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    before = generator.integers(-(2**20), 2**20, (5, rule.lanes), np.int32)
    before[:, 3:] = 0
    before[0, 1] = AVERAGED
    sums = generator.integers(-(2**24), 2**24, 5)
    after = rule.finish(defaults(rule), before.reshape(-1), sums, 9).reshape(5, -1)
    lane, place = data.draw(st.integers(0, rule.lanes - 1)), data.draw(st.integers(0, 4))
    after[place, lane] ^= 1 << data.draw(st.integers(0, 30))
    known = rule.unexplained(defaults(rule), before.reshape(-1), after.reshape(-1), sums, sums, 9)
    expected = [at == place for at in range(5)]
    assert known.tolist() == expected
    # Of a missing update of weight 9 anything can be; then w follows from m, and so does v.
    wide = rule.unexplained(
        defaults(rule), before.reshape(-1), after.reshape(-1), sums - 9 * 2**31, sums + 9 * 2**31, 9
    )
    assert wide.tolist() == [at == place and (lane != 0 or place != 0) for at in range(5)]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fedavgm", {"learning_rate": 0.0}, "learning_rate is 0.0, and fedavgm takes 1e-06 to 2147.483647"),
        ("fedavgm", {"learning_rate": 3000.0}, "fedavgm takes 1e-06 to 2147"),
        ("fedavgm", {"momentum": 1.0}, "momentum is 1.0, and fedavgm takes 0 to 0.999999"),
        ("fedavgm", {"momentum": 0.1234567}, "in units of 1e-06: set it to 0.123457"),
        ("fedadam", {"beta2": 1.5}, "beta2 is 1.5, and fedadam takes 0 to 0.999999"),
        ("fedadam", {"tau": 0.0}, "tau is 0.0, and fedadam takes 3e-08 to 4.294967295"),
        ("fedadam", {"learning_rate": 6.0}, "learning_rate .* is 0.6, and fedadam takes .* less than 0.5"),
        ("fedadam", {"learning_rate": 1e-6, "beta1": 0.999999}, "too small to move anything"),
        ("fedadam", {"learning_rate": 1e300}, "fedadam takes 1e-06 to 4294.967295"),
    ],
)
def test_options_out_of_range_are_refused_by_name(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(AggregationError, match=message):
        defaults(OPTIMIZERS[name], **options)


@pytest.mark.parametrize("rule", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("word", [bytes(32), b"\xff" * 32, b"\1" + bytes(31)])
def test_a_word_that_options_do_not_make_is_refused(rule: ServerOptimizer, word: bytes) -> None:
    zeros: Vector = np.zeros(rule.lanes, np.int32)
    with pytest.raises(AggregationError, match=f"is no word of {rule.name}"):
        rule.finish(word, zeros, np.zeros(1, np.int64), 1)


@pytest.mark.parametrize("rule", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_model_of_another_length_is_refused(rule: ServerOptimizer) -> None:
    with pytest.raises(VectorError, match=f"expected {rule.lanes}"):
        rule.finish(defaults(rule), np.zeros(1, np.int32), np.zeros(1, np.int64), 1)
