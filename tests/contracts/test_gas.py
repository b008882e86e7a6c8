"""What the calls cost: exactly the committed figures, and within the limits that docs/gas.md promises."""

from __future__ import annotations

import re

import pytest

from tests.contracts.gas import CALLDATA, Figures, measure, measure_large, snapshot
from tests.contracts.ledger import ARTIFACTS, ROOT, artifact

TRANSACTION_GAS = 2**24
"""The most gas of a transaction (EIP-7825)."""
MOST_CODE = 24_576
"""Bytes of a contract's code (EIP-170)."""


@pytest.fixture(scope="module")
def figures() -> Figures:
    return snapshot()


def test_the_figures_are_the_committed_ones(figures: Figures) -> None:
    measured = measure()
    committed = {name: figures[name] for name in measured}
    assert measured == committed, "if that was meant, run `python -m tests.contracts.gas` and commit gas.json"


@pytest.mark.extended  # rounds of thousands take minutes
def test_the_figures_of_large_rounds_are_the_committed_ones(figures: Figures) -> None:
    measured = measure_large()
    committed = {name: figures[name] for name in measured}
    assert measured == committed, "if that was meant, run `python -m tests.contracts.gas --large` and commit gas.json"


@pytest.mark.parametrize(
    ("call", "most"),
    [
        # Every 64th, which writes the outer link as well, among them.
        ("submitUpdate,", 53_000),
        ("submitUpdates, 10 entries", 10 * 20_000),
        ("submitUpdates, 100 entries", 100 * 15_000),
        ("submitUpdates, 800 entries", 800 * 15_000),
        ("commitRound, 3 clients", 100_000),
        ("commitRound, by announcement", 100_000),
        ("commitRound, 10 clients", 105_000),
        ("commitRound, 100 clients", 120_000),
        ("commitRound, 512 clients", 150_000),
        ("commitRound, 4096 clients", 450_000),
        ("announce", 45_000),
        ("settle", 60_000),
        ("claim, each of 100 clients, accounts that have a balance", 8_500),
        ("claim, each of 100 clients, new accounts", 25_600),
        ("challenge, the next model,", 560_000),
        ("challenge, a run,", 1_000_000),
        ("challenge, a node,", 1_000_000),
        ("answer, the next model,", 560_000),
        ("answer, a run,", 1_000_000),
        ("answer, a node,", 1_000_000),
    ],
)
def test_no_call_costs_more_than_is_promised(figures: Figures, call: str, most: int) -> None:
    measured = {name: gas for name, gas in figures.items() if name.startswith(call)}
    assert measured
    assert max(measured.values()) <= most, measured


@pytest.mark.parametrize("call", ["challenge", "answer"])
def test_no_challenge_of_a_sum_has_more_than_25_kilobytes_nor_costs_more_than_promised_by_eip_7976(
    figures: Figures, call: str
) -> None:
    kinds = ("the next model", "a run", "a node")
    sizes = [n for name, n in figures.items() if name.startswith(tuple(f"{call}{CALLDATA}, {k}" for k in kinds))]
    assert max(sizes) <= 25_000
    dear = [gas for name, gas in figures.items() if name.startswith(tuple(f"{call}, by EIP-7976, {k}" for k in kinds))]
    assert len(dear) == len(sizes)
    assert max(dear) <= 1_600_000


def test_every_call_fits_a_transaction(figures: Figures) -> None:
    """EIP-7825, and by EIP-7976 too."""
    calls = [gas for name, gas in figures.items() if not name.startswith("a round in all")]
    assert max(calls) <= TRANSACTION_GAS


@pytest.mark.parametrize("name", sorted(path.stem for path in ARTIFACTS.glob("*.json")))
def test_every_contract_is_small_enough_to_be_deployed(name: str) -> None:
    assert 0 < (len(artifact(name)["runtime"]) - 2) // 2 < MOST_CODE


def test_the_documented_figures_are_the_measured_ones(figures: Figures) -> None:
    """Each row of docs/gas.md that has the name of a figure has the figure; none is missing but those that say it again."""
    documented = {}
    for line in (ROOT / "docs" / "gas.md").read_text().splitlines():
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if name in figures:
            expected = [figures[name]]
            if CALLDATA in name:
                expected += [figures[name.replace(CALLDATA, tail)] for tail in ("", ", by EIP-7976")]
            assert [int(cell.replace(",", "")) for cell in cells[: len(expected)]] == expected, name
            documented[name] = expected
    again = re.compile("round 2$|^submitUpdate, .* 3 clients|, by EIP-7976")
    left = [name for name in figures if name not in documented and not again.search(name)]
    # The gas of what is in the table of calldata is there.
    assert [name for name in left if name.replace(", ", f"{CALLDATA}, ", 1) not in documented] == []


def test_the_figures_of_the_readme_are_the_measured_ones(figures: Figures) -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    [shown] = re.findall(r"A submission costs (.*?) \(\[docs/gas", text)
    expected = [
        figures["submitUpdate, later, 100 clients, round 50"],
        round(figures["submitUpdates, 100 entries"] / 100),
        figures["commitRound, 10 clients"],
        figures["commitRound, 4096 clients"],
        4096,
        figures["settle"],
    ]
    assert [int(number.replace(",", "")) for number in re.findall(r"\d+,\d{3}", shown)] == expected


@pytest.mark.parametrize("call", ["submitUpdate, first", "submitUpdate, later"])
def test_neither_history_nor_clients_make_a_call_dearer(figures: Figures, call: str) -> None:
    places = [f"{clients} clients, round {round}" for clients in (3, 100) for round in (2, 50)]
    assert len({figures[f"{call}, {place}"] for place in places}) == 1


def test_a_commit_costs_the_same_but_for_its_nodes_and_reading_the_outer_link(figures: Figures) -> None:
    """Which an attempt has from 64 entries on."""
    costs = [figures[f"commitRound, {clients} clients, round {r}"] for clients in (3, 100) for r in (2, 50)]
    assert len(set(costs[:3])) == 1
    # And for its nodes, of which a round of 100 has 8.
    assert costs[0] < costs[3] <= costs[0] + 2_100 + 8 * 1_000 + 12_000


def test_the_first_submission_of_a_round_is_hardly_dearer_than_the_others(figures: Figures) -> None:
    for clients in (3, 100):
        place = f"{clients} clients, round 50"
        assert figures[f"submitUpdate, first, {place}"] <= figures[f"submitUpdate, later, {place}"] + 100


def test_moments_cost_a_challenge_less_than_ten_updates_do(figures: Figures) -> None:
    mean = figures["challenge, the next model, 10 clients"]
    assert mean < figures["challenge, fedavgm, 10 clients"] < figures["challenge, fedadam, 10 clients"] < 2 * mean


@pytest.mark.parametrize("rule", ["coordinate_median", "trimmed_mean"])
def test_a_challenge_of_a_rule_that_sorts_fits_one_transaction(figures: Figures, rule: str) -> None:
    """Its comparisons do not depend on the values, so any order of them is the worst."""
    assert figures[f"challenge, {rule}, 64 clients"] <= TRANSACTION_GAS
