"""Saying what a wrong name was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["unknown_name"]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for an unknown `name`: its near matches, or all that exist if none is near."""
    known = sorted(known)
    by_lower_case = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), by_lower_case, n=3)
    if near:
        return f"unknown {kind} {name!r}: did you mean {' or '.join(by_lower_case[one] for one in near)}?"
    return f"unknown {kind} {name!r}: use one of {', '.join(known)}"
