"""What the calls cost: exactly the committed figures, and within the limits that docs/gas.md promises."""

from __future__ import annotations

import re

import pytest

from tests.contracts.gas import Figures, measure, snapshot
from tests.contracts.ledger import ROOT

TRANSACTION_GAS = 2**24
"""The most gas of a transaction (EIP-7825)."""


@pytest.fixture(scope="module")
def figures() -> Figures:
    return snapshot()


def test_the_figures_are_the_committed_ones(figures: Figures) -> None:
    assert measure() == figures, "if that was meant, run `python -m tests.contracts.gas` and commit gas.json"


def test_a_submission_costs_at_most_48_000(figures: Figures) -> None:
    assert max(gas for name, gas in figures.items() if name.startswith("submitUpdate")) <= 48_000


def test_a_commit_costs_at_most_85_000_and_8_000_an_excluded_client(figures: Figures) -> None:
    for name, gas in figures.items():
        if name.startswith("commitRound"):
            assert gas <= (8_000 if "excluded" in name else 85_000), name


@pytest.mark.parametrize("call", ["submitUpdate, first", "submitUpdate, later", "commitRound"])
def test_neither_history_nor_clients_make_a_call_dearer(figures: Figures, call: str) -> None:
    places = [f"{clients} clients, round {round}" for clients in (3, 100) for round in (2, 50)]
    assert len({figures[f"{call}, {place}"] for place in places}) == 1


def test_the_first_submission_of_a_round_is_no_dearer_than_the_others(figures: Figures) -> None:
    for clients in (3, 100):
        place = f"{clients} clients, round 50"
        assert figures[f"submitUpdate, first, {place}"] <= figures[f"submitUpdate, later, {place}"]


@pytest.mark.parametrize("call", ["challenge", "answer"])
def test_a_challenge_and_an_answer_cost_at_most_50_000_a_client_and_200_000(figures: Figures, call: str) -> None:
    ten, hundred = (figures[f"{call}, weighted_mean, {clients} clients"] for clients in (10, 100))
    each = (hundred - ten) / 90
    assert each <= 50_000
    assert ten - 10 * each <= 200_000


def test_134_clients_are_the_most_whose_challenge_a_node_takes(figures: Figures) -> None:
    """geth's pool takes transactions of 131,072 bytes; signature, fees and the like are below 150 of them."""
    ten, hundred = (figures[f"challenge, bytes of calldata, weighted_mean, {clients} clients"] for clients in (10, 100))
    each = (hundred - ten) // 90
    assert each == 288 + 4 * 64 + 32 * 13
    assert ten - 10 * each == 932 + 8 * 64 + 64 * 13
    assert ten + 124 * each + 150 <= 131_072 < ten + 125 * each


@pytest.mark.parametrize("call", ["demand", "expire"])
def test_a_demand_and_its_expiry_do_not_depend_on_the_clients(figures: Figures, call: str) -> None:
    ten, hundred = (figures[f"{call}, weighted_mean, {clients} clients"] for clients in (10, 100))
    assert ten == hundred <= 120_000


@pytest.mark.parametrize("rule", ["coordinate_median", "trimmed_mean"])
def test_a_challenge_of_a_rule_that_sorts_fits_one_transaction(figures: Figures, rule: str) -> None:
    """Its comparisons do not depend on the values, so any order of them is the worst."""
    assert figures[f"challenge, {rule}, 64 clients"] <= TRANSACTION_GAS


def test_the_documented_figures_are_the_measured_ones(figures: Figures) -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([\d,]+) \|", (ROOT / "docs" / "gas.md").read_text(), re.MULTILINE)
    assert len(rows) == 27
    stale = [call for call, gas in rows if int(gas.replace(",", "")) not in figures.values()]
    assert not stale
