"""Amounts, and a job's terms in sentences."""

from __future__ import annotations

from typing import Any

from galaxy_chain.dashboard.schema import Money
from galaxy_chain.dashboard.schema import Terms as ShownTerms
from galaxy_chain.jobs.costs import lie
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Terms
from galaxy_chain.shown import duration, ether

__all__ = ["money", "terms_of"]

_AMOUNTS = ("bond", "demand_deposit")


def money(wei: int) -> Money:
    """An amount."""
    return Money(wei=str(wei), ether=ether(wei))


def terms_of(terms: Terms, pool: int, readable: dict[str, str]) -> ShownTerms:
    """A job's terms.

    Args:
        pool: What was paid into its pool, in wei.
        readable: The terms by name, for people.
    """
    raw: dict[str, Any] = {
        name: value.hex() if isinstance(value, bytes) else str(value) if name in _AMOUNTS else value
        for name, value in vars(terms).items()
    }
    return ShownTerms(words=_sentences(terms, pool), values=readable, raw=raw)


def _sentences(terms: Terms, pool: int) -> list[str]:
    who = "anyone may join" if terms.open else "only whom its owner admits may join"
    server = "whoever has a bond may serve" if terms.server == ZERO_ADDRESS else f"{terms.server} serves first"
    said = [
        f"{terms.rounds:,} rounds over {terms.parameters:,} parameters; {who}, and {server}.",
        f"A round takes {terms.min_clients:,} to {terms.max_clients:,} updates, and closes {duration(terms.deadline)} "
        f"after the {_ordinal(terms.min_clients)} is in, or with the last. An update counts for at "
        f"most {terms.max_weight:,} samples.",
        f"A commit has {duration(terms.aggregate_seconds)} until others than the server named may make it; it leaves "
        f"out {terms.max_excluded:,} updates at most until much later.",
        f"It can be challenged for {duration(terms.challenge_seconds)}, and settles after that. At most "
        f"{terms.max_unsettled:,} rounds wait for it at a time.",
        f"Who commits has a bond of {ether(terms.bond)}. A commit that is proved wrong costs all of it; a quarter goes "
        "to whoever proved it, and the rest is burned.",
        f"Anybody may demand to see a chunk of a commit for a deposit of {ether(terms.demand_deposit)}; it has to be "
        f"shown within {duration(terms.answer_seconds)}, or the commit counts as wrong.",
    ]
    if pool:
        each, share = pool // terms.rounds, terms.server_share
        said.append(
            f"{ether(pool)} are in the pool: about {ether(each)} a round, of which {share / 100:g} % go to whoever "
            f"committed it, and the rest to its clients in equal parts. A lie also takes up to "
            f"{ether(lie(terms, pool).takes)} from clients until the rounds are repeated."
        )
    else:
        said.append("There is no pool: nobody earns anything.")
    said.append(f"Where nothing happens for {duration(terms.idle_seconds)}, others may set the last commit aside.")
    return said


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"
