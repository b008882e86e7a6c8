"""Amounts and times as people read them."""

from __future__ import annotations

from datetime import datetime

__all__ = ["ETHER", "date", "duration", "ether"]

ETHER = 10**18
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def ether(amount: int) -> str:
    """An amount of wei."""
    return f"{amount / ETHER:g} ether"


def date(seconds: int) -> str:
    """A time of the chain, in the machine's time zone."""
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")


def duration(seconds: int) -> str:
    """How long that is, in its two largest units: `1 day`, `2 hours 30 minutes`."""
    said: list[str] = []
    for size, name in _UNITS:
        number, seconds = divmod(seconds, size)
        if number and len(said) < 2:
            said.append(f"{number:,} {name}{'' if number == 1 else 's'}")
    return " ".join(said) or "0 seconds"
