"""Finding what a name means, or was probably meant to mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from galaxy_fl.exceptions import TrainingError

__all__ = ["torch_name", "unknown_name"]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown `name`: its near matches, or all that exist if none is near."""
    known = sorted(known)
    by_lower_case = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), by_lower_case, n=3)
    if near:
        return f"unknown {kind} {name!r}: did you mean {' or '.join(by_lower_case[one] for one in near)}?"
    return f"unknown {kind} {name!r}: use one of {', '.join(known)}"


def torch_name(
    kind: str, name: str, known: Iterable[str], ending: str = "", functions: Mapping[str, str] | None = None
) -> str:
    """Return the name of a class of torch, given that or a short form of it.

    Args:
        kind: What the class is, for the message.
        name: The class's name; or the same in any case, with underscores, and without `ending` ("cross_entropy").
        known: The names of the classes.
        ending: The word that all of them may be named without.
        functions: Further names, such as those of torch.nn.functional, for the classes.

    Raises:
        TrainingError: there is no such class; names the nearest ones.
    """
    known = sorted(known)
    if name in known:
        return name
    by_short_name = {_short(one, ending): one for one in known}
    by_short_name |= {_short(function, ending): one for function, one in (functions or {}).items()}
    if (short := _short(name, ending)) in by_short_name:
        return by_short_name[short]
    if near := get_close_matches(short, by_short_name, n=3):
        classes = dict.fromkeys(by_short_name[one] for one in near)
        raise TrainingError(f"unknown {kind} {name!r}: did you mean {' or '.join(classes)}?")
    raise TrainingError(unknown_name(kind, name, known))


def _short(name: str, ending: str) -> str:
    return name.replace("_", "").lower().removesuffix(ending.lower())
