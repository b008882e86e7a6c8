"""The targets: each module here has a function `fuzz`, which takes bytes, says whether the parser took them, and raises only
for a bug."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module

__all__ = ["TARGETS", "load"]

TARGETS: tuple[str, ...] = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
"""Their names."""


def load(name: str) -> Callable[[bytes], bool]:
    """The function of a target. Imported only now: what one parser needs must not burden the others' processes."""
    function: Callable[[bytes], bool] = import_module(f"{__name__}.{name}").fuzz
    return function
