"""A job's terms, as values for JSON and as text for people."""

from __future__ import annotations

from typing import Any

from galaxy_chain.ledger.structs import ZERO_ADDRESS, Terms
from galaxy_chain.shown.amounts import ether

__all__ = ["readable_terms", "terms_shown"]


def terms_shown(terms: Terms) -> dict[str, Any]:
    """The terms as JSON has them."""
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in vars(terms).items()}


def readable_terms(terms: Terms, creator: str | None = None) -> dict[str, str]:
    """The terms that the owner chooses, for people."""
    server = {creator: f"{creator} (this account)", ZERO_ADDRESS: "anyone with a bond"}
    others = {name: str(value) for name, value in vars(terms).items() if name not in ("spec", "rule", "rule_word")}
    amounts = {name: ether(getattr(terms, name)) for name in ("bond", "demand_deposit")}
    return (
        others
        | amounts
        | {
            "open": "anyone may join" if terms.open else "only whom its owner admits",
            "server": server.get(terms.server, terms.server),
            "server_share": f"{terms.server_share / 100:g} %",
        }
    )
