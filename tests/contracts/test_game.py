"""Attacks on the game, each played to its end on the ledger.

Accounts: 0 owns the job, 1 is the named server, 2 to 4 are clients, 5 and 6 dishonest bonds, 7 an honest server, 8 a
watchtower, 9 to 11 outsiders.
"""

from __future__ import annotations

import pytest

from tests.contracts.ledger import ETHER, NOBODY, Chain, Job, Reverted


def _late(chain: Chain, **terms: int) -> Job:
    """A job in whose second round 5 is late, for it withheld a model; 7 is honest and bonded."""
    job = Job(chain, pool=9 * ETHER, server=NOBODY, **terms).prepare()
    job.bond(chain.accounts[5])
    job.bond(chain.accounts[7])
    job.collect()
    withheld = job.commit(chain.accounts[5])
    chain.travel(withheld.time + job.terms["idleSeconds"])
    job.supersede(chain.accounts[7], withheld)
    assert job.account(chain.accounts[5]).late
    return job


def test_a_late_bond_does_not_come_first_where_more_than_allowed_have_to_be_left_out(chain: Chain) -> None:
    job = _late(chain, maxExcluded=0)
    # The third client's update is not to be had: the honest server has to leave it out, the dishonest one has it.
    all_from = job.state.closesAt + 2 * job.terms["aggregateSeconds"]
    chain.travel(all_from - 1)
    with pytest.raises(Reverted, match="NotYet"):
        job.commit(chain.accounts[5])
    chain.travel(all_from + job.terms["aggregateSeconds"] // 4)
    job.commit(chain.accounts[7], excluded=[2])


def test_a_late_bond_does_not_keep_a_round_of_too_few_from_being_reopened(chain: Chain) -> None:
    job = _late(chain)
    # Two updates of three are not to be had: only those who withhold them can commit.
    opened = job.state.closesAt
    for quarters in range(4 * 4 + 1):
        chain.travel(opened + quarters * job.terms["aggregateSeconds"] // 4)
        with pytest.raises(Reverted):
            job.commit(chain.accounts[5])
    job.reopen(chain.accounts[7])
