"""What `job create` says that taking part costs, beside what the contracts take."""

from __future__ import annotations

import numpy as np
import pytest

from galaxy_chain.jobs.costs import costs, lie
from galaxy_chain.jobs.file import TermsSection
from galaxy_chain.ledger.structs import Terms
from galaxy_fl.jobs.document import RuleChoice
from tests.contracts.ledger import SALT, Chain, Job

ETHER = 10**18
PARAMETERS = 16 * 64


def terms(clients: int, **said: object) -> Terms:
    section = TermsSection(rounds=4, min_clients=clients, max_clients=clients, open=True, **said)
    return section.on_ledger(bytes(32), RuleChoice(), "0x" + "33" * 20, PARAMETERS, "0x" + "11" * 20)


@pytest.mark.parametrize("clients", [1, 70])
def test_the_figures_bound_what_the_contracts_take(clients):
    chain = Chain(accounts=clients + 2)
    model = np.random.default_rng(0).integers(-(2**30), 2**30, PARAMETERS, dtype="<i4")
    job = Job(
        chain, model, pool=ETHER, parameters=PARAMETERS, chunkParameters=64, minUpdates=clients, maxUpdates=clients,
        maxExcluded=0, rounds=4, challengeSeconds=4 * 9 * 300,
    )  # fmt: skip
    job.bond(job.server)
    job.clients = chain.accounts[2 : 2 + clients]
    joined = max(job.join(client).gas for client in job.clients)
    submitted = max(job.submit(client).gas for client in job.clients)
    chain.travel(job.state.closesAt)
    commit = job.commit()
    committed = job.receipt.gas
    next_round = [job.submit(client) for client in job.clients]
    demanded = job.announce(chain.accounts[0], commit).gas + job.demand(chain.accounts[0], commit, salt=SALT).gas
    answered = job.answer(job.server, commit)
    assert len(next_round) == clients
    settled = job.settle(commit).gas
    alone = job.claim(commit, [clients - 1]).gas
    many = job.claim(commit).gas if clients > 1 else None
    measured = [joined, submitted, committed + settled, clients * submitted + committed + settled, alone, None, None,
                demanded, answered.gas]  # fmt: skip
    said = [cost.gas for cost in costs(terms(clients), "weighted_mean", 1)]
    assert len(measured) == len(said)
    for place, (figure, bound) in enumerate(zip(measured, said, strict=True)):
        if figure is not None:
            assert figure <= bound, place
            assert bound <= 1.4 * figure or place in (4, 8), place
    if many is not None:
        assert many <= said[5] * (clients - 1) + said[4]


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
