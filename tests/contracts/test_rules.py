"""The rule contracts give the same bytes as their Python twins."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_fl.aggregation import RULES
from galaxy_fl.exceptions import AggregationError
from tests.contracts.ledger import OPTIMIZER_WORDS, ROOT, SUM_RULES, ZERO, Chain
from tests.contracts.sums import finish
from tests.vectors import generate_optimizers as optimizers

VECTORS: list[dict[str, Any]] = json.loads((ROOT / "tests" / "vectors" / "aggregation.json").read_text())["cases"]
EDGES = [-(2**31), -(2**31) + 1, -2, -1, 0, 1, 2, 2**31 - 2, 2**31 - 1]


CHUNK_RULES = [rule for rule in RULES if rule not in SUM_RULES]


def _aggregate(
    chain: Chain, rule: str, parameters: bytes, model: bytes, updates: list[bytes], weights: list[int]
) -> bytes:
    if rule in SUM_RULES:
        return _finish(chain, rule, parameters, model, summed(updates, weights), sum(weights))
    result: bytes = chain.view("aggregate", parameters, model, updates, weights, to=chain.rules[rule])
    return result


def summed(updates: list[bytes], weights: list[int]) -> bytes:
    vectors = (np.frombuffer(update, "<i4").astype(np.int64) for update in updates)
    return bytes(sum(w * v for v, w in zip(vectors, weights, strict=True)).astype("<i8").tobytes())


def _finish(chain: Chain, rule: str, parameters: bytes, model: bytes, sums: bytes, weight: int) -> bytes:
    result: bytes = chain.view("finish", parameters, model, sums, weight, to=chain.rules[rule])
    return result


def _refused(chain: Chain, rule: str, *arguments: Any) -> bool:
    refusal = chain.refusal(chain.accounts[0], "aggregate", *arguments, to=chain.rules[rule])
    return refusal == ("MalformedChunks", {})


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: f"{case['rule']}, {case['name']}")
def test_the_vectors_come_out(deployed: Chain, case: dict[str, Any]) -> None:
    chunks = (
        bytes.fromhex(case["parameters"]),
        bytes.fromhex(case["model"]),
        [bytes.fromhex(update) for update in case["updates"]],
        case["weights"],
    )
    assert _aggregate(deployed, case["rule"], *chunks).hex() == case["next"]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_says_what_it_is(deployed: Chain, rule: str) -> None:
    """0: it needs every update's chunk; 1: and keeps the model; 2: it finishes a sum."""
    expected = {"relay": 1, "weighted_mean": 2, "fedavgm": 2, "fedadam": 2}
    assert deployed.view("kind", to=deployed.rules[rule]) == expected.get(rule, 0)
    assert deployed.view("lanes", to=deployed.rules[rule]) == RULES[rule].lanes == optimizers.LANES.get(rule, 1)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chunk", [8, 64])
@pytest.mark.parametrize("updates", [1, 2, 9, 33, 64])
def test_a_rule_needs_no_more_gas_than_it_says(deployed: Chain, rule: str, chunk: int, updates: int) -> None:
    """And not much less, so that no job is refused for nothing; Relay alone is too cheap to be measured like this."""
    trimmed = (updates - 1) // 4 if rule == "trimmed_mean" else 0
    parameters = OPTIMIZER_WORDS.get(rule, trimmed.to_bytes(32, "big"))
    lanes = RULES[rule].lanes
    values = np.random.default_rng(updates).integers(-(2**31), 2**31, (updates + lanes, chunk)).astype("<i4")
    model, chunks = values[:lanes].tobytes(), [value.tobytes() for value in values[lanes:]]
    contract = deployed.rules[rule]
    call: tuple[Any, ...] = ("aggregate", parameters, model, chunks, [7] * updates)
    if rule in SUM_RULES:
        call = ("finish", parameters, model, summed(chunks, [7] * updates), 7 * updates)
    data = bytes.fromhex(contract.encode_abi(call[0], call[1:])[2:])
    snapshot = deployed.tester.take_snapshot()
    used = deployed.send(deployed.accounts[0], *call, to=contract).gas
    deployed.tester.revert_to_snapshot(snapshot)
    zeros = data.count(0)
    calldata = 4 * zeros + 16 * (len(data) - zeros)
    stated = deployed.view("gasFor", updates, chunk, to=contract)
    if used == 21_000 + 10 * (zeros + 4 * (len(data) - zeros)):
        assert rule == "relay"  # its calldata costs more than all it does, by EIP-7623
    else:
        assert used - 21_000 - calldata <= stated <= 2 * (used - 21_000 - calldata)


@pytest.mark.parametrize(
    ("trimmed", "min_updates", "taken"), [(0, 1, True), (1, 2, False), (1, 3, True), (2, 4, False), (2**255, 9, False)]
)
def test_a_trimmed_mean_refuses_to_trim_everything(
    deployed: Chain, trimmed: int, min_updates: int, taken: bool
) -> None:
    rule, parameters = deployed.rules["trimmed_mean"], trimmed.to_bytes(32, "big")
    if taken:
        deployed.view("check", parameters, min_updates, 10, to=rule)
    else:
        refusal = deployed.refusal(deployed.accounts[0], "check", parameters, min_updates, 10, to=rule)
        arguments = {"parameters": parameters, "minUpdates": min_updates, "maxUpdates": 10}
        assert refusal == ("ParametersRefused", arguments)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_both_twins_say_the_same(deployed: Chain, rule: str, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12) | st.sampled_from([31, 32, 33, 63, 64]))
    seed = data.draw(st.integers(0, 2**32 - 1))
    spread = data.draw(st.sampled_from([2, 2**8, 2**24, 2**31]))
    generator = np.random.default_rng(seed)
    lanes = RULES[rule].lanes
    values = generator.integers(-spread, spread, (count + lanes, 16)).astype("<i4")
    values[generator.random(values.shape) < 0.2] = data.draw(st.sampled_from(EDGES))
    weights = data.draw(st.lists(st.integers(1, 2**24 - 1), min_size=count, max_size=count))
    trimmed = data.draw(st.integers(0, count // 2 + 1)) if rule == "trimmed_mean" else 0
    parameters = OPTIMIZER_WORDS.get(rule, trimmed.to_bytes(32, "big"))
    model, updates = values[:lanes].reshape(-1), list(values[lanes:])
    chunks = (parameters, model.tobytes(), [update.tobytes() for update in updates], weights)
    try:
        expected = RULES[rule].aggregate(parameters, model, updates, weights)
    except AggregationError:
        assert _refused(deployed, rule, *chunks)
    else:
        assert _aggregate(deployed, rule, *chunks) == expected.tobytes()


@pytest.mark.parametrize(("rule", "trimmed"), [("coordinate_median", 0), *(("trimmed_mean", k) for k in range(5))])
def test_the_network_sorts_every_pattern_of_two_values(deployed: Chain, rule: str, trimmed: int) -> None:
    """By the 0-1 principle a network that sorts these sorts everything: all 2**9 patterns of nine values."""
    count = 9
    patterns = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype("<i4")
    model, weights, parameters = np.zeros(256, "<i4"), [1] * count, trimmed.to_bytes(32, "big")
    for half in (patterns[:256], patterns[256:]):
        updates = list(np.ascontiguousarray(half.T))
        expected = RULES[rule].aggregate(parameters, model, updates, weights)
        chunks = [update.tobytes() for update in updates]
        assert _aggregate(deployed, rule, parameters, model.tobytes(), chunks, weights) == expected.tobytes()


@pytest.mark.parametrize("rule", CHUNK_RULES)
def test_chunks_that_do_not_fit_together_are_refused(deployed: Chain, rule: str) -> None:
    chunk = bytes(64)
    assert _refused(deployed, rule, ZERO, chunk, [], [])
    assert _refused(deployed, rule, ZERO, chunk, [chunk], [])
    assert _refused(deployed, rule, ZERO, chunk, [chunk], [1, 1])
    if rule != "relay":
        assert _refused(deployed, rule, ZERO, chunk, [chunk, chunk[:32]], [1, 1])
        assert _refused(deployed, rule, ZERO, chunk[:60], [chunk[:60]], [1])


@pytest.mark.parametrize(("trimmed", "fits"), [(0, True), (2, True), (3, False), (2**256 - 1, False), (2**255, False)])
def test_trimming_has_to_leave_one(deployed: Chain, trimmed: int, fits: bool) -> None:
    chunk = bytes(32)
    arguments = (trimmed.to_bytes(32, "big"), chunk, [chunk] * 5, [1] * 5)
    if fits:
        assert _aggregate(deployed, "trimmed_mean", *arguments) == chunk
    else:
        assert _refused(deployed, "trimmed_mean", *arguments)


# ------------------------------------------------------------------------------------------------------------- sums

SUM_EDGES = [-(2**63), -(2**63) + 1, -(2**31), -1, 0, 1, 2**31 - 1, 2**63 - 2, 2**63 - 1]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_finishing_a_sum_is_total(deployed: Chain, data: st.DataObject) -> None:
    """Whatever somebody has committed to: a weight of zero, sums that no updates have."""
    values = st.sampled_from(SUM_EDGES) | st.integers(-(2**63), 2**63 - 1)
    sums = np.array(data.draw(st.lists(values, min_size=16, max_size=16)), "<i8")
    model = np.array(data.draw(st.lists(st.sampled_from(EDGES), min_size=16, max_size=16)), "<i4")
    weight = data.draw(st.sampled_from([0, 1, 2, 3, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1))
    result = _finish(deployed, "weighted_mean", ZERO, model.tobytes(), sums.tobytes(), weight)
    assert result == finish(model, sums, weight).tobytes()


@pytest.mark.parametrize(("model", "sums", "weight"), [(32, 32, 1), (32, 72, 1), (28, 56, 1), (32, 64, 2**64)])
def test_a_sum_of_another_length_is_refused(deployed: Chain, model: int, sums: int, weight: int) -> None:
    arguments = (ZERO, bytes(model), bytes(sums), weight)
    refusal = deployed.refusal(deployed.accounts[0], "finish", *arguments, to=deployed.rules["weighted_mean"])
    assert refusal == ("MalformedChunks", {})


# --------------------------------------------------------------------------------------------------------- moments

OPTIMIZERS = list(optimizers.LANES)
OPTIMIZER_CASES = json.loads(optimizers.FILE.read_text())["cases"]


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_the_vectors_of_rules_with_moments_come_out(deployed: Chain, rule: str) -> None:
    for case in OPTIMIZER_CASES:
        if case["rule"] == rule:
            chunks = (bytes.fromhex(case[name]) for name in ("parameters", "model", "sums"))
            assert _finish(deployed, rule, *chunks, case["weight"]).hex() == case["next"], case["name"]


@pytest.mark.parametrize("rule", OPTIMIZERS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_finishing_with_moments_is_total_and_the_same_in_both_twins(
    deployed: Chain, rule: str, data: st.DataObject
) -> None:
    lanes = optimizers.LANES[rule]
    values = st.sampled_from(EDGES) | st.integers(-(2**31), 2**31 - 1)
    model = np.array(data.draw(st.lists(values, min_size=8 * lanes, max_size=8 * lanes)), "<i4")
    large = st.sampled_from(SUM_EDGES) | st.integers(-(2**63), 2**63 - 1)
    sums = np.array(data.draw(st.lists(large, min_size=8, max_size=8)), "<i8")
    weight = data.draw(st.sampled_from([0, 1, 2, 3, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1))
    word = OPTIMIZER_WORDS[rule]
    result = _finish(deployed, rule, word, model.tobytes(), sums.tobytes(), weight)
    assert result == RULES[rule].finish(word, model, sums, weight).tobytes()  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize(("model", "sums", "weight"), [(7, 8, 1), (8, 9, 1), (4, 4, 1), (8, 8, 2**64)])
def test_moments_of_another_length_are_refused(deployed: Chain, rule: str, model: int, sums: int, weight: int) -> None:
    arguments = (OPTIMIZER_WORDS[rule], bytes(4 * optimizers.LANES[rule] * model), bytes(8 * sums), weight)
    refusal = deployed.refusal(deployed.accounts[0], "finish", *arguments, to=deployed.rules[rule])
    assert refusal == ("MalformedChunks", {})


WORDS = [
    ("fedavgm", (1, 0), True),
    ("fedavgm", (2**31 - 1, 999_999), True),
    ("fedavgm", (0, 0), False),
    ("fedavgm", (2**31, 0), False),
    ("fedavgm", (1, 1_000_000), False),
    ("fedavgm", (1, 0, 1), False),
    ("fedadam", (499_999, 0, 0, 30), True),
    ("fedadam", (1, 999_000, 999_999, 2**32 - 1), True),
    ("fedadam", (0, 0, 0, 30), False),
    ("fedadam", (500_000, 0, 0, 30), False),
    ("fedadam", (1, 999_999, 0, 30), False),
    ("fedadam", (1, 1_000_000, 0, 30), False),
    ("fedadam", (1, 0, 1_000_000, 30), False),
    ("fedadam", (1, 0, 0, 29), False),
    ("fedadam", (1, 0, 0, 30, 1), False),
]


@pytest.mark.parametrize(("rule", "fields", "taken"), WORDS)
def test_both_twins_take_the_same_words(deployed: Chain, rule: str, fields: tuple[int, ...], taken: bool) -> None:
    word, lanes = optimizers.word_of(*fields), optimizers.LANES[rule]
    zeros = np.zeros(lanes, np.int32), np.zeros(1, np.int64)
    if taken:
        deployed.view("check", word, 1, 10, to=deployed.rules[rule])
        RULES[rule].finish(word, *zeros, 1)  # type: ignore[attr-defined]
        return
    refusal = deployed.refusal(deployed.accounts[0], "check", word, 1, 10, to=deployed.rules[rule])
    assert refusal == ("ParametersRefused", {"parameters": word, "minUpdates": 1, "maxUpdates": 10})
    with pytest.raises(AggregationError):
        RULES[rule].finish(word, *zeros, 1)  # type: ignore[attr-defined]
