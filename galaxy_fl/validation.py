"""Strict models, and what pydantic found wrong, in words that users read: where, what, and which value."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["Strict", "explain", "explanations", "field_of", "printable"]


class Strict(BaseModel):
    """Frozen model without unknown fields, conversions, or numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def printable(value: str) -> str:
    """Return a text of one line that is shown on terminals.

    Raises:
        ValueError: it has line breaks or other control characters.
    """
    if not value.isprintable():
        raise ValueError("it is shown on terminals: leave out line breaks and other control characters")
    return value


def explain(error: ValidationError) -> str:
    """Return what is wrong, in one line."""
    return "; ".join(explanations(error))


def explanations(error: ValidationError) -> list[str]:
    """Return what is wrong, a clause a field."""
    found = []
    for detail in error.errors(include_url=False):
        where = ".".join(map(str, field_of(detail["loc"]))) or "the document"
        # A table's error names the values that it is about; all of the table would hide them.
        told = detail["type"] in ("extra_forbidden", "missing") or isinstance(detail["input"], dict)
        value = "" if told else f" (found {_shown(detail['input'])})"
        what = "there is no such key" if detail["type"] == "extra_forbidden" else detail["msg"]
        found.append(f"{where}: {what.removeprefix('Value error, ')}{value}")
    return found


def field_of(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return where a field is written, from where pydantic reports it: without the kind of a job's model or privacy."""
    return location[:1] + location[2:] if location[:1] in (("model",), ("privacy",)) else location


def _shown(value: object) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # an integer of more digits than Python writes
        return "a number of thousands of digits"
