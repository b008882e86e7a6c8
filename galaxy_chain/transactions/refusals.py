"""Why a node does not take a transaction: there are no codes for that, only each client's own words."""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["Refusal"]


class Refusal(Enum):
    """What a node means."""

    KNOWN = auto()
    """It has the very same transaction."""
    NONCE_TOO_LOW = auto()
    """A transaction with this nonce, or a later one, is in a block."""
    REPLACEMENT_UNDERPRICED = auto()
    """It has another transaction with this nonce, and this one does not offer enough more."""
    UNDERPRICED = auto()
    """It takes nothing that cheap."""
    INSUFFICIENT_FUNDS = auto()
    """The account can't pay for it."""
    OTHER = auto()
    """Something that waiting does not change."""

    @classmethod
    def of(cls, reason: str) -> Refusal:
        """What is meant by a node's message: geth's, Erigon's, Nethermind's, Besu's, Reth's, anvil's or our own."""
        words = reason.lower().replace(" ", "")
        return next((refusal for word, refusal in WORDS if word in words), cls.OTHER)


WORDS = [
    ("alreadyknown", Refusal.KNOWN),
    ("alreadyimported", Refusal.KNOWN),
    ("knowntransaction", Refusal.KNOWN),
    ("noncetoolow", Refusal.NONCE_TOO_LOW),
    ("oldnonce", Refusal.NONCE_TOO_LOW),
    ("replacement", Refusal.REPLACEMENT_UNDERPRICED),  # before "underpriced", which it contains
    ("underpriced", Refusal.UNDERPRICED),
    ("lessthanblockbasefee", Refusal.UNDERPRICED),
    ("poolisfull", Refusal.UNDERPRICED),  # and lets the cheapest go for a dearer one
    ("feetoolow", Refusal.UNDERPRICED),
    ("gaspricebelow", Refusal.UNDERPRICED),
    ("insufficient", Refusal.INSUFFICIENT_FUNDS),
    ("upfrontcostexceeds", Refusal.INSUFFICIENT_FUNDS),
]
"""The first that occurs counts. Without spaces: some clients write `OldNonce`."""
