"""Writing a description as its author would: what is not as it would be anyhow."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any

from galaxy_fl.tables import Html, table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["shown", "tabled"]

LONGEST = 80


def shown(value: DataclassInstance) -> str:
    """Return a dataclass's `repr` without the fields that have their defaults."""
    given = ((one.name, getattr(value, one.name)) for one in fields(value) if getattr(value, one.name) != _default(one))
    return f"{type(value).__name__}({', '.join(f'{name}={_shown(each)}' for name, each in given)})"


def tabled(value: DataclassInstance) -> Html:
    """Return a dataclass as a table for notebooks: all of its fields that say something, those with defaults, too."""
    rows = [(one.name, getattr(value, one.name)) for one in fields(value)]
    return table((), [(name, _cell(each)) for name, each in rows if each is not None and each not in ((), {}, [])])


def _cell(value: object) -> object:
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return tabled(value)  # type: ignore[arg-type]
    return value if isinstance(value, str) else _shown(value)


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _shown(value: object) -> str:
    if isinstance(value, type):
        return value.__qualname__
    text = repr(value)
    if hasattr(value, "__dataclass_fields__") or (len(text) <= LONGEST and "\n" not in text):
        return text
    # A module would show all of its layers, a tensor all of its numbers.
    return f"{text:.{LONGEST}}…" if isinstance(value, str | dict | list | tuple) else f"{type(value).__name__}(…)"
