"""Amounts and a job's terms, as the page has them."""

from __future__ import annotations

from typing import Any

from galaxy_chain.dashboard.schema import Money
from galaxy_chain.dashboard.schema import Terms as ShownTerms
from galaxy_chain.ledger.structs import Terms
from galaxy_chain.report.words import terms_in_words
from galaxy_chain.shown import ether
from galaxy_chain.shown.terms import readable_terms
from galaxy_fl.jobs.document import JobDocument

__all__ = ["money", "terms_of"]

_AMOUNTS = ("bond", "demand_deposit")


def money(wei: int) -> Money:
    """An amount."""
    return Money(wei=str(wei), ether=ether(wei))


def terms_of(terms: Terms, document: JobDocument | None, pool: int) -> ShownTerms:
    """A job's terms.

    Args:
        document: The job's; None where it is not at hand.
        pool: What was paid into its pool, in wei.
    """
    raw: dict[str, Any] = {
        name: value.hex() if isinstance(value, bytes) else str(value) if name in _AMOUNTS else value
        for name, value in vars(terms).items()
    }
    words = [f"{topic}: {said}." for topic, said in terms_in_words(terms, document, pool)]
    return ShownTerms(words=words, values=readable_terms(terms), raw=raw)
