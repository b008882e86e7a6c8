"""Whether the frozen weights of a model that is being made come from elsewhere, so that its class need not make any.

A base of gigabytes is mapped into memory once it has been made room for. A class that asks here leaves its weights
unset, which takes neither time nor memory; any other makes weights that are then replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["come_from_elsewhere", "from_elsewhere"]

_elsewhere: ContextVar[bool] = ContextVar("frozen weights come from elsewhere", default=False)


def come_from_elsewhere() -> bool:
    """Tell whether they do."""
    return _elsewhere.get()


@contextmanager
def from_elsewhere(do: bool = True) -> Iterator[None]:
    """Have models that are made inside expect their frozen weights from elsewhere."""
    before = _elsewhere.set(do)
    try:
        yield
    finally:
        _elsewhere.reset(before)
