"""A job's document, as values for JSON and as text for people: all that its author chose and the terms do not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galaxy_fl.jobs.document import JobDocument

__all__ = ["choices_of", "readable_choices"]

NAMED = 3
"""Tensors of a part that are named for people."""


def choices_of(document: JobDocument) -> dict[str, Any]:
    """What the author chose, as JSON has it: model, training, rule, parts, privacy and seal."""
    chosen = document.model_dump(
        mode="json", include={"model", "train", "rule", "weighting", "reveal", "privacy", "seal"}, exclude_none=True
    )
    parts = {name: [tensor.name for tensor in getattr(document, name)] for name in ("personal", "frozen")}
    return {**chosen, **{name: tensors for name, tensors in parts.items() if tensors}}


def readable_choices(chosen: dict[str, Any]) -> dict[str, str]:
    """The same for people."""
    return {key: _shown(value) for key, value in chosen.items()}


def _shown(value: Any) -> str:
    """A table's entries in one line; of a long list its beginning."""
    if isinstance(value, dict):
        return ", ".join(
            f"{key} ({_shown(each)})" if isinstance(each, dict) else f"{key} {_shown(each)}"
            for key, each in value.items()
            if each not in ({}, [])
        )
    if isinstance(value, list):
        more = f" and {len(value) - NAMED} more" if len(value) > NAMED else ""
        return ", ".join(map(str, value[:NAMED])) + more
    return str(value)
