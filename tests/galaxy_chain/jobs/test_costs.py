"""What `job create` says that taking part costs, beside what the contracts take."""

from __future__ import annotations

import numpy as np
import pytest

from galaxy_chain.jobs.costs import commit_gas, costs, lie, relay_gas
from galaxy_chain.jobs.file import TermsSection
from galaxy_chain.ledger.structs import Terms
from galaxy_fl.jobs.document import RuleChoice
from tests.contracts.ledger import SALT, Chain, Job, client_key

ETHER = 10**18
PARAMETERS = 16 * 64


def terms(clients: int, **said: object) -> Terms:
    section = TermsSection(rounds=4, min_clients=clients, max_clients=clients, open=True, **said)
    return section.on_ledger(bytes(32), RuleChoice(), "0x" + "33" * 20, PARAMETERS, "0x" + "11" * 20)


@pytest.mark.parametrize(("clients", "fan_in"), [(1, 16), (70, 16), (70, 4)])
def test_the_figures_bound_what_the_contracts_take(clients, fan_in):
    """With all updates sent by their clients in one round, and relayed in the other."""
    chain = Chain(accounts=12)
    model = np.random.default_rng(0).integers(-(2**30), 2**30, PARAMETERS, dtype="<i4")
    job = Job(
        chain, model, pool=ETHER, parameters=PARAMETERS, chunkParameters=64, minUpdates=clients, maxUpdates=clients,
        maxExcluded=0, rounds=4, challengeSeconds=4 * 9 * 300, fanIn=fan_in,
    )  # fmt: skip
    job.bond(job.server)
    alone = chain.accounts[2]
    joined = job.join(alone).gas
    job.clients = [alone, *job.crowd_of(clients - 1)]
    relayed_join = job.send(job.owner, "joinBySignatures", [newcomer(job)]).gas
    submitted = job.submit(alone).gas
    relay(job, job.clients[1:])
    chain.travel(job.state.closesAt)
    commit = job.commit()
    committed = job.receipt.gas
    job.submit(alone)
    relayed = relay(job, job.clients[1:])
    demanded = job.announce(chain.accounts[0], commit).gas + job.demand(chain.accounts[0], commit, salt=SALT).gas
    answered = job.answer(job.server, commit).gas
    settled = job.settle(commit).gas
    claimed = job.claim(commit, [clients - 1]).gas
    many = job.claim(commit).gas if clients > 1 else None
    said = {cost.what: cost.gas for cost in costs(terms(clients, fan_in=fan_in), "weighted_mean", 1)}
    in_all = f"a round in all, with {clients} updates"
    measured = {
        "joining, by its own transaction": joined,
        "joining, signed and relayed": relayed_join,
        "a round: an update, by its own transaction": submitted,
        f"a round: relaying {clients} signed updates": relayed or None,
        "a round: commit and settlement": committed + settled,
        f"{in_all} relayed": relayed + submitted + committed + settled,
        f"{in_all} by themselves": clients * submitted + committed + settled,
        "a claim of one round, for a client and its block": claimed,
        "a claim of one round for many": None,
        "a challenge, announced": None,
        "a demand, announced, beside its deposit": demanded,
        "an answer to a demand": answered,
    }
    assert measured.keys() == said.keys()
    loose = {"a claim of one round, for a client and its block", "an answer to a demand"}
    for what, figure in measured.items():
        if figure is not None:
            assert figure <= said[what] or (what.endswith("relayed") and figure - submitted <= said[what]), what
            assert said[what] <= 1.4 * figure or what in loose, what
    if many is not None:
        block = said["a claim of one round, for a client and its block"]
        assert many <= said["a claim of one round for many"] * (clients - 1) + block


def newcomer(job):
    """What joins one more client by its signature."""
    key = client_key(999)
    job.keys[key.address] = key
    return job.signed_join(key.address)


def relay(job, clients):
    """Hands in what these clients have signed, and says what it costs."""
    return job.submit_signed([job.upload(client) for client in clients]).gas if clients else 0


@pytest.mark.parametrize("rule", ["weighted_mean", "relay"])
def test_a_commit_costs_more_only_where_it_has_nodes(rule):
    flat, tree = terms(17), terms(17, fan_in=4)
    assert commit_gas(flat, rule, 16) < 102_000
    assert (commit_gas(tree, rule, 16) > commit_gas(flat, rule, 16)) == (rule == "weighted_mean")
    assert relay_gas(201) - relay_gas(200) > relay_gas(200) - relay_gas(199)


def test_a_price_makes_amounts_of_gas():
    assert {cost.wei for cost in costs(terms(4), "weighted_mean", 3)} == {
        3 * cost.gas for cost in costs(terms(4), "weighted_mean", 1)
    }


def test_what_a_lie_costs():
    found = lie(terms(4, reward=ETHER, bond=2 * ETHER, max_unsettled=2, server_share=2_000), ETHER)
    assert (found.bond, found.finder) == (2 * ETHER, ETHER // 2)
    assert (found.rounds, found.takes) == (ETHER // 10, 4 * ETHER // 10)
    nothing = lie(terms(4), 0)
    assert (nothing.rounds, nothing.takes) == (0, 0)
