"""What the calls cost: exactly the committed figures, and within the limits that docs/gas.md promises."""

from __future__ import annotations

import re

import pytest

from tests.contracts.gas import Figures, measure, snapshot
from tests.contracts.ledger import ARTIFACTS, ROOT, Chain, artifact, terms_of

TRANSACTION_GAS = 2**24
"""The most gas of a transaction (EIP-7825)."""
MOST_CODE = 24_576
"""Bytes of a contract's code (EIP-170)."""


@pytest.fixture(scope="module")
def figures() -> Figures:
    return snapshot()


def test_the_figures_are_the_committed_ones(figures: Figures) -> None:
    assert measure() == figures, "if that was meant, run `python -m tests.contracts.gas` and commit gas.json"


@pytest.mark.parametrize(
    ("call", "most"),
    [
        # Every 64th, which writes the outer link as well, among them.
        ("submitUpdate", 52_000),
        ("commitRound", 120_000),
        ("announce", 45_000),
        ("settle", 60_000),
        ("claim, each of 100 clients, accounts that have a balance", 8_500),
        ("claim, each of 100 clients, new accounts", 25_600),
        ("challenge, weighted_mean, 10 clients", 520_000),
    ],
)
def test_no_call_costs_more_than_is_promised(figures: Figures, call: str, most: int) -> None:
    measured = {name: gas for name, gas in figures.items() if name.startswith(call)}
    assert max(measured.values()) <= most, measured


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
            if ", bytes of calldata" in name:
                expected += [figures[name.replace(", bytes of calldata", tail)] for tail in ("", ", by EIP-7976")]
            assert [int(cell.replace(",", "")) for cell in cells[: len(expected)]] == expected, name
            documented[name] = expected
    again = re.compile(
        "round 2$|^submitUpdate.* 3 clients|^(demand|expire),.* 100 clients|, by EIP-7976|^claim, 100 clients$"
    )
    assert [name for name in figures if name not in documented and not again.search(name)] == []


@pytest.mark.parametrize("call", ["submitUpdate, first", "submitUpdate, later"])
def test_neither_history_nor_clients_make_a_call_dearer(figures: Figures, call: str) -> None:
    places = [f"{clients} clients, round {round}" for clients in (3, 100) for round in (2, 50)]
    assert len({figures[f"{call}, {place}"] for place in places}) == 1


def test_a_commit_costs_the_same_but_for_reading_the_outer_link(figures: Figures) -> None:
    """Which an attempt has from 64 entries on."""
    costs = [figures[f"commitRound, {clients} clients, round {r}"] for clients in (3, 100) for r in (2, 50)]
    assert len(set(costs[:3])) == 1
    assert costs[0] < costs[3] <= costs[0] + 2_100


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


@pytest.mark.parametrize(
    ("rule", "clients"), [("weighted_mean", 10), ("weighted_mean", 100), ("coordinate_median", 64)]
)
def test_a_job_is_refused_before_its_answers_become_too_large(
    deployed: Chain, figures: Figures, rule: str, clients: int
) -> None:
    """What `registerJob` reckons with is what it refuses by, and no less than what is measured."""
    size, gas = _reckoned(deployed, rule, clients)
    where = f"{rule}, {clients} clients"
    assert figures[f"challenge, bytes of calldata, {where}"] <= size
    for call in ("challenge", "answer"):
        assert figures.get(f"{call}, {where}", 0) <= gas
    terms = terms_of(deployed, rule) | {"chunkParameters": 64, "parameters": 2**19, "challengeSeconds": 30_000}
    error, refused = deployed.refusal(
        deployed.accounts[0], "registerJob", terms | {"maxUpdates": 300}, (b"\1" * 32, b"\2" * 32)
    )
    assert error == "AnswerTooLarge"
    assert (refused["size"], refused["gasNeeded"]) == _reckoned(deployed, rule, 300)


def _reckoned(chain: Chain, rule: str, clients: int) -> tuple[int, int]:
    """Bytes and gas of an answer as `OpeningVerifier` has them, for 64 parameters a chunk and a depth of 13."""
    size = 1000 + clients // 8 + (clients + 2) * (4 * 64 + 32 * 13) + 90 * clients
    needed: int = chain.view("gasFor", clients, 64, to=chain.rules[rule])
    return size, 250_000 + 20 * size + (clients + 2) * (3500 + 350 * 13) + needed


@pytest.mark.parametrize("call", ["demand", "expire"])
def test_a_demand_and_its_expiry_do_not_depend_on_the_clients(figures: Figures, call: str) -> None:
    ten, hundred = (figures[f"{call}, weighted_mean, {clients} clients"] for clients in (10, 100))
    # But for the zero bytes of hashes in the record.
    assert abs(ten - hundred) <= 12 * 8
    assert max(ten, hundred) <= 150_000


@pytest.mark.parametrize("rule", ["coordinate_median", "trimmed_mean"])
def test_a_challenge_of_a_rule_that_sorts_fits_one_transaction(figures: Figures, rule: str) -> None:
    """Its comparisons do not depend on the values, so any order of them is the worst."""
    assert figures[f"challenge, {rule}, 64 clients"] <= TRANSACTION_GAS
