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

from galaxy_chain.exceptions import LedgerRefusedError, UnsoundTermsError
from galaxy_chain.jobs.acceptance import accept_terms, chain_of
from galaxy_chain.jobs.answer_size import MOST_BYTES, MOST_GAS, answer_bytes, answer_gas, fits, most_updates, rule_gas
from galaxy_chain.jobs.terms import (
    DEVELOPMENT_CHAINS,
    Chain,
    Limits,
    Role,
    check_terms,
    covered_rounds,
    finder_reward,
    least_challenge_seconds,
    least_idle_seconds,
)
from galaxy_chain.ledger.deployment import deploy
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Terms, python_name
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.aggregation import RULES, is_sum
from galaxy_fl.vectors.chunk_tree import depth
from tests.contracts.ledger import Chain as Contracts
from tests.contracts.ledger import Job, terms_of
from tests.contracts.test_terms import AT_THE_BOUND, OUT_OF_BOUNDS
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
        "spec": bytes(32), "rule_word": bytes(32), "rule": ZERO_ADDRESS, "demand_deposit": 10**16,
        "server": "0x" + "11" * 20, "bond": ETHER, "rounds": 5, "min_clients": 4, "max_clients": 8,
        "max_excluded": 4, "deadline": 60, "aggregate_seconds": 600, "challenge_seconds": 86_400,
        "idle_seconds": 7_200, "server_share": 1_000, "max_unsettled": 5, "answer_seconds": 1_200, "max_weight": 10**6,
        "chunk_parameters": 64, "fan_in": 16, "open": False, "parameters": 38_282,
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
        # What the ledger refuses.
        ({"answer_seconds": 299}, "weighted_mean", MAINNET, "answer_seconds", EVERYBODY, "transaction in.*to 300 or more"),
        ({"aggregate_seconds": 59}, "weighted_mean", MAINNET, "aggregate_seconds", EVERYBODY, "60 or more"),
        ({"aggregate_seconds": 0}, "weighted_mean", EMBEDDED, "aggregate_seconds", EVERYBODY, "1 or more"),
        ({"challenge_seconds": 71_999}, "weighted_mean", EMBEDDED, "challenge_seconds", EVERYBODY, "to 72000 or more"),
        ({"challenge_seconds": 2**31 + 1}, "weighted_mean", EMBEDDED, "challenge_seconds", EVERYBODY, "2147483648 or"),
        ({"aggregate_seconds": 2**31}, "weighted_mean", MAINNET, "aggregate_seconds", EVERYBODY, "24855 days"),
        ({"deadline": 2**31}, "weighted_mean", MAINNET, "deadline", EVERYBODY, "24855 days"),
        ({"idle_seconds": 2_459}, "weighted_mean", EMBEDDED, "idle_seconds", EVERYBODY, "2460 or more"),
        ({"max_weight": 2**29}, "weighted_mean", EMBEDDED, "max_weight", EVERYBODY, "to 16777215 or less"),
        ({"max_weight": 0}, "weighted_mean", EMBEDDED, "max_weight", EVERYBODY, "to 16777215 or less"),
        ({"server_share": 5_001}, "weighted_mean", EMBEDDED, "server_share", EVERYBODY, "to 5000 or less"),
        ({"max_unsettled": 0}, "weighted_mean", EMBEDDED, "max_unsettled", EVERYBODY, "1 or more"),
        ({"min_clients": 9}, "weighted_mean", EMBEDDED, "min_clients", EVERYBODY, "1 to max_clients 8"),
        ({"max_excluded": 9}, "weighted_mean", EMBEDDED, "max_excluded", EVERYBODY, "set it to 8 or less"),
        ({"rule_word": trimmed(2)}, "trimmed_mean", EMBEDDED, "min_clients", EVERYBODY, "more than 4"),
        (
            {"max_clients": 257, "max_excluded": 253, "chunk_parameters": 8},
            "relay", EMBEDDED, "max_clients", EVERYBODY, "rule takes 256",
        ),
        (
            {"max_clients": 4_097, "max_excluded": 4_093, "max_weight": 1_000},
            "weighted_mean", EMBEDDED, "max_clients", EVERYBODY, "rule takes 4096",
        ),
        ({"max_clients": 177, "max_excluded": 173}, "relay", EMBEDDED, "max_clients", EVERYBODY, "bytes"),
        (
            {"max_clients": 150, "max_excluded": 146, "parameters": 2**20},
            "relay", MAINNET, "max_clients", EVERYBODY, "121526 bytes.*set max_clients to 148 or less",
        ),
        ({"fan_in": 1}, "weighted_mean", EMBEDDED, "fan_in", EVERYBODY, "stands for 2 to 64"),
        ({"fan_in": 65}, "relay", EMBEDDED, "fan_in", EVERYBODY, "stands for 2 to 64"),
        ({"fan_in": 2, "max_clients": 17}, "weighted_mean", EMBEDDED, "max_clients", EVERYBODY, "16 updates at most"),
        (
            {"max_clients": 64, "max_excluded": 60, "chunk_parameters": 256, "parameters": 2**24},
            "trimmed_mean", MAINNET, "max_clients", EVERYBODY, "gas, more than 15000000",
        ),
        # What is not wise on this chain.
        ({"answer_seconds": 300}, "weighted_mean", MAINNET, "answer_seconds", set(), "1200 leaves time"),
        ({"answer_seconds": 1_400}, "weighted_mean", Chain(1, 60.0, 1), "answer_seconds", PAYING, "1500 or more"),
        ({"challenge_seconds": 31 * 86_400}, "weighted_mean", MAINNET, "challenge_seconds", PAYING, "31 days"),
        (
            {"challenge_seconds": 10**8, "answer_seconds": 10**5, "idle_seconds": 10**6},
            "weighted_mean", MAINNET, "challenge_seconds", PAYING, "lower answer_seconds, which asks for 6000000 at",
        ),
        ({"aggregate_seconds": 95}, "weighted_mean", MAINNET, "aggregate_seconds", set(), "set it to 96 or more"),
        ({"idle_seconds": 2_460, "answer_seconds": 1_231}, "weighted_mean", MAINNET, "idle_seconds", set(), "2462, twice"),
        ({"idle_seconds": 31 * 86_400}, "weighted_mean", MAINNET, "idle_seconds", set(), "31 days"),
        ({"deadline": 59}, "weighted_mean", MAINNET, "deadline", set(), "fastest min_clients 4.*set it to 60 or more"),
        ({}, "weighted_mean", Chain(1, 40.0, 1), "deadline", set(), "relayed.*set it to 80 or more"),
        ({}, "weighted_mean", Chain(1, 12.0, 1, 300_000), "max_clients", EVERYBODY, "300000 of a block"),
        ({}, "weighted_mean", Chain(1, 12.0, 10**11), "demand_deposit", PAYING, "loses money by every demand"),
        ({}, "weighted_mean", Chain(1, 12.0, 12 * 10**9), "demand_deposit", set(), "is safer"),
        ({"demand_deposit": 0}, "weighted_mean", Chain(1, 12.0, 0), "demand_deposit", PAYING, "floods"),
        (
            {"demand_deposit": 10**13, "answer_seconds": 600},
            "weighted_mean", MAINNET, "demand_deposit", PAYING, "cost 0.0505 ether, no more than the 0.25 ether",
        ),
        ({"bond": 10**14}, "weighted_mean", MAINNET, "bond", set(), "nobody gains"),
        ({"bond": 25 * ETHER}, "weighted_mean", MAINNET, "bond", {Role.SERVER}, "raise --max-bond"),
        (
            {"demand_deposit": 50 * ETHER},
            "weighted_mean", MAINNET, "demand_deposit", {Role.CLIENT, Role.WATCH}, "50 ether.*raise --max-deposit",
        ),
        ({"max_unsettled": 2}, "weighted_mean", MAINNET, "max_unsettled", set(), "5 rounds take 48 hours at least"),
        ({"max_excluded": 3}, "weighted_mean", MAINNET, "max_excluded", set(), "4 leaves min_clients 4"),
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
def test_a_development_chain_relaxes_times_and_prices_but_says_them(chain_id):
    odd = terms(answer_seconds=1, challenge_seconds=60, demand_deposit=1)
    said = check_terms(odd, "weighted_mean", Chain(chain_id, 1.0, 10**9))
    elsewhere = check_terms(odd, "weighted_mean", Chain(1, 1.0, 10**9))
    assert {c.message for c in said} < {c.message for c in elsewhere}
    [refused] = [c for c in elsewhere if c.message not in {c.message for c in said}]
    assert refused.term == "answer_seconds"  # by the ledger itself, on chains that are for more than development
    assert not any(c.stops for c in said)
    assert any(c.stops for c in elsewhere)
    for never in (terms(bond=25 * ETHER), terms(demand_deposit=50 * ETHER)):
        assert any(c.stops for c in check_terms(never, "weighted_mean", Chain(chain_id, 1.0, 0)))
    hopeless = terms(rule_word=trimmed(2))
    assert any(c.stops for c in check_terms(hopeless, "trimmed_mean", Chain(chain_id, 1.0, 0)))


def test_who_means_it_is_not_stopped_but_told():
    odd = terms(demand_deposit=1)
    said = check_terms(odd, "weighted_mean", MAINNET, Limits(any_terms=True))
    stopped = check_terms(odd, "weighted_mean", MAINNET)
    assert [c.message for c in said] == [c.message for c in stopped]
    assert [any(c.stops for c in concerns) for concerns in (said, stopped)] == [False, True]
    # What the ledger refuses it refuses whatever anybody means.
    assert check_terms(terms(max_unsettled=0), "weighted_mean", MAINNET, Limits(any_terms=True))[0].stops == EVERYBODY


def test_a_pool_that_a_bond_does_not_cover_is_told():
    assert check_terms(terms(), "weighted_mean", MAINNET, pool=ETHER // 2) == []
    [concern] = check_terms(terms(), "weighted_mean", MAINNET, pool=10 * ETHER)
    assert re.search("up to 5 rounds.*earned, 10 ether.*bond to 20 ether.*max_unsettled to 1 or less", concern.message)
    said = check_terms(terms(max_unsettled=1), "weighted_mean", MAINNET, pool=10 * ETHER)
    assert [c.term for c in said] == ["bond", "max_unsettled"]
    assert "max_unsettled to" not in said[0].message
    assert said[1].hears == {Role.OWNER, Role.AUDIT}


@given(st.integers(1, 2**96 - 1), st.integers(0, 2**100), st.integers(1, 2**31))
def test_the_covered_rounds_are_the_most_whose_loss_half_of_the_bond_covers(bond, pool, rounds):
    covered = covered_rounds(bond, pool, rounds)
    assert 1 <= covered <= rounds
    assert covered == 1 or covered * pool <= bond // 2 * rounds
    assert covered == rounds or (covered + 1) * pool > bond // 2 * rounds


def test_no_weight_is_more_than_a_rule_takes():
    """The ledger takes larger ones, and one such client would end the job: nobody could aggregate its update."""
    assert check_terms(terms(max_weight=2**24 - 1), "weighted_mean", MAINNET) == []
    [concern] = check_terms(terms(max_weight=2**24), "weighted_mean", MAINNET)
    assert concern.stops == EVERYBODY


def test_the_limits_are_ones_own():
    dear = terms(bond=25 * ETHER, demand_deposit=ETHER)
    assert check_terms(dear, "weighted_mean", MAINNET, Limits(25 * ETHER, ETHER)) == []


ODD_TERMS = st.builds(
    terms,
    demand_deposit=st.integers(0, 2**96 - 1),
    bond=st.integers(1, 2**96 - 1),
    min_clients=st.integers(1, 4_096),
    max_clients=st.integers(1, 4_096),
    max_excluded=st.integers(0, 4_096),
    fan_in=st.integers(2, 64),
    deadline=st.integers(0, 2**31),
    aggregate_seconds=st.integers(1, 2**31),
    challenge_seconds=st.integers(1, 2**31),
    answer_seconds=st.integers(1, 2**31),
    idle_seconds=st.integers(1, 2**31),
    server_share=st.integers(0, 2**16 - 1),
    max_unsettled=st.integers(0, 2**32 - 1),
    max_weight=st.integers(0, 2**32 - 1),
    chunk_parameters=st.integers(1, 32).map(lambda eights: 8 * eights),
    parameters=st.integers(257, 2**40),
    rule_word=st.integers(0, 2**256 - 1).map(lambda word: word.to_bytes(32)),
    open=st.booleans(),
    server=st.sampled_from([ZERO_ADDRESS, "0x" + "11" * 20]),
)
CHAINS = st.builds(
    Chain, st.sampled_from([1, 5, 1337]), st.floats(0, 10_000), st.integers(0, 2**80), st.none() | st.integers(0, 2**40)
)


@given(ODD_TERMS, st.sampled_from(sorted(RULES)), CHAINS, st.integers(0, 2**100))
def test_whatever_terms_say_is_judged(odd, rule, chain, pool):
    concerns = check_terms(odd, rule, chain, pool=pool)
    assert all(c.stops <= c.hears and Role.AUDIT not in c.stops for c in concerns)
    levels = depth(odd.parameters, odd.chunk_parameters)
    if (
        not fits(rule, odd.max_clients, odd.fan_in, odd.chunk_parameters, levels)
        or odd.fan_in * odd.chunk_parameters > 16_384
        or odd.challenge_seconds < 4 * (levels + 5) * odd.answer_seconds
        or odd.idle_seconds < odd.deadline + 4 * odd.aggregate_seconds
        or odd.max_weight * odd.max_clients >= 2**32
    ):
        assert {role for concern in concerns for role in concern.stops} == EVERYBODY


@given(ODD_TERMS, st.sampled_from(sorted(RULES)))
def test_the_advice_about_seconds_and_deposits_helps(odd, rule):
    """Doing what is said leaves nothing that stops."""
    chain = Chain(1, 12.0, 10**9, 36_000_000)
    fixed = replace(odd, rule_word=bytes(32), min_clients=1, max_clients=2, chunk_parameters=64)
    fixed = replace(fixed, parameters=max(65, odd.parameters % 2**24), answer_seconds=3_600)
    for _ in range(12):
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


@given(
    st.sampled_from(sorted(RULES)),
    st.integers(257, 2**40),
    st.integers(1, 32).map(lambda eights: 8 * eights),
    st.integers(2, 64),
)
def test_the_most_updates_have_room_and_one_more_has_not(rule, parameters, size, fan_in):
    most = most_updates(rule, parameters, size, fan_in)
    levels = depth(parameters, size)
    assert most == 0 or fits(rule, most, fan_in, size, levels)
    assert most == RULES[rule].max_updates or not fits(rule, most + 1, fan_in, size, levels)


@given(st.integers(2, 64), st.integers(1, 32).map(lambda eights: 8 * eights), st.integers(2, 2**40))
def test_an_answer_of_a_sum_does_not_grow_with_the_round(fan_in, size, parameters):
    """But for the blocks that it shuts: a bit an update, and 35 bytes for 64 of them."""
    levels = depth(parameters + size, size)
    large, full = fan_in**4, answer_bytes("weighted_mean", fan_in + 1, fan_in, size, levels)
    assert answer_bytes("weighted_mean", min(4_096, large), fan_in, size, levels) < full + 14_000


def test_formulas_in_figures():
    assert most_updates("weighted_mean", 524_288, 64, 16) == 4_096
    assert most_updates("weighted_mean", 524_288, 64, 2) == 16
    assert most_updates("relay", 524_288, 64, 16) == 154
    assert most_updates("trimmed_mean", 2**24, 256, 16) == 52
    assert answer_bytes("weighted_mean", 4_096, 16, 64, 13) == 25_660
    assert answer_bytes("weighted_mean", 16, 16, 64, 13) == 14_538
    assert least_challenge_seconds(38_282, 64, 1_200) == 72_000
    assert least_idle_seconds(60, 600) == 2_460
    assert finder_reward(7) == 1


@pytest.fixture(scope="module")
def contracts() -> Contracts:
    return Contracts(accounts=20)


JUDGED = {
    "minUpdates", "maxUpdates", "maxExcluded", "maxWeight", "serverShare", "maxUnsettled", "collectSeconds",
    "aggregateSeconds", "challengeSeconds", "idleSeconds", "answerSeconds",
}  # fmt: skip
"""What a job file can say wrong."""


def bounds_broken(chain_id: int, changed: dict[str, object]) -> set[str]:
    """The terms that nobody may take part with whatever it means, of the contracts' valid ones with changes."""
    valid = terms(
        demand_deposit=10**16, min_clients=2, max_clients=3, max_excluded=1, deadline=100, aggregate_seconds=200,
        challenge_seconds=9_000, idle_seconds=1_000, answer_seconds=300, max_weight=100, chunk_parameters=8,
        fan_in=16, parameters=20,
    )  # fmt: skip
    odd = replace(valid, **{python_name(name): value for name, value in changed.items()})
    concerns = check_terms(odd, "weighted_mean", Chain(chain_id, 1.0, 0), Limits(2**97, 2**97, any_terms=True))
    return {concern.term for concern in concerns if concern.stops}


@pytest.mark.parametrize(("term", "changed"), [bound for bound in OUT_OF_BOUNDS if bound[0] in JUDGED])
def test_what_the_contracts_refuse_is_told_before(term, changed):
    assert python_name(term) in bounds_broken(1, changed)


@pytest.mark.parametrize("changed", [bound for bound in AT_THE_BOUND if set(bound) <= JUDGED - {"maxWeight"}])
def test_what_the_contracts_take_stops_nobody(changed):
    assert not bounds_broken(1, changed)


TOO_LARGE = [(513, 64, 256, 30), (255, 64, 256, 31), (4_096, 64, 256, 30), (4_096, 40, 256, 32), (61, 61, 256, 32)]
"""Updates, fan-in, parameters a chunk and levels of jobs in which no rule's answer has room."""


@pytest.mark.parametrize(
    ("rule", "updates", "fan_in", "size", "levels"),
    [
        *((rule, *case) for rule in sorted(RULES) for case in TOO_LARGE),
        *((rule, 900, 64, 8, 0) for rule in sorted(RULES) if not is_sum(RULES[rule])),
    ],
)
def test_the_formulas_are_those_of_the_contracts(contracts, rule, updates, fan_in, size, levels):
    changed = {
        "minUpdates": 1, "maxUpdates": updates, "chunkParameters": size, "parameters": size * 2**levels + 1 - (levels > 0),
        "challengeSeconds": 4 * 40 * 300, "maxExcluded": 0, "fanIn": fan_in,
    }  # fmt: skip
    levels = depth(changed["parameters"], size)
    name, said = contracts.refusal(
        contracts.accounts[0], "registerJob", terms_of(contracts, rule) | changed, (b"\1" * 32, b"\2" * 32)
    )
    assert (name, said["size"], said["sizeAllowed"], said["gasNeeded"], said["gasAllowed"]) == (
        "AnswerTooLarge", answer_bytes(rule, updates, fan_in, size, levels), MOST_BYTES,
        answer_gas(rule, updates, fan_in, size, levels), MOST_GAS,
    )  # fmt: skip
    assert answer_gas(rule, updates, fan_in, size, levels) > rule_gas(rule, updates, size)


@pytest.mark.parametrize(
    ("rule", "updates", "size", "levels"),
    [
        ("weighted_mean", 1, 8, 1), ("weighted_mean", 12, 256, 2), ("weighted_mean", 12, 8, 9), ("relay", 12, 64, 4),
        ("coordinate_median", 1, 8, 1), ("coordinate_median", 12, 256, 2), ("coordinate_median", 17, 64, 3),
        ("trimmed_mean", 2, 8, 1), ("trimmed_mean", 17, 128, 3),
    ],
)  # fmt: skip
def test_an_answer_stays_within_the_formulas(contracts, rule, updates, size, levels):
    parameters = 2**levels * size - 5
    model, vector = np.random.default_rng(0).integers(-(2**30), 2**30, (2, parameters)).astype("<i4")
    job = Job(
        contracts, model, rule, parameters=parameters, chunkParameters=size, minUpdates=updates, maxUpdates=updates,
        rounds=1, maxExcluded=0, challengeSeconds=4 * (levels + 5) * 300,
    )  # fmt: skip
    job.clients = contracts.accounts[2 : 2 + updates]
    job.prepare()
    for client in job.clients:
        job.submit(client, vector)
    contracts.travel(job.state.closesAt)
    commit = job.commit()
    index = 2**levels - 1
    job.demand(contracts.accounts[0], commit, index)
    data = contracts.ledger.encode_abi("answer", [job.id, commit.record, 0, index, commit.openings(index)])
    assert len(data) // 2 - 1 <= answer_bytes(rule, updates, 16, size, levels)
    used = job.answer(job.server, commit, index).gas
    assert used <= answer_gas(rule, updates, 16, size, levels)


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
    """One second to answer or to challenge: no such job. Free demands: no server deposits. Dear ones: no client joins."""
    for hostile in ({"answer_seconds": 1}, {"challenge_seconds": 1}):
        with pytest.raises(LedgerRefusedError, match="the term .* is out of its bounds"):
            elsewhere.register(**hostile)
    elsewhere.job = elsewhere.register(demand_deposit=1)
    with pytest.raises(UnsoundTermsError, match="demand_deposit is 1e-18 ether: an answer takes up to"):
        elsewhere.serve()
    assert elsewhere.ledger().account_of(elsewhere.job, elsewhere.server).bond == 0
    elsewhere.client(0)  # it loses nothing by that
    elsewhere.job = elsewhere.register(demand_deposit=50 * ETHER)
    with pytest.raises(UnsoundTermsError, match="demand_deposit is 50 ether, and a demand is to cost 0.1 ether"):
        elsewhere.client(0)
    assert elsewhere.ledger().client_of(elsewhere.job, elsewhere.clients[0]).samples == 0
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
    assert [c.term for c in said if c.stops] == ["bond"]  # what else is said depends on how far apart blocks were
    heard = accept_terms(ledger, "job 7", dear, "weighted_mean", Role.CLIENT, Limits())
    assert "bond" not in [c.term for c in heard]
