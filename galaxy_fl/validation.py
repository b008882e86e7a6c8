"""Strict models, and what pydantic found wrong, in words that users read: where, what, and which value."""

from __future__ import annotations

from difflib import get_close_matches
from typing import get_args

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


def explanations(error: ValidationError, model: type[BaseModel] | None = None) -> list[str]:
    """Return what is wrong, a clause a field.

    Args:
        error: What pydantic found.
        model: What it was validated as, where messages shall say which keys there are.
    """
    found = []
    for detail in error.errors(include_url=False):
        where = ".".join(map(str, field_of(detail["loc"]))) or "the document"
        # A table's error names the values that it is about; all of the table would hide them.
        told = detail["type"] in ("extra_forbidden", "missing") or isinstance(detail["input"], dict)
        value = "" if told else f" (found {_shown(detail['input'])})"
        what = detail["msg"]
        if detail["type"] == "extra_forbidden":
            what = "there is no such key" + ("" if model is None else _instead(model, detail["loc"]))
        if detail["type"] == "union_tag_invalid":  # of a table that says itself what it is, such as privacy by its mode
            where += "." + detail["ctx"]["discriminator"].strip("'")
            what = f"expected one of {detail['ctx']['expected_tags']}"
            value = f" (found {_shown(detail['ctx']['tag'])})"
        found.append(f"{where}: {what.removeprefix('Value error, ')}{value}")
    return found


def field_of(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return where a field is written, from where pydantic reports it: without the kind of a job's model or privacy."""
    return location[:1] + location[2:] if location[:1] in (("model",), ("privacy",)) else location


def _instead(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Say which key may have been meant, or which there are; nothing where the table may be of several kinds."""
    tables = {model}
    for step in location[:-1]:
        fields = [field for table in tables for name, field in table.model_fields.items() if step == name]
        if fields:
            tables = {table for field in fields for table in _tables(field.annotation)}
    if len(tables) != 1:
        return ""
    keys = [field.alias or name for name, field in tables.pop().model_fields.items()]
    near = get_close_matches(str(location[-1]), keys, n=1)
    return f"; did you mean {near[0]}?" if near else f", only {', '.join(sorted(keys))}"


def _tables(annotation: object) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {table for inner in get_args(annotation) for table in _tables(inner)}


def _shown(value: object) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # an integer of more digits than Python writes
        return "a number of thousands of digits"
