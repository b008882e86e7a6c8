"""Amounts and times as people read them."""

from __future__ import annotations

from datetime import datetime

__all__ = ["ETHER", "date", "ether"]

ETHER = 10**18


def ether(amount: int) -> str:
    """An amount of wei."""
    return f"{amount / ETHER:g} ether"


def date(seconds: int) -> str:
    """A time of the chain, in the machine's time zone."""
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")
