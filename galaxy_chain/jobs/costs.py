"""What taking part in a job costs in gas, and what a lie costs its server.

The figures are measured on the compiled contracts and rounded up (`docs/gas.md`);
`tests/galaxy_chain/jobs/test_costs.py` holds them against the contracts.
"""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_chain.jobs.answer_size import answer_gas
from galaxy_chain.jobs.terms import finder_reward
from galaxy_chain.ledger.structs import Terms
from galaxy_fl.aggregation import RULES, is_sum
from galaxy_fl.aggregation.sum_tree import levels
from galaxy_fl.vectors.chunk_tree import depth

__all__ = ["Cost", "Lie", "commit_gas", "costs", "lie", "relay_gas"]

JOIN = 52_000
JOIN_SIGNED = 63_000
SUBMIT = 54_000
RELAY, RELAY_EACH = 53_000, 15_000
"""Handing in what clients have signed: a call, and each of its entries."""
RELAYED_AT_ONCE = 100
"""Entries a call."""
ANNOUNCE = 45_000
COMMIT = 101_000
TREE, TREE_NODE, TREE_GROUP = 4_000, 1_350, 2_000
"""What a commit with a tree of sums costs beside that, for each of its nodes, and for each group of them."""
SETTLE = 60_000
DEMAND = 118_000
CLAIM_ALONE = 120_000
"""The entry of one client, whatever the number of its round's entries, if it is alone in its block."""
CLAIM_EACH = 27_000
"""A client's part of a claim for many that have no balance yet; and what the others of a block cost with one of it."""


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


def relay_gas(updates: int) -> int:
    """What handing in so many signed updates costs."""
    return -(-updates // RELAYED_AT_ONCE) * RELAY + updates * RELAY_EACH


def commit_gas(terms: Terms, rule: str, updates: int) -> int:
    """What a commit of a round with so many updates costs."""
    # The bit map of the excluded ones: 16 gas a byte that is not zero, in the call and in the event.
    flat = COMMIT + 24 * ((updates + 7) // 8)
    sizes = levels(updates, terms.fan_in) if is_sum(RULES[rule]) else []
    return flat + (TREE + TREE_NODE * sum(sizes) + TREE_GROUP * (1 + sum(sizes[1:])) if sizes else 0)


def costs(terms: Terms, rule: str, gas_price: int) -> list[Cost]:
    """What a client, the server and whoever finds a lie pay, in gas and at a price of gas in wei.

    Args:
        terms: The job's.
        rule: The name of its rule.
        gas_price: In wei.
    """
    updates = terms.max_clients
    tree_depth = depth(terms.parameters, terms.chunk_parameters)
    answer = answer_gas(rule, updates, terms.fan_in, terms.chunk_parameters, tree_depth)
    relayed, committed = relay_gas(updates), commit_gas(terms, rule, updates) + SETTLE
    figures = [
        ("joining, by its own transaction", "a client, once", JOIN),
        ("joining, signed and relayed", "who relays, once a client", JOIN_SIGNED),
        ("a round: an update, by its own transaction", "a client", SUBMIT),
        (f"a round: relaying {updates} signed updates", "who relays, mostly the server", relayed),
        ("a round: commit and settlement", "the server", committed),
        (f"a round in all, with {updates} updates relayed", "the server", relayed + committed),
        (f"a round in all, with {updates} updates by themselves", "together", updates * SUBMIT + committed),
        (
            "a claim of one round, for a client and its block",
            "a client",
            CLAIM_ALONE + CLAIM_EACH * (min(updates, terms.fan_in) - 1),
        ),
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
