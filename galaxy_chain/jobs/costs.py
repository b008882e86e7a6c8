"""What taking part in a job costs in gas, and what a lie costs its server.

The figures are measured on the compiled contracts and rounded up (`docs/gas.md`);
`tests/galaxy_chain/jobs/test_costs.py` holds them against the contracts.
"""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_chain.jobs.answer_size import answer_gas
from galaxy_chain.jobs.terms import finder_reward
from galaxy_chain.ledger.structs import Terms
from galaxy_fl.vectors.chunk_tree import depth

__all__ = ["Cost", "Lie", "costs", "lie"]

JOIN = 52_000
SUBMIT = 53_000
ANNOUNCE = 45_000
COMMIT = 97_000
SETTLE = 60_000
DEMAND = 115_000
CLAIM_ALONE = 120_000
"""The entry of one client, whatever the number of its round's entries."""
CLAIM_EACH = 27_000
"""A client's part of a claim for many that have no balance yet."""


@dataclass(frozen=True)
class Cost:
    """What something costs.

    Attributes:
        what, who: For people.
        gas: At most.
        price: Of a unit of gas, in wei.
    """

    what: str
    who: str
    gas: int
    price: int

    @property
    def wei(self) -> int:
        """What it costs in wei."""
        return self.gas * self.price


@dataclass(frozen=True)
class Lie:
    """What a wrong commit costs its server once somebody proves it, in wei.

    Attributes:
        bond: What it loses.
        finder: What of it whoever proves it gets; the rest is burned.
        rounds: What it doesn't get for the rounds that may be committed and not settled, its shares of them.
        takes: What clients lose with these rounds.
    """

    bond: int
    finder: int
    rounds: int
    takes: int


def costs(terms: Terms, rule: str, gas_price: int) -> list[Cost]:
    """What a client, the server and whoever finds a lie pay, in gas and at a price of gas in wei.

    Args:
        terms: The job's.
        rule: The name of its rule.
        gas_price: In wei.
    """
    answer = answer_gas(
        rule, terms.max_clients, terms.chunk_parameters, depth(terms.parameters, terms.chunk_parameters)
    )
    # The bit map of the excluded ones: 16 gas a byte that is not zero, in the call and in the event.
    commit = COMMIT + 24 * ((terms.max_clients + 7) // 8)
    figures = [
        ("joining", "each client, once", JOIN),
        ("a round: its update", "each client", SUBMIT),
        ("a round: commit and settlement", "the server", commit + SETTLE),
        (
            f"a round in all, with {terms.max_clients} updates",
            "together",
            terms.max_clients * SUBMIT + commit + SETTLE,
        ),
        ("a claim of one round, alone", "a client", CLAIM_ALONE),
        ("a claim of one round for many", "for each of them", CLAIM_EACH),
        ("a challenge, announced", "whoever finds a lie", ANNOUNCE + answer),
        ("a demand, announced, beside its deposit", "whoever misses content", ANNOUNCE + DEMAND),
        ("an answer to a demand", "the server", answer),
    ]
    return [Cost(what, who, gas, gas_price) for what, who, gas in figures]


def lie(terms: Terms, pool: int) -> Lie:
    """What a wrong commit costs its server, and what it takes from clients.

    Args:
        pool: What was paid into the job's pool, in wei.
    """
    at_stake = pool * min(terms.max_unsettled, terms.rounds) // terms.rounds
    shares = at_stake * terms.server_share // 10_000
    return Lie(terms.bond, finder_reward(terms.bond), shares, at_stake - shares)
