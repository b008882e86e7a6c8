"""What a clean error is."""

from __future__ import annotations

__all__ = ["refused"]

LONGEST = 100_000
"""Characters of a message; an error that shows all of what a stranger has sent is one more way to fill a log."""


def refused(error: Exception, longest: int = LONGEST) -> bool:
    """That the parser did not take the bytes, and said so in a message that a person can read."""
    message = str(error)
    assert 0 < len(message) < longest, f"{len(message)} characters: {message:.200}"
    return False
