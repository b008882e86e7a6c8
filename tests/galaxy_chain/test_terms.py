"""What is said of a job's terms, whom they stop, and the formulas of size and gas beside the contracts themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from galaxy_chain.acceptance import accept_terms, chain_of
from galaxy_chain.accounts import NodeSigner
from galaxy_chain.deployment import deploy
from galaxy_chain.exceptions import UnsoundTermsError
from galaxy_chain.ledger.rpc import Rpc
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Terms
from galaxy_chain.ledger.transactions import Transactions
from galaxy_chain.terms import (
    DEVELOPMENT_CHAINS,
    LARGEST_GAS,
    LARGEST_TRANSACTION,
    Chain,
    Limits,
    Role,
    answer_bytes,
    answer_gas,
    check_terms,
    most_updates,
)
from galaxy_fl.aggregation import RULES
from galaxy_fl.vectors import ChunkTree
from galaxy_fl.vectors.chunk_tree import depth
from tests.contracts.gas import snapshot
from tests.contracts.ledger import Chain as Contracts
from tests.contracts.ledger import Commit, Job, Upload
from tests.end_to_end.processes import anvil
from tests.galaxy_chain.federation import Federation

ETHER = 10**18
MAINNET = Chain(1, 12.0, 10**9, 36_000_000)
EMBEDDED = Chain(1337, 1.0, 10**9, 30_000_000)
EVERYBODY = set(Role) - {Role.AUDIT}
PAYING = {Role.OWNER, Role.SERVER}


def terms(**changed: object) -> Terms:
    """Terms that nobody has anything to say against."""
    sound = {
        "spec": bytes(32), "rule_parameters": bytes(32), "rule": ZERO_ADDRESS, "demand_deposit": 10**16,
        "server": "0x" + "11" * 20, "bond": ETHER, "rounds": 5, "min_updates": 4, "max_updates": 8,
        "max_excluded": 4, "collect_seconds": 60, "aggregate_seconds": 600, "challenge_seconds": 86_400,
        "answer_seconds": 3_600, "chunk_parameters": 64, "open": False, "parameters": 38_282,
    }  # fmt: skip
    return Terms(**(sound | changed))


def trimmed(k: int) -> bytes:
    return k.to_bytes(32)


def test_nothing_is_said_of_sound_terms():
    assert check_terms(terms(), "weighted_mean", MAINNET) == []
    assert check_terms(terms(), "weighted_mean", EMBEDDED) == []


@pytest.mark.parametrize(
    ("changed", "rule", "chain", "term", "stops", "said"),
    [
        # What took half of a server's bond: one second to answer.
        ({"answer_seconds": 1}, "weighted_mean", MAINNET, "answer_seconds", PAYING, "set it to 300 or more"),
        ({"answer_seconds": 1}, "weighted_mean", MAINNET, "demand_deposit", PAYING, "1 answers into"),
        ({"answer_seconds": 299}, "weighted_mean", MAINNET, "answer_seconds", PAYING, "set it to 300"),
        ({"answer_seconds": 300}, "weighted_mean", MAINNET, "answer_seconds", set(), "1200 leaves time"),
        ({"answer_seconds": 1_400}, "weighted_mean", Chain(1, 60.0, 1), "answer_seconds", PAYING, "1500 or more"),
        # What can't be challenged.
        ({"challenge_seconds": 1}, "weighted_mean", MAINNET, "challenge_seconds", EVERYBODY, "600 or more"),
        ({"challenge_seconds": 39_600}, "weighted_mean", MAINNET, "challenge_seconds", EVERYBODY, "more than 39600"),
        ({"challenge_seconds": 31 * 86_400}, "weighted_mean", MAINNET, "challenge_seconds", PAYING, "31 days"),
        ({"aggregate_seconds": 59}, "weighted_mean", MAINNET, "aggregate_seconds", set(), "60 or more"),
        ({"aggregate_seconds": 2**31}, "weighted_mean", MAINNET, "aggregate_seconds", set(), "24855 days"),
        ({"collect_seconds": 2**31}, "weighted_mean", MAINNET, "collect_seconds", set(), "24855 days"),
        ({"collect_seconds": 0}, "weighted_mean", MAINNET, "collect_seconds", set(), "fastest min_updates 4"),
        ({"max_updates": 150, "max_excluded": 146}, "weighted_mean", MAINNET, "max_updates", EVERYBODY, "bytes"),
        (
            {"max_updates": 135, "max_excluded": 131, "parameters": 2**20},
            "weighted_mean", MAINNET, "max_updates", EVERYBODY, "136260 bytes.*set max_updates to 129 or less",
        ),
        (
            {"max_updates": 64, "max_excluded": 60, "chunk_parameters": 256, "parameters": 2**24},
            "trimmed_mean", MAINNET, "max_updates", EVERYBODY, "gas, more than 15000000",
        ),
        ({}, "weighted_mean", Chain(1, 12.0, 1, 300_000), "max_updates", EVERYBODY, "300000 of a block"),
        ({}, "weighted_mean", Chain(1, 12.0, 10**11), "demand_deposit", PAYING, "loses money by every demand"),
        ({}, "weighted_mean", Chain(1, 12.0, 15 * 10**9), "demand_deposit", set(), "is safer"),
        ({"demand_deposit": 0}, "weighted_mean", Chain(1, 12.0, 0), "demand_deposit", PAYING, "floods"),
        ({"demand_deposit": 10**13, "answer_seconds": 600}, "weighted_mean", MAINNET, "demand_deposit", PAYING, "cost 0.0505 ether, less"),
        ({"bond": 10**14}, "weighted_mean", MAINNET, "bond", set(), "nobody gains"),
        ({"bond": 25 * ETHER}, "weighted_mean", MAINNET, "bond", {Role.SERVER}, "raise --max-bond"),
        (
            {"demand_deposit": 50 * ETHER},
            "weighted_mean", MAINNET, "demand_deposit", {Role.CLIENT, Role.WATCH}, "50 ether.*raise --max-deposit",
        ),
        ({"rule_parameters": trimmed(2)}, "trimmed_mean", MAINNET, "min_updates", EVERYBODY, "more than 4"),
        ({"max_excluded": 3}, "weighted_mean", MAINNET, "max_excluded", set(), "4 leaves min_updates 4"),
        ({"open": True}, "weighted_mean", MAINNET, "open", set(), "many addresses"),
        ({"server": ZERO_ADDRESS}, "weighted_mean", MAINNET, "server", set(), "no server is named"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_stops_whom_it_costs(changed, rule, chain, term, stops, said):
    concerns = check_terms(terms(**changed), rule, chain)
    [concern] = [c for c in concerns if c.term == term and re.search(said, c.message, re.DOTALL)]
    assert concern.stops == stops
    assert concern.stops <= concern.hears


@pytest.mark.parametrize("chain_id", sorted(DEVELOPMENT_CHAINS))
def test_a_development_chain_relaxes_times_sizes_and_prices_but_says_them(chain_id):
    odd = terms(answer_seconds=1, challenge_seconds=1, max_updates=200, max_excluded=196, demand_deposit=1)
    said = check_terms(odd, "weighted_mean", Chain(chain_id, 1.0, 10**9))
    elsewhere = check_terms(odd, "weighted_mean", Chain(1, 1.0, 10**9))
    assert {c.message for c in said} == {c.message for c in elsewhere}
    assert not any(c.stops for c in said)
    assert any(c.stops for c in elsewhere)
    for never in (terms(bond=25 * ETHER), terms(demand_deposit=50 * ETHER)):
        assert any(c.stops for c in check_terms(never, "weighted_mean", Chain(chain_id, 1.0, 0)))
    hopeless = terms(rule_parameters=trimmed(2))
    assert any(c.stops for c in check_terms(hopeless, "trimmed_mean", Chain(chain_id, 1.0, 0)))


def test_who_means_it_is_not_stopped_but_told():
    odd = terms(answer_seconds=1, challenge_seconds=1)
    said = check_terms(odd, "weighted_mean", MAINNET, Limits(any_terms=True))
    assert [c.message for c in said] == [c.message for c in check_terms(odd, "weighted_mean", MAINNET)]
    assert not any(c.stops for c in said)


def test_the_limits_are_ones_own():
    dear = terms(bond=25 * ETHER, demand_deposit=ETHER)
    assert check_terms(dear, "weighted_mean", MAINNET, Limits(25 * ETHER, ETHER)) == []


ODD_TERMS = st.builds(
    terms,
    demand_deposit=st.integers(0, 2**96 - 1),
    bond=st.integers(1, 2**96 - 1),
    min_updates=st.integers(1, 256),
    max_updates=st.integers(1, 256),
    max_excluded=st.integers(0, 256),
    collect_seconds=st.integers(0, 2**31),
    aggregate_seconds=st.integers(1, 2**31),
    challenge_seconds=st.integers(1, 2**31),
    answer_seconds=st.integers(1, 2**31),
    chunk_parameters=st.integers(1, 32).map(lambda eights: 8 * eights),
    parameters=st.integers(257, 2**40),
    rule_parameters=st.integers(0, 2**256 - 1).map(lambda word: word.to_bytes(32)),
    open=st.booleans(),
    server=st.sampled_from([ZERO_ADDRESS, "0x" + "11" * 20]),
)
CHAINS = st.builds(
    Chain, st.sampled_from([1, 5, 1337]), st.floats(0, 10_000), st.integers(0, 2**80), st.none() | st.integers(0, 2**40)
)


@given(ODD_TERMS, st.sampled_from(sorted(RULES)), CHAINS)
def test_whatever_the_ledger_takes_is_judged(odd, rule, chain):
    concerns = check_terms(odd, rule, chain)
    assert all(c.stops <= c.hears and Role.AUDIT not in c.stops for c in concerns)
    if not chain.development:
        levels = depth(odd.parameters, odd.chunk_parameters)
        stopped = {role for concern in concerns for role in concern.stops}
        unanswerable = (
            answer_bytes(odd.max_updates, odd.chunk_parameters, levels) > LARGEST_TRANSACTION
            or answer_gas(rule, odd.max_updates, odd.chunk_parameters, levels) > LARGEST_GAS
        )
        if unanswerable or odd.challenge_seconds <= (levels + 1) * odd.answer_seconds:
            assert stopped == EVERYBODY


@given(ODD_TERMS, st.sampled_from(sorted(RULES)))
def test_the_advice_about_seconds_and_deposits_helps(odd, rule):
    """Doing what is said leaves nothing that stops."""
    chain = Chain(1, 12.0, 10**9, 36_000_000)
    fixed = replace(odd, rule_parameters=bytes(32), min_updates=1, max_updates=2, chunk_parameters=64)
    fixed = replace(fixed, parameters=max(65, odd.parameters % 2**24), answer_seconds=3_600)
    for _ in range(6):
        stopping = [c for c in check_terms(fixed, rule, chain, Limits(2**97, 2**97)) if c.stops]
        if not stopping:
            return
        first = stopping[0]
        number = re.search(r"set (?:it|\w+) to (more than )?([\d.e+-]+)", first.message)
        assert number is not None, first.message
        value = float(number[2]) * (ETHER if "ether" in first.message[number.end() :][:7] else 1)
        # Amounts are shown with few digits.
        value = int(value * (1.00001 if first.term == "demand_deposit" else 1)) + (1 if number[1] else 0)
        fixed = replace(fixed, **{first.term: value})
    raise AssertionError([c.message for c in stopping])


@given(st.sampled_from(sorted(RULES)), st.integers(257, 2**40), st.integers(1, 32).map(lambda eights: 8 * eights))
def test_the_most_updates_have_room_and_one_more_has_not(rule, parameters, size):
    most = most_updates(rule, parameters, size)
    levels = depth(parameters, size)
    assert answer_bytes(most, size, levels) < LARGEST_TRANSACTION
    assert answer_gas(rule, most, size, levels) <= LARGEST_GAS
    more = most + 1
    assert (
        more > RULES[rule].max_updates
        or more * size > 16_384
        or answer_bytes(more, size, levels) > LARGEST_TRANSACTION - 150
        or answer_gas(rule, more, size, levels) > LARGEST_GAS
    )


def test_the_figures_of_the_documents():
    assert most_updates("weighted_mean", 524_288, 64) == 134
    assert 16_900_000 < answer_gas("trimmed_mean", 64, 256, 16) < 17_300_000  # measured: 16,890,000


def test_the_formulas_against_the_measured_figures():
    measured = snapshot()
    for rule, updates in (
        ("weighted_mean", 10),
        ("weighted_mean", 100),
        ("coordinate_median", 64),
        ("trimmed_mean", 64),
    ):
        where = f"{rule}, {updates} clients"
        assert measured[f"challenge, bytes of calldata, {where}"] == answer_bytes(updates, 64, 13)
        gas = measured[f"challenge, {where}"]
        assert gas <= answer_gas(rule, updates, 64, 13) <= 1.06 * gas, where


@pytest.fixture(scope="module")
def contracts() -> Contracts:
    return Contracts(accounts=20)


@pytest.mark.parametrize(
    ("rule", "updates", "size", "levels", "last"),
    [
        ("weighted_mean", 1, 8, 1, True), ("weighted_mean", 12, 256, 2, False), ("weighted_mean", 12, 8, 9, True),
        ("relay", 12, 64, 4, False), ("coordinate_median", 1, 8, 1, False), ("coordinate_median", 9, 256, 2, True),
        ("trimmed_mean", 2, 8, 1, False), ("trimmed_mean", 17, 64, 3, True),
    ],
)  # fmt: skip
def test_the_formulas_against_the_contracts(contracts, rule, updates, size, levels, last):
    parameters = 2**levels * size - (5 if last else 0)
    model, vector = np.random.default_rng(0).integers(-(2**30), 2**30, (2, parameters)).astype("<i4")
    job = Job(
        contracts, model, rule, parameters=parameters, chunkParameters=size, minUpdates=updates, maxUpdates=updates,
        rounds=1, maxExcluded=0, challengeSeconds=10_000,
    )  # fmt: skip
    job.clients = contracts.accounts[2 : 2 + updates]
    job.prepare()
    tree = ChunkTree(vector, size)
    for client in job.clients:
        upload = Upload(client, vector, tree, 100)
        job.send(client, "submitUpdate", 1, upload.update)
        job.record_upload(upload)
    contracts.travel(job.state.closesAt)
    after = job.aggregate()
    receipt = job.send(job.server, "commitRound", *job.commit_arguments(after))
    commit = Commit(job.attempt, after, (), job.server, receipt.time, size)
    index = 2**levels - 1 if last else 0
    job.demand(contracts.accounts[0], commit, index)
    data = contracts.ledger.encode_abi("answer", [job.id, commit.record, index, commit.openings(index)])
    assert len(data) // 2 - 1 == answer_bytes(updates, size, levels)
    used = job.send(job.server, "answer", commit.record, index, commit.openings(index)).gas
    bound = answer_gas(rule, updates, size, levels)
    assert used <= bound
    if rule != "relay":  # which computes nothing
        assert bound <= 1.35 * used


def test_a_chains_figures_are_read(node):
    chain = chain_of(Rpc(node.url))
    assert chain.chain_id == 1337
    assert chain.block_gas == 30_000_000
    assert chain.gas_price > 0
    assert chain.block_seconds >= 0


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Iterator[Federation]:
    """A job on a chain that is not for development, as far as anybody is told."""
    with anvil("--chain-id", "5777", "--accounts", "20") as url:
        rpc = Rpc(url)
        accounts = [to_checksum_address(account) for account in rpc.request("eth_accounts")]
        deployment, _ = deploy(rpc, Transactions(rpc, NodeSigner(accounts[0])))
        folder = tmp_path_factory.mktemp("elsewhere")
        yield Federation(SimpleNamespace(url=url, accounts=accounts), deployment, folder)


def test_hostile_terms_cost_nobody_anything(elsewhere):
    """One second to answer: no server deposits. One second to challenge: no client joins."""
    elsewhere.job = elsewhere.register(answer_seconds=1)
    with pytest.raises(UnsoundTermsError, match="answer_seconds is 1: an honest server"):
        elsewhere.serve()
    assert elsewhere.ledger().account(elsewhere.job, elsewhere.server).amount == 0
    elsewhere.client(0)  # it loses nothing by that
    elsewhere.job = elsewhere.register(challenge_seconds=1)
    with pytest.raises(UnsoundTermsError, match="challenge_seconds is 1: nobody can be sure"):
        elsewhere.client(0)
    assert elsewhere.ledger().client(elsewhere.job, elsewhere.clients[0]).samples == 0
    elsewhere.job = elsewhere.register()
    elsewhere.serve()
    elsewhere.client(0)


def test_whom_terms_stop_is_refused_unless_it_has_entered(federation):
    ledger = federation.ledger()
    dear = terms(bond=25 * ETHER)
    with pytest.raises(UnsoundTermsError, match="job 7 are refused:\n- bond is 25 ether.*--max-bond") as caught:
        accept_terms(ledger, "job 7", dear, "weighted_mean", Role.SERVER, Limits())
    assert caught.value.exit_code == 34
    said = accept_terms(ledger, "job 7", dear, "weighted_mean", Role.SERVER, Limits(), entered=True)
    assert [c.term for c in said] == ["bond"]
    assert accept_terms(ledger, "job 7", dear, "weighted_mean", Role.CLIENT, Limits()) == []
